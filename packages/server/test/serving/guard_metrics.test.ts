/** The metrics of `hallpass guard`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { compilePolicy, createGuard } from '@hallpass/guard';
import { listRefusals } from '@hallpass/protocol';
import { sideListener } from '../../src/serving/guard_side.ts';
import { startHallpass } from '../../../../testing/server/server.ts';

const API = 'https://api.example.com';

test('a guard counts decisions, refusals by reason, and events; every series starts at zero', async () => {
  const hallpass = await startHallpass();
  const key = await hallpass.makeKey({ audiences: [API] });
  const credentials = await hallpass.makeKey({ scopes: [], resourceServerFor: [API] });
  const guard = createGuard({ issuer: hallpass.issuer, audience: API, credentials, clock: hallpass.clock });
  after(() => guard.close());
  const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });
  const side = createServer(sideListener(guard, policy, { hosts: [], isDraining: () => false })).listen(0, '127.0.0.1');
  after(() => side.close());
  await once(side, 'listening');
  const address = side.address();
  assert.ok(typeof address === 'object' && address !== null);
  const read = async (): Promise<string> => (await fetch(`http://127.0.0.1:${address.port}/metrics`)).text();

  const first = await read();
  assert.match(first, /^hallpass_guard_allowed_total 0$/m);
  for (const { reason } of listRefusals()) {
    assert.ok(first.includes(`hallpass_guard_refusals_total{reason="${reason}"} 0\n`), reason);
  }
  assert.match(first, /^hallpass_build_info\{version="[^"]+",node="[^"]+"\} 1$/m);

  await guard.ready();
  const { accessToken } = await hallpass.issue(key, '/accounts.read');
  const ask = (authorization: string, url = '/accounts'): Promise<{ readonly allowed: boolean }> =>
    guard.checkRoute(policy, { method: 'GET', url, headers: { authorization } });
  assert.ok((await ask(`Bearer ${accessToken}`)).allowed);
  await ask('Bearer made.up.token');
  await ask(`Bearer ${accessToken}`, '/nowhere');
  const then = await read();
  for (const line of [
    'hallpass_guard_allowed_total 1',
    'hallpass_guard_refusals_total{reason="token_not_good"} 1',
    'hallpass_guard_refusals_total{reason="route_not_allowed"} 1',
    'hallpass_guard_events_total{kind="feed_connected"} 1',
    'hallpass_guard_events_total{kind="feed_lost"} 0',
  ]) {
    assert.ok(then.includes(`${line}\n`), line);
  }
  assert.equal(await read(), then, 'reading counts nothing');
});
