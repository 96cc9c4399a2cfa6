import { PATHS } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAllowed, assertDenied, guardOf, openBench, openIssuer, type Bench } from '../harness.ts';
import { answerWith, makeId, makeKey } from '../issuer.ts';

test('a hundred concurrent checks cause one fetch of the keys', async () => {
  const { issuer, check } = await openBench();
  const tokens = await Promise.all(Array.from({ length: 100 }, () => issuer.token()));
  for (const decision of await Promise.all(tokens.map((token) => check(token)))) assertAllowed(decision);
  assert.equal(issuer.count(PATHS.jwks), 1);
});

test('unknown kids cause one request per 5 s, however many someone makes up', async () => {
  const { issuer, check, clock } = await openBench();
  const flood = async (): Promise<void> => {
    const tokens = await Promise.all(Array.from({ length: 50 }, (_, at) => issuer.token({}, { kid: `made-up-${at}` })));
    for (const decision of await Promise.all(tokens.map((token) => check(token)))) assertDenied(decision, 401);
  };
  assertAllowed(await check(await issuer.token()));
  clock.advance(4.9);
  await flood();
  assert.equal(issuer.count(PATHS.jwks), 1);
  clock.advance(0.1);
  await flood();
  await flood();
  assert.equal(issuer.count(PATHS.jwks), 2);
  assertAllowed(await check(await issuer.token()));
});

test('a new key is used from its first token on, and a withdrawn key is gone', async () => {
  const { issuer, check, clock } = await openBench();
  const [old] = issuer.keys;
  assertAllowed(await check(await issuer.token()));
  const fresh = await makeKey('key-2');
  issuer.keys.splice(0, 1, fresh);
  clock.advance(5);
  assertAllowed(await check(await issuer.token({}, {}, fresh)));
  assertDenied(await check(await issuer.token({}, {}, old)), 401);
});

test('a replaced key under the same id is noticed within the 300 s for which keys are fresh', async () => {
  const { issuer, check, clock, events } = await openBench({ whenStale: 'introspect' });
  const token = await issuer.token();
  issuer.active.add(token);
  assertAllowed(await check(token));
  issuer.keys.splice(0, 1, await makeKey('key-1'));
  clock.advance(300);
  assertAllowed(await check(token));
  clock.advance(1);
  const fetched = events.next('key_set_fetched');
  // This check still uses the old keys; the new ones are on their way.
  assertAllowed(await check(token));
  await fetched;
  assertDenied(await check(token), 401);
});

test("while the keys can't be fetched, those in memory work for an hour, and then it is 503 (GD-16)", async () => {
  const { issuer, check, clock, events } = await openBench({ whenStale: 'introspect' });
  const token = await issuer.token({ exp: Number.MAX_SAFE_INTEGER });
  issuer.active.add(token);
  assertAllowed(await check(token));
  issuer.instead.set(PATHS.jwks, answerWith(500, '{}'));
  clock.advance(3_600);
  const failed = events.next('key_set_failed');
  assertAllowed(await check(token));
  await failed;
  clock.advance(1);
  const denial = assertDenied(await check(token), 503);
  assert.equal(denial.body.error, 'temporarily_unavailable');
  assert.ok(Number(denial.headers['Retry-After']) > 0);
  issuer.instead.delete(PATHS.jwks);
  clock.advance(1);
  assertAllowed(await check(token));
});

test('an unknown kid during an outage is 503 and not 401: nobody can tell', async () => {
  const { issuer, check, clock } = await openBench();
  assertAllowed(await check(await issuer.token()));
  const newcomer = await issuer.token({}, {}, await makeKey('key-2'));
  assertDenied(await check(newcomer), 401);
  issuer.instead.set(PATHS.jwks, answerWith(503, ''));
  clock.advance(5);
  assertDenied(await check(newcomer), 503);
  assertAllowed(await check(await issuer.token()));
});

test('a failing issuer is asked once per second, not once per check', async () => {
  const { issuer, check, clock } = await openBench();
  issuer.instead.set(PATHS.jwks, answerWith(500, ''));
  const token = await issuer.token();
  for (let round = 0; round < 20; round++) assertDenied(await check(token), 503);
  assert.equal(issuer.count(PATHS.jwks), 1);
  clock.advance(1);
  assertDenied(await check(token), 503);
  assert.equal(issuer.count(PATHS.jwks), 2);
});

test('a redirect is refused, wherever it leads (GD-16)', async () => {
  const elsewhere = await openIssuer();
  const { issuer, check } = await openBench();
  for (const [status, target] of [
    [301, elsewhere.url],
    [302, issuer.url],
    [307, elsewhere.url],
    [308, elsewhere.url],
  ] as const) {
    const location = `${target}/other`;
    const bench = await openBench();
    bench.issuer.instead.set(PATHS.jwks, answerWith(status, '', { location }));
    assertDenied(await bench.check(await bench.issuer.token()), 503);
  }
  assert.equal(elsewhere.count('/other') + issuer.count('/other'), 0);
  assertAllowed(await check(await issuer.token()));
});

test('a key set that is too large or malformed is refused, and the keys in memory stay', async () => {
  const { issuer, check, clock, events } = await openBench({ maxStalenessSeconds: 3_600 });
  const token = await issuer.token();
  assertAllowed(await check(token));
  const [key] = issuer.keys;
  const good = { keys: [key?.jwk] };
  const unknown = await issuer.token({}, { kid: 'unknown' });
  const odd = ['not json', '', '[]', 'null', '{}', '{"keys":{}}', '{"keys":[]}', '{"keys":[null]}', '{"keys":"x"}'];
  const [large, more] = [JSON.stringify({ ...good, padding: 'x'.repeat(65_536) }), `${JSON.stringify(good)}x`];
  const bodies = [large, more, '\ufeff{"keys":[]}', ...odd];
  for (const body of bodies) {
    issuer.instead.set(PATHS.jwks, answerWith(200, body));
    clock.advance(5);
    const failed = events.next('key_set_failed');
    const decision = await check(unknown);
    await failed;
    assertDenied(decision, 503, body.slice(0, 40));
    assertAllowed(await check(token), body.slice(0, 40));
  }
  issuer.instead.set(PATHS.jwks, answerWith(200, JSON.stringify({ ...good, padding: 'x'.repeat(60_000) })));
  clock.advance(5);
  assertDenied(await check(unknown), 401);
});

/** Turns of the event loop until a condition holds; the test's own time limit bounds them. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

/** An issuer that publishes its keys' version, and a guard that has those keys. */
async function openVersioned(options: Parameters<typeof openBench>[0] = {}): Promise<Bench> {
  const issuer = await openIssuer();
  issuer.keysVersion = 'v1';
  const bench = guardOf(issuer, options);
  await bench.guard.ready();
  return bench;
}

test('a withdrawn key is dropped with the heartbeat that announces it', async () => {
  const { issuer, check, events } = await openVersioned();
  const [old] = issuer.keys;
  const token = await issuer.token({}, {}, old);
  const fresh = await makeKey('key-2');
  issuer.keys.splice(0, 1, fresh);
  issuer.heartbeat();
  // No version changed, so nothing happens.
  assertAllowed(await check(token));
  const fetched = events.next('key_set_fetched');
  issuer.keysVersion = 'v2';
  issuer.heartbeat();
  await fetched;
  assertDenied(await check(token), 401);
  assertAllowed(await check(await issuer.token({}, {}, fresh)));
});

test('heartbeats with the same version, none, or nonsense cause no fetch', async () => {
  const { issuer, check, guard } = await openVersioned();
  const asked = issuer.count(PATHS.jwks);
  const say = (data: string): void => issuer.say(`event: heartbeat\nid: c0\ndata: ${data}\n\n`);
  for (const data of ['{"keys":"v1"}', '{}', '{"keys":7}', '{"keys":null}', '{"keys":["v2"]}', 'null', '{', '[]'])
    say(data);
  issuer.revoke({ kind: 'token', id: makeId() });
  await until(() => guard.health().revocations === 1);
  assertAllowed(await check(await issuer.token()));
  assert.equal(issuer.count(PATHS.jwks), asked);
});

test('keys fetched before the first heartbeat are fetched again: they may have changed in between', async () => {
  const issuer = await openIssuer();
  issuer.heartbeats = false;
  issuer.keysVersion = 'v2';
  const { guard, check, events } = guardOf(issuer);
  const token = await issuer.token();
  const opened = issuer.opened();
  const decision = check(token);
  await opened;
  await until(() => events.count('key_set_fetched') === 1);
  issuer.keys.splice(0, 1, await makeKey('key-2'));
  issuer.heartbeat();
  await decision;
  await until(() => events.count('key_set_fetched') === 2);
  assertDenied(await check(token), 401);
  assert.ok(guard.health().connected);
});

test('a change during a fetch causes one more, because the response may be older than the change', async () => {
  const { issuer, check, events, guard } = await openVersioned();
  const token = await issuer.token();
  const before = JSON.stringify({ keys: issuer.keys.map(({ jwk }) => jwk) });
  let answer = (): void => {};
  issuer.instead.set(PATHS.jwks, (request, response) => {
    answer = () => answerWith(200, before)(request, response);
  });
  const asked = issuer.count(PATHS.jwks);
  issuer.keysVersion = 'v2';
  issuer.heartbeat();
  await until(() => issuer.count(PATHS.jwks) > asked);
  issuer.instead.delete(PATHS.jwks);
  issuer.keys.splice(0, 1, await makeKey('key-2'));
  issuer.keysVersion = 'v3';
  issuer.heartbeat();
  // Once the guard knows this revocation, it has seen the change that came before.
  issuer.revoke({ kind: 'token', id: makeId() });
  await until(() => guard.health().revocations === 1);
  assertAllowed(await check(token));
  const first = events.count('key_set_fetched');
  answer();
  await until(() => events.count('key_set_fetched') === first + 2);
  assertDenied(await check(token), 401);
});

test("keys that were replaced but can't be fetched work for 30 s, and then it is 503", async () => {
  const { issuer, check, clock, events } = await openVersioned({ maxStalenessSeconds: 3_600 });
  const token = await issuer.token();
  issuer.instead.set(PATHS.jwks, answerWith(500, '{}'));
  const failed = events.next('key_set_failed');
  issuer.keysVersion = 'v2';
  issuer.heartbeat();
  await failed;
  assertAllowed(await check(token));
  clock.advance(30);
  const again = events.next('key_set_failed');
  assertAllowed(await check(token));
  await again;
  clock.advance(1);
  assert.equal(assertDenied(await check(token), 503).body.error, 'temporarily_unavailable');
  // The same version again triggers another try.
  issuer.instead.delete(PATHS.jwks);
  clock.advance(1);
  assertAllowed(await check(token));
});

test('a failed fetch after a change is retried with later heartbeats, at most once per second', async () => {
  const { issuer, check, clock, events, guard } = await openVersioned();
  const token = await issuer.token();
  issuer.instead.set(PATHS.jwks, answerWith(500, '{}'));
  const failed = events.next('key_set_failed');
  issuer.keysVersion = 'v2';
  issuer.heartbeat();
  await failed;
  issuer.instead.delete(PATHS.jwks);
  issuer.keys.splice(0, 1, await makeKey('key-2'));
  const asked = issuer.count(PATHS.jwks);
  issuer.heartbeat();
  issuer.revoke({ kind: 'token', id: makeId() });
  await until(() => guard.health().revocations === 1);
  assertAllowed(await check(token));
  assert.equal(issuer.count(PATHS.jwks), asked);
  clock.advance(1);
  const fetched = events.next('key_set_fetched');
  issuer.heartbeat();
  await fetched;
  assertDenied(await check(token), 401);
});

test('ten seconds after a change the keys are fetched again: an instance behind a load balancer may learn of it late', async () => {
  const { issuer, check, clock, events, guard } = await openVersioned();
  const token = await issuer.token();
  const before = JSON.stringify({ keys: issuer.keys.map(({ jwk }) => jwk) });
  const fetchedOld = events.next('key_set_fetched');
  issuer.instead.set(PATHS.jwks, answerWith(200, before));
  issuer.keys.splice(0, 1, await makeKey('key-2'));
  issuer.keysVersion = 'v2';
  issuer.heartbeat();
  await fetchedOld;
  assertAllowed(await check(token));
  issuer.instead.delete(PATHS.jwks);
  const asked = issuer.count(PATHS.jwks);
  clock.advance(5);
  const fetchedNew = events.next('key_set_fetched');
  issuer.heartbeat();
  await until(() => guard.health().stalenessSeconds === 0);
  clock.advance(5);
  issuer.heartbeat();
  await fetchedNew;
  assertDenied(await check(token), 401);
  assert.equal(issuer.count(PATHS.jwks), asked + 1);
});
