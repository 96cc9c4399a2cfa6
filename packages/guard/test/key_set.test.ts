import { PATHS } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAllowed, assertDenied, openBench, openIssuer } from './harness.ts';
import { answerWith, makeKey } from './issuer.ts';

test('a hundred checks at once cause one fetch of the keys', async () => {
  const { issuer, check } = await openBench();
  const tokens = await Promise.all(Array.from({ length: 100 }, () => issuer.token()));
  for (const decision of await Promise.all(tokens.map((token) => check(token)))) assertAllowed(decision);
  assert.equal(issuer.count(PATHS.jwks), 1);
});

test('an unknown kid asks the issuer once per cooldown of 5 s, however many are made up', async () => {
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

test('a new key is picked up with its first token, and one that was taken back is gone', async () => {
  const { issuer, check, clock } = await openBench();
  const [old] = issuer.keys;
  assertAllowed(await check(await issuer.token()));
  const fresh = await makeKey('key-2');
  issuer.keys.splice(0, 1, fresh);
  clock.advance(5);
  assertAllowed(await check(await issuer.token({}, {}, fresh)));
  assertDenied(await check(await issuer.token({}, {}, old)), 401);
});

test('a key of the same id is another key once the issuer says so, within the 300 s for which keys are fresh', async () => {
  const { issuer, check, clock, events } = await openBench({ whenStale: 'introspect' });
  const token = await issuer.token();
  issuer.active.add(token);
  assertAllowed(await check(token));
  issuer.keys.splice(0, 1, await makeKey('key-1'));
  clock.advance(300);
  assertAllowed(await check(token));
  clock.advance(1);
  const fetched = events.next('key_set_fetched');
  // This one is served with what is held, while the successors are on their way.
  assertAllowed(await check(token));
  await fetched;
  assertDenied(await check(token), 401);
});

test('while the issuer has no keys to give, the held ones go on for an hour and then it is 503 (GD-16)', async () => {
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

test('an unknown kid while the issuer is away is 503 and not 401: nobody can tell', async () => {
  const { issuer, check, clock } = await openBench();
  assertAllowed(await check(await issuer.token()));
  const newcomer = await issuer.token({}, {}, await makeKey('key-2'));
  assertDenied(await check(newcomer), 401);
  issuer.instead.set(PATHS.jwks, answerWith(503, ''));
  clock.advance(5);
  assertDenied(await check(newcomer), 503);
  assertAllowed(await check(await issuer.token()));
});

test('a failing issuer is asked once a second, not once a check', async () => {
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

test('a set that is too large or malformed is refused, and the keys that are held stay', async () => {
  const { issuer, check, clock, events } = await openBench({ maxStalenessSeconds: 3_600 });
  const token = await issuer.token();
  assertAllowed(await check(token));
  const [key] = issuer.keys;
  const good = { keys: [key?.jwk] };
  const unknown = await issuer.token({}, { kid: 'unknown' });
  const bodies = [
    JSON.stringify({ ...good, padding: 'x'.repeat(65_536) }),
    'not json',
    '',
    '[]',
    'null',
    '{}',
    '{"keys":{}}',
    '{"keys":[]}',
    '{"keys":[null]}',
    '{"keys":"x"}',
    '\ufeff{"keys":[]}',
    `${JSON.stringify(good)}x`,
  ];
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
