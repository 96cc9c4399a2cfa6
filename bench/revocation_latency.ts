/**
 * From the answer to a revocation to the guard's refusal: `npm run bench:revocation`. One server process, one guard in
 * this one, access tokens and whole grants by turns. Prints one JSON line; times in milliseconds.
 */
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { Hallpass } from '@hallpass/client';
import { createGuard } from '@hallpass/guard';
import { createKey, makeDataDir, startHallpass } from '../e2e/hallpass_process.ts';

const { values } = parseArgs({ options: { revocations: { type: 'string', default: '200' } } });
const count = Math.min(Number(values.revocations), 10_000);

const API = 'https://api.example.com';
const { dataDir, remove } = makeDataDir();
const partner = await createKey(dataDir, ['Partner', '--scope', '/accounts.read', '--audience', API]);
const credentials = await createKey(dataDir, ['API', '--resource-server', API]);
const server = await startHallpass(dataDir);
const guard = createGuard({ issuer: server.url, audience: API, credentials });
await guard.ready();

const { accessToken } = new Hallpass({ serverURL: server.url });
const latencies: number[] = [];
for (let round = 0; round < count; round++) {
  const { accessTokenResponse: tokens } = await accessToken.create({
    ...partner,
    grantType: 'client_credentials',
    scope: '/accounts.read',
  });
  assert.ok(tokens !== undefined);
  const headers = { authorization: `Bearer ${tokens.accessToken}` };
  assert.ok((await guard.check({ headers }, '/accounts.read')).allowed);
  await accessToken.revoke({ ...partner, token: round % 2 === 0 ? tokens.accessToken : (tokens.refreshToken ?? '') });
  latencies.push(await timeUntilRefused(headers));
}

await guard.close();
await server.stop();
remove();
const sorted = latencies.toSorted((a, b) => a - b);
const at = (share: number): number =>
  Math.round((sorted[Math.min(count - 1, Math.floor(count * share))] ?? NaN) * 100) / 100;
process.stdout.write(`${JSON.stringify({ revocations: count, medianMs: at(0.5), p99Ms: at(0.99), worstMs: at(1) })}\n`);

async function timeUntilRefused(headers: Readonly<Record<string, string>>): Promise<number> {
  const start = performance.now();
  for (;;) {
    const { allowed } = await guard.check({ headers }, '/accounts.read');
    const elapsed = performance.now() - start;
    if (!allowed) return elapsed;
    assert.ok(elapsed < 5_000, 'a revoked token was still let in after 5 s');
    // The check is quick: without a breath between, this process would never get to read the feed.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
