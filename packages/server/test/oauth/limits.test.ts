import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { countAlone } from '../../src/oauth/limits/counts.ts';
import { openLimits, type Limits } from '../../src/oauth/limits/limits.ts';
import {
  ASK,
  basicOf,
  ENDPOINTS,
  startHallpass,
  TestClock,
  type Answer,
  type Hallpass,
  type Key,
} from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const BEHIND = { HALLPASS_TRUSTED_PROXIES: '127.0.0.1' };

const failing = (addressFailuresPerMinute: string): Readonly<Record<string, string>> => ({
  HALLPASS_ADDRESS_FAILURES_PER_MINUTE: addressFailuresPerMinute,
});

interface Asking {
  readonly from?: string;
  readonly endpoint?: (typeof ENDPOINTS)[number];
}

function ask(at: Hallpass, key: Key, { from, endpoint: [path, params] = ENDPOINTS[0] }: Asking = {}): Promise<Answer> {
  return at.form(path, params, { key, headers: from === undefined ? {} : { 'x-forwarded-for': from } });
}

const wrong = (clientId: string): Key => ({ clientId, clientSecret: 'not-the-secret-of-anybody-at-all' });

/** One sentence for a client to act on, and a number of seconds that will do. */
function assertLimited(answer: Answer, secondsMax: number): void {
  assert.equal(answer.outcome, '429 rate_limited', answer.text);
  assert.match(answer.header('content-type') ?? '', /^application\/json/);
  assert.match(answer.header('cache-control') ?? '', /no-store/);
  assert.match(answer.header('retry-after') ?? '', /^[0-9]+$/);
  const seconds = Number(answer.header('retry-after'));
  assert.ok(seconds >= 1 && seconds <= secondsMax, `Retry-After: ${seconds}`);
  assert.match(String(answer.body['error_description']), /Retry-After/);
}

/** How many of some answers were good; all the others say that the budget is spent. */
function countGood(answers: readonly Answer[]): number {
  for (const answer of answers) if (answer.status !== 200) assertLimited(answer, 1);
  return answers.filter(({ status }) => status === 200).length;
}

test('a key at fifty times its budget gets 429, and another key does not notice (contract §9)', async () => {
  const hallpass = await startHallpass({ environment: { HALLPASS_KEY_REQUESTS_PER_SECOND: '5' } });
  const [greedy, modest] = [await hallpass.makeKey(), await hallpass.makeKey()];
  const flood = Promise.all(Array.from({ length: 250 }, () => ask(hallpass, greedy)));
  for (let count = 0; count < 5; count++) assert.equal((await ask(hallpass, modest)).status, 200);
  assert.equal(countGood(await flood), 5);
});

test('the budget is back in the next second, however many requests came meanwhile', async () => {
  const hallpass = await startHallpass();
  const key = await hallpass.makeKey({ requestsPerSecond: 1 });
  assert.equal((await ask(hallpass, key)).status, 200);
  assertLimited(await ask(hallpass, key), 1);
  hallpass.clock.set(Math.ceil(hallpass.clock.now() / 1000) * 1000 - 1);
  assertLimited(await ask(hallpass, key), 1);
  hallpass.clock.advance(0.001);
  assert.equal((await ask(hallpass, key)).status, 200);
  assertLimited(await ask(hallpass, key), 1);
});

test('the first token after a revocation of everything costs one request, like any other', async () => {
  const hallpass = await startHallpass();
  const key = await hallpass.makeKey({ requestsPerSecond: 1 });
  await hallpass.keys.revokeTokens(key.clientId);
  assert.equal((await ask(hallpass, key)).status, 200);
});

test("a key's own budget replaces the setting, higher or lower, and can change while the server runs", async () => {
  const hallpass = await startHallpass({ environment: { HALLPASS_KEY_REQUESTS_PER_SECOND: '3' } });
  const keys = [
    [await hallpass.makeKey(), 3],
    [await hallpass.makeKey({ requestsPerSecond: 100 }), 30],
    [await hallpass.makeKey({ requestsPerSecond: 1 }), 1],
  ] as const;
  const thirty = async (key: Key): Promise<number> =>
    countGood(await Promise.all(Array.from({ length: 30 }, () => ask(hallpass, key))));
  for (const [key, good] of keys) assert.equal(await thirty(key), good);
  const [[plain]] = keys;
  await hallpass.keys.update(plain.clientId, { requestsPerSecond: 100 });
  assert.equal(await thirty(plain), 30);
});

test('0 means no limit, for requests and for failures', async () => {
  const hallpass = await startHallpass();
  const key = await hallpass.makeKey();
  const good = await Promise.all(Array.from({ length: 200 }, () => ask(hallpass, key)));
  assert.equal(countGood(good), 200);
  const bad = await Promise.all(Array.from({ length: 200 }, () => ask(hallpass, wrong(key.clientId))));
  assert.ok(bad.every(({ outcome }) => outcome === '401 invalid_client'));
  assert.equal((await ask(hallpass, key)).status, 200);
});

test('token, revoke, introspect and /ping share one budget', async () => {
  const hallpass = await startHallpass();
  for (const spentAt of ENDPOINTS) {
    const key = await hallpass.makeKey({ requestsPerSecond: 2 });
    for (let count = 0; count < 2; count++) assert.equal((await ask(hallpass, key, { endpoint: spentAt })).status, 200);
    const answers = await Promise.all(ENDPOINTS.map((endpoint) => ask(hallpass, key, { endpoint })));
    const ping = await hallpass.request('/ping', { headers: { authorization: basicOf(key) } });
    for (const answer of [...answers, ping]) assertLimited(answer, 1);
  }
});

test('a request over the budget does nothing: no token is revoked, no refresh token consumed', async () => {
  const hallpass = await startHallpass();
  const key = await hallpass.makeKey();
  const tokens = await hallpass.issue(key);
  await hallpass.keys.update(key.clientId, { requestsPerSecond: 1 });
  await ask(hallpass, key);
  assertLimited(await hallpass.revoke(key, tokens.accessToken), 1);
  assertLimited(await hallpass.refresh(key, tokens.refreshToken), 1);
  await hallpass.keys.update(key.clientId, { requestsPerSecond: 100 });
  assert.equal(await hallpass.isActive(key, tokens.accessToken), true);
  const { jti: _, ...first } = (await hallpass.introspect(key, tokens.refreshToken)).body;
  assert.equal(first['active'], true);
});

for (const endpoint of ENDPOINTS) {
  test(`${endpoint[0]}: after 100 failures from one address, over many keys, further failures from there are 429; a right secret is let in everywhere (contract §10)`, async () => {
    const hallpass = await startHallpass({ environment: { ...BEHIND, ...failing('100') } });
    const key = await hallpass.makeKey();
    const from = '203.0.113.7';
    for (let count = 0; count < 100; count++) {
      const answer = await ask(hallpass, wrong(`nobody-${count}`), { from, endpoint });
      assert.equal(answer.outcome, '401 invalid_client', `failure ${count + 1}`);
    }
    for (const other of ENDPOINTS) {
      assertLimited(await ask(hallpass, wrong('nobody'), { from, endpoint: other }), 60);
      assertLimited(await ask(hallpass, wrong(key.clientId), { from, endpoint: other }), 60);
      assert.equal((await ask(hallpass, key, { from, endpoint: other })).status, 200);
    }
    assert.equal((await ask(hallpass, wrong('nobody'), { from: '203.0.113.8', endpoint })).status, 401);
    assert.equal((await ask(hallpass, key, { endpoint })).status, 200);
  });
}

test('the limit against one key from one address is a fifth; other keys from there, and this key from elsewhere, are not affected', async () => {
  const hallpass = await startHallpass({ environment: { ...BEHIND, ...failing('100') } });
  const [key, other] = [await hallpass.makeKey(), await hallpass.makeKey()];
  const here = { from: '203.0.113.7' };
  for (let count = 0; count < 20; count++) {
    assert.equal(
      (await ask(hallpass, wrong(key.clientId), here)).outcome,
      '401 invalid_client',
      `failure ${count + 1}`,
    );
  }
  assertLimited(await ask(hallpass, wrong(key.clientId), here), 60);
  assert.equal((await ask(hallpass, wrong(other.clientId), here)).status, 401);
  assert.equal((await ask(hallpass, wrong(key.clientId), { from: '203.0.113.8' })).status, 401);
  assert.equal((await ask(hallpass, key, here)).status, 200);
});

test('of simultaneous failures exactly as many as the limit are 401, and all others 429', async () => {
  const hallpass = await startHallpass({ environment: failing('30') });
  const guesses = Array.from({ length: 90 }, (_, at) => ask(hallpass, wrong(`nobody-${at}`)));
  const statuses = (await Promise.all(guesses)).map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 401).length, 30);
  assert.equal(statuses.filter((status) => status === 429).length, 60);
});

test('failures are forgotten with their minute, to the second; Retry-After says when', async () => {
  const hallpass = await startHallpass({ environment: failing('5') });
  const key = await hallpass.makeKey();
  hallpass.clock.set(Math.ceil(hallpass.clock.now() / 60_000) * 60_000);
  await ask(hallpass, wrong(key.clientId));
  hallpass.clock.advance(50);
  const answer = await ask(hallpass, wrong(key.clientId));
  assertLimited(answer, 10);
  assert.equal(answer.header('retry-after'), '10');
  hallpass.clock.advance(9);
  assertLimited(await ask(hallpass, wrong(key.clientId)), 1);
  hallpass.clock.advance(1);
  assert.equal((await ask(hallpass, wrong(key.clientId))).status, 401);
});

test('successful requests and requests without credentials do not count as failures', async () => {
  const hallpass = await startHallpass({ environment: failing('5') });
  const key = await hallpass.makeKey();
  for (let count = 0; count < 10; count++) {
    assert.equal((await ask(hallpass, key)).status, 200);
    assert.equal((await hallpass.form('/oauth2/token', ASK)).outcome, '401 invalid_client');
  }
  assert.equal((await ask(hallpass, wrong(key.clientId))).outcome, '401 invalid_client');
  assertLimited(await ask(hallpass, wrong(key.clientId)), 60);
});

test('an unknown key, a wrong secret and a disabled key count alike, and get the same response beyond the limit', async () => {
  const hallpass = await startHallpass({ environment: { ...BEHIND, ...failing('5') } });
  const [known, disabled, rotated] = [await hallpass.makeKey(), await hallpass.makeKey(), await hallpass.makeKey()];
  await hallpass.keys.disable(disabled.clientId);
  await hallpass.rotateSecret(rotated, 0);
  const signs = await hallpass.makeKey({ publicKeys: [(await Signer.make()).jwk] });
  const answers = new Set<string>();
  for (const [at, key] of [
    wrong('nobody'),
    wrong(known.clientId),
    disabled,
    rotated,
    wrong(signs.clientId),
  ].entries()) {
    const from = `203.0.113.${at}`;
    assert.equal((await ask(hallpass, key, { from })).outcome, '401 invalid_client');
    const limited = await ask(hallpass, key, { from });
    assert.equal(limited.status, 429);
    answers.add(limited.visible);
  }
  assert.equal(answers.size, 1);
});

test('only the part of X-Forwarded-For that a trusted proxy added is believed', async () => {
  const hallpass = await startHallpass({ environment: { ...BEHIND, ...failing('5') } });
  for (let count = 0; count < 10; count++) {
    const answer = await ask(hallpass, wrong(`nobody-${count}`), { from: `203.0.113.${count}` });
    assert.equal(answer.outcome, '401 invalid_client', 'each its own address');
  }
  for (let count = 0; count < 5; count++) {
    await ask(hallpass, wrong(`nobody-${count}`), { from: `203.0.113.${100 + count}, 198.51.100.1` });
  }
  assertLimited(await ask(hallpass, wrong('nobody'), { from: '203.0.113.200, 198.51.100.1' }), 60);
  assert.equal((await ask(hallpass, wrong('nobody'), { from: '198.51.100.1, 203.0.113.200' })).status, 401);
});

test('without a trusted proxy X-Forwarded-For is ignored: made-up addresses do not help', async () => {
  const hallpass = await startHallpass({ environment: failing('5') });
  for (let count = 0; count < 5; count++) {
    const answer = await ask(hallpass, wrong(`nobody-${count}`), { from: `203.0.113.${count}` });
    assert.equal(answer.outcome, '401 invalid_client');
  }
  assertLimited(await ask(hallpass, wrong('nobody'), { from: '203.0.113.99' }), 60);
  assertLimited(await ask(hallpass, wrong('nobody')), 60);
});

test("introspections of strangers' tokens don't use up a resource server's budget for its feed and for good tokens (contract §10)", async () => {
  const hallpass = await startHallpass();
  const api = await hallpass.makeReader({ requestsPerSecond: 3 });
  const { accessToken } = await hallpass.issue(await hallpass.makeKey());
  for (const token of ['hpat_made-up', 'a.b.c', 'x']) assert.equal(await hallpass.isActive(api, token), false);
  assertLimited(await hallpass.introspect(api, 'hpat_one-more'), 1);
  for (let count = 0; count < 3; count++) assert.equal(await hallpass.isActive(api, accessToken), true);
  assertLimited(await hallpass.introspect(api, accessToken), 1);
  for (let count = 0; count < 3; count++) assert.equal((await hallpass.readFeed(api)).status, 200);
  assertLimited(await hallpass.readFeed(api), 1);
  hallpass.clock.advance(1);
  assert.equal(await hallpass.isActive(api, accessToken), true);
  assert.equal((await hallpass.readFeed(api)).status, 200);
  // Any other key has the one budget, whatever it asks about.
  const plain = await hallpass.makeKey({ requestsPerSecond: 1 });
  assert.equal(await hallpass.isActive(plain, 'x'), false);
  assertLimited(await hallpass.introspect(plain, accessToken), 1);
  assertLimited(await ask(hallpass, plain), 1);
});

test('a request in JSON is refused in JSON with the same status (contract §3 Errors)', async () => {
  const hallpass = await startHallpass();
  const key = await hallpass.makeKey({ requestsPerSecond: 1 });
  await ask(hallpass, key);
  assertLimited(await hallpass.json('/oauth2/token', ASK, { key }), 1);
  await hallpass.close();
  const bounded = await startHallpass({ environment: failing('1') });
  await bounded.json('/oauth2/token', ASK, { key: wrong('nobody') });
  assertLimited(await bounded.json('/oauth2/token', ASK, { key: wrong('nobody') }), 60);
});

const SALT = Uint8Array.from({ length: 32 }, (_, at) => at);
const open = (addressFailuresPerMinute: number): Limits =>
  openLimits(
    { keyRequestsPerSecond: 0, addressFailuresPerMinute },
    { salt: () => SALT, clock: new TestClock(), count: countAlone() },
  );
const fail = (limits: Limits, address: string): Promise<unknown> =>
  limits.countFailure({ source: { address }, clientId: undefined });
const isBlocked = (limits: Limits, address: string): boolean =>
  limits.findBlock({ source: { address }, clientId: undefined }) !== undefined;

for (const [what, failed, same, other] of [
  ['of one /64 are one', '2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:fffe', '2001:db8:1:3::1'],
  ['are one however they are written', '2001:db8:0:2::1', '2001:0DB8:0000:2:0:0:0:9', '2001:db8:2::1'],
  ['with the gap at the start', '::1', '0:0:0:0:0:0:0:2', '0:0:0:1::1'],
  ['with the gap at the end', 'fe80::', 'fe80:0:0:0:1:2:3:4', 'fe80:0:0:1::'],
  ['on an interface', 'fe80::1%eth0', 'fe80::2%eth0', 'fe80:1::1%eth0'],
  ['with a port behind them', '[2001:db8:1:2::1]:4711', '2001:db8:1:2::2', '[2001:db8:1:3::1]:4711'],
] as const) {
  test(`IPv6 addresses ${what}`, async () => {
    const limits = open(1);
    await fail(limits, failed);
    assert.equal(isBlocked(limits, same), true);
    assert.equal(isBlocked(limits, other), false);
  });
}

test('an IPv4 address is the same mapped to IPv6 and with a port behind it, and its neighbour is another', async () => {
  for (const written of ['203.0.113.7', '::ffff:203.0.113.7', '::FFFF:203.0.113.7', '203.0.113.7:50123']) {
    const limits = open(1);
    await fail(limits, written);
    assert.equal(isBlocked(limits, '203.0.113.7'), true, written);
    assert.equal(isBlocked(limits, '203.0.113.8'), false);
    assert.equal(isBlocked(limits, '::ffff:203.0.113.8'), false);
  }
});

/** Every failure from an address of its own; how many of 1,000 others are blocked by that. */
async function shareBlocked(limits: Limits, failures: number): Promise<number> {
  for (let count = 0; count < failures; count++) await fail(limits, `attacker ${count}`);
  let blocked = 0;
  for (let count = 0; count < 1_000; count++) if (isBlocked(limits, `bystander ${count}`)) blocked += 1;
  return blocked / 1_000;
}

test('100,000 addresses fill a bounded number of buckets, so more addresses take no more memory', async () => {
  // Collect garbage first, so that only memory in use is counted.
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  const heapUsed = (): number => {
    if (typeof collect === 'function') collect();
    return process.memoryUsage().heapUsed;
  };
  assert.ok((await shareBlocked(open(1), 600)) < 0.03, 'a few addresses block nobody else');
  const limits = open(1);
  const before = heapUsed();
  // Of 65,536 buckets 1 - e^(-100,000 / 65,536) are full: 78 of 100 strangers find theirs taken.
  assert.ok((await shareBlocked(limits, 100_000)) > 0.7, 'the number of buckets is bounded');
  const bytes = heapUsed() - before;
  assert.ok(bytes < 131_072 * 600, `${bytes} bytes`);
  for (let count = 0; count < 20_000; count++) await fail(limits, `another ${count}`);
  const more = heapUsed() - before - bytes;
  assert.ok(more < bytes / 4, `${bytes} bytes, and then ${more}`);
});
