/** A guard in front of an issuer whose feed misbehaves in every way we know. */
import { PATHS } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mock, test } from 'node:test';
import { EVENT_LENGTH_MAX } from '../../src/revocations/event_stream.ts';
import type { GuardEvent } from '../../src/guard_event.ts';
import { assertAllowed, assertDenied, bearer, guardOf, openBench, openIssuer, type Bench } from '../harness.ts';
import { answerWith, API, CREDENTIALS, makeId, NOW_SECONDS } from '../issuer.ts';

/** Resolves when the guard has taken everything that the issuer has sent so far. */
async function untilHeard({ issuer, guard }: Bench): Promise<void> {
  const held = guard.health().revocations;
  issuer.revoke({ kind: 'token', id: makeId() });
  await until(() => guard.health().revocations > held);
}

/** Waits until a condition holds. The test's own time limit bounds it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

test('a revocation by token, grant, client or moment revokes its tokens as soon as it arrives, and no others', async () => {
  for (const kind of ['token', 'grant', 'client', 'before'] as const) {
    const bench = await openBench();
    const { issuer, check } = bench;
    const mine = { jti: makeId(), grant_id: makeId(), sub: 'mine', client_id: 'mine', iat: NOW_SECONDS - 10 };
    const ended = await issuer.token(mine);
    const other = await issuer.token();
    assertAllowed(await check(ended));
    const before = NOW_SECONDS - 9;
    const entries = {
      token: { kind, id: mine.jti },
      grant: { kind, id: mine.grant_id },
      client: { kind, id: 'mine', before },
      before: { kind, id: '*', before },
    };
    issuer.revoke(entries[kind]);
    await untilHeard(bench);
    const denial = assertDenied(await check(ended), 401, kind);
    assert.equal(denial.body.error, 'invalid_token');
    assert.equal(denial.because, 'revoked');
    assertAllowed(await check(other), kind);
    if (kind === 'client' || kind === 'before')
      assertAllowed(await check(await issuer.token({ ...mine, iat: before })), 'at the moment');
  }
});

test('the first check knows what was revoked before the guard started', async () => {
  const { issuer, check } = await openBench();
  const jti = makeId();
  issuer.revoke({ kind: 'token', id: jti });
  assertDenied(await check(await issuer.token({ jti })), 401);
  assertAllowed(await check(await issuer.token()));
});

test('the first check waits for the first heartbeat, because a backlog without one may be incomplete', async () => {
  const { issuer, check, guard, events } = await openBench();
  issuer.heartbeats = false;
  const jti = makeId();
  const token = await issuer.token({ jti });
  const opened = issuer.opened();
  let decided = false;
  const decision = check(token).finally(() => (decided = true));
  await opened;
  issuer.revoke({ kind: 'token', id: jti });
  await until(() => guard.health().revocations === 1);
  assert.equal(guard.health().stalenessSeconds, Infinity);
  assert.equal(guard.health().connected, false);
  await until(() => events.count('key_set_fetched') === 1);
  // Everything it needs is there, so if it decides too early, it does so in these turns.
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(!decided);
  issuer.heartbeat();
  assertDenied(await decision, 401);
  assert.equal(guard.health().connected, true);
});

test('a revocation that arrives while its token is being checked is honoured', async () => {
  const { issuer, check, guard } = await openBench();
  assertAllowed(await check(await issuer.token()));
  const jti = makeId();
  const token = await issuer.token({ jti }, { kid: 'key-2' });
  assertDenied(await check(token), 401);
  const slow = await openBench();
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  slow.issuer.instead.set(PATHS.jwks, (request, response) => {
    void released.then(() =>
      answerWith(200, JSON.stringify({ keys: slow.issuer.keys.map(({ jwk }) => jwk) }))(request, response),
    );
  });
  const opened = slow.issuer.opened();
  const decision = slow.check(await slow.issuer.token({ jti }));
  await opened;
  slow.issuer.revoke({ kind: 'token', id: jti });
  await until(() => slow.guard.health().revocations === 1);
  release();
  assertDenied(await decision, 401);
  assert.equal(guard.health().revocations, 0);
});

test('after a lost connection the feed resumes where it was, and no revocation is missed (contract §9)', async () => {
  const bench = await openBench();
  const { issuer, check, events } = bench;
  const jtis = [makeId(), makeId(), makeId()];
  const [first = '', between = '', last = ''] = jtis;
  assertAllowed(await check(await issuer.token({ jti: first })));
  issuer.revoke({ kind: 'token', id: first });
  await untilHeard(bench);
  const lost = events.next('feed_lost');
  const back = events.next('feed_connected');
  issuer.drop();
  issuer.revoke({ kind: 'token', id: between });
  await lost;
  await back;
  issuer.revoke({ kind: 'token', id: last });
  await untilHeard(bench);
  for (const jti of jtis) assertDenied(await check(await issuer.token({ jti })), 401);
  assertAllowed(await check(await issuer.token()));
  assert.deepEqual(issuer.resumed, [undefined, 'c2']);
});

test('when the server restarts, the feed resumes and callers do not notice', async () => {
  const { issuer, check, events, guard } = await openBench();
  assertAllowed(await check(await issuer.token()));
  const lost = events.next('feed_lost');
  await issuer.shut();
  await lost;
  assert.equal(guard.health().connected, false);
  assertAllowed(await check(await issuer.token()));
  const jti = makeId();
  issuer.revoke({ kind: 'token', id: jti });
  const back = events.next('feed_connected');
  await issuer.open();
  await back;
  assert.deepEqual(issuer.resumed.at(-1), 'c0');
  assertDenied(await check(await issuer.token({ jti })), 401);
});

test('a guard that has been stale for too long refuses with 503 and Retry-After, and not a second sooner', async () => {
  const { issuer, check, clock, guard } = await openBench({ maxStalenessSeconds: 10 });
  const token = await issuer.token();
  assertAllowed(await check(token));
  clock.advance(10);
  assertAllowed(await check(token));
  clock.advance(0.001);
  const denial = assertDenied(await check(token), 503);
  assert.equal(denial.body.error, 'temporarily_unavailable');
  assert.match(denial.headers['Retry-After'] ?? '', /^[1-9]\d*$/);
  assert.equal(denial.headers['WWW-Authenticate'], undefined);
  assert.ok(guard.health().stalenessSeconds > 10);
  // A bad token is still a 401, and a missing one a 400.
  assertDenied(await check(await issuer.token({ aud: 'x' })), 401);
  assertDenied(await check(''), 400);
});

test('heartbeats that were read too late do not count: a stopped process opens the feed again', async () => {
  const { issuer, check, clock, events } = await openBench();
  const token = await issuer.token();
  assertAllowed(await check(token));
  clock.advance(60);
  assertDenied(await check(token), 503);
  const lost = events.next('feed_lost');
  const back = events.next('feed_connected');
  issuer.heartbeat();
  assert.deepEqual(await lost, { kind: 'feed_lost', because: 'The feed was not read for too long.' });
  await back;
  assertAllowed(await check(token));
  assert.equal(issuer.resumed.length, 2);
});

test('a stale guard that introspects asks about each token: active, not active, no answer (RFC 7662 §2.2)', async () => {
  const { issuer, check, clock, events } = await openBench({ whenStale: 'introspect' });
  const token = await issuer.token();
  issuer.active.add(token);
  assertAllowed(await check(token));
  assert.deepEqual(issuer.asked, []);
  clock.advance(11);
  assertAllowed(await check(token));
  assert.deepEqual(issuer.asked, [token]);
  issuer.active.delete(token);
  assertDenied(await check(token), 401);
  assert.equal(issuer.asked.length, 2);
  // A token that is refused anyway is not introspected.
  assertDenied(await check(await issuer.token({ aud: 'x' })), 401);
  assert.equal(issuer.asked.length, 2);
  const answers = [
    answerWith(500, ''),
    answerWith(503, '{"active":true}'),
    answerWith(401, '{"active":true}'),
    answerWith(200, 'active'),
    answerWith(307, '{"active":true}', { location: '/oauth2/introspect' }),
    answerWith(200, JSON.stringify({ active: true, padding: 'x'.repeat(65_536) })),
  ];
  for (const answer of answers) {
    issuer.instead.set(PATHS.introspect, answer);
    const failed = events.next('introspection_failed');
    assert.ok('Retry-After' in assertDenied(await check(token), 503).headers);
    await failed;
  }
  for (const odd of ['{"active":"true"}', '{"active":1}', '{}', '[]', 'null', 'true', '{"active":null}']) {
    issuer.instead.set(PATHS.introspect, answerWith(200, odd));
    assertDenied(await check(token), 401, odd);
  }
});

test('a guard that introspects still refuses a token it knows to be revoked, whatever the answer', async () => {
  const bench = await openBench({ whenStale: 'introspect' });
  const { issuer, check, clock } = bench;
  const jti = makeId();
  const token = await issuer.token({ jti });
  issuer.active.add(token);
  assertAllowed(await check(token));
  issuer.revoke({ kind: 'token', id: jti });
  await untilHeard(bench);
  clock.advance(11);
  assertDenied(await check(token), 401);
});

test('a hundred concurrent introspections leak no listener', async () => {
  const { issuer, check, clock } = await openBench({ whenStale: 'introspect' });
  const warnings: string[] = [];
  const hear = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', hear);
  const token = await issuer.token();
  issuer.active.add(token);
  assertAllowed(await check(token));
  clock.advance(11);
  for (const decision of await Promise.all(Array.from({ length: 100 }, () => check(token)))) assertAllowed(decision);
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', hear);
  assert.deepEqual(warnings, []);
});

test('an entry that cannot be read is never skipped: the guard goes stale and asks for it again', async () => {
  const good = { cursor: 'c1', kind: 'token', id: 'x', expires_at: NOW_SECONDS + 60 };
  const unreadable = [
    '{',
    'null',
    '[]',
    JSON.stringify({ ...good, kind: 'scope' }),
    JSON.stringify({ ...good, kind: 'client' }),
    JSON.stringify({ ...good, id: 7 }),
    JSON.stringify({ ...good, expires_at: '7' }),
    JSON.stringify({ ...good, cursor: '' }),
    'x'.repeat(EVENT_LENGTH_MAX + 1),
  ];
  for (const data of unreadable) {
    const { issuer, check, clock, events, guard } = await openBench();
    const token = await issuer.token();
    assertAllowed(await check(token));
    const lost = events.next('feed_lost');
    const again = issuer.opened();
    issuer.heartbeats = false;
    issuer.say(`event: revocation\nid: c9\ndata: ${data}\n\nevent: heartbeat\nid: c9\ndata: {}\n\n`);
    await lost;
    assert.equal(guard.health().connected, false);
    clock.advance(11);
    assertDenied(await check(token), 503, data.slice(0, 60));
    await again;
    // From before the entry, so that it is sent again.
    assert.equal(issuer.resumed.at(-1), 'c0');
  }
});

test('events of other types are ignored', async () => {
  const bench = await openBench();
  assertAllowed(await bench.check(await bench.issuer.token()));
  bench.issuer.say(': comment\n\nevent: news\ndata: {\n\ndata: x\n\nretry: 1\n\n');
  await untilHeard(bench);
  assert.equal(bench.events.count('feed_lost'), 0);
});

test('when the issuer refuses the credentials, the event has the status and checks are 503 (contract §9)', async () => {
  const issuer = await openIssuer();
  for (const status of [401, 403]) {
    if (status === 403) issuer.instead.set(PATHS.revocations, answerWith(403, '{}'));
    const credentials = status === 401 ? { ...CREDENTIALS, clientSecret: 'another' } : CREDENTIALS;
    const { check, events, guard } = guardOf(issuer, { credentials, startWaitSeconds: 0 });
    const refused = events.next('feed_refused');
    const token = await issuer.token();
    assertDenied(await check(token), 503);
    assert.deepEqual(await refused, { kind: 'feed_refused', status });
    assertDenied(await check(token), 503);
    assert.equal(guard.health().connected, false);
    assert.ok(!JSON.stringify(events.seen).includes('another'));
  }
});

test('an answer with another status, another type or a redirect is not taken for the feed', async () => {
  const issuer = await openIssuer();
  const beat = 'event: heartbeat\nid: c0\ndata: {}\n\n';
  const stream = { 'content-type': 'text/event-stream' };
  for (const answer of [
    ...[201, 206, 400, 404, 429, 500, 503].map((status) => answerWith(status, beat, stream)),
    answerWith(204, '', stream),
    answerWith(200, beat),
    ...['text/event-streams', 'text/event-stream, text/html', 'x-text/event-stream', 'text/html'].map((type) =>
      answerWith(200, beat, { 'content-type': type }),
    ),
    answerWith(302, beat, { ...stream, location: '/feed' }),
  ]) {
    issuer.instead.set(PATHS.revocations, answer);
    const { check, events, guard } = guardOf(issuer, { startWaitSeconds: 0 });
    const lost = events.next('feed_lost');
    assertDenied(await check(await issuer.token()), 503);
    await lost;
    assert.equal(events.count('feed_connected'), 0);
    guard.close();
  }
  assert.equal(issuer.count('/feed'), 0);
});

test('an onEvent that throws changes nothing', async () => {
  const issuer = await openIssuer();
  const told: string[] = [];
  const onEvent = ({ kind }: GuardEvent): never => {
    told.push(kind);
    throw new Error('a log that is full');
  };
  const { check, guard } = guardOf(issuer, { onEvent });
  assertAllowed(await check(await issuer.token()));
  issuer.drop();
  await until(() => told.includes('feed_lost'));
  await until(() => guard.health().connected);
  assertAllowed(await check(await issuer.token()));
});

test('ready() resolves when keys and revocations are there, and rejects if the guard is closed first', async () => {
  const issuer = await openIssuer();
  await issuer.shut();
  const { guard, events, check } = guardOf(issuer);
  const lost = events.next('feed_lost');
  const ready = guard.ready();
  await lost;
  await issuer.open();
  await ready;
  assert.equal(guard.health().connected, true);
  assert.equal(events.count('key_set_fetched'), 1);
  assertAllowed(await check(await issuer.token()));

  await issuer.shut();
  const other = guardOf(issuer);
  const away = other.events.next('feed_lost');
  const never = other.guard.ready();
  await away;
  other.guard.close();
  await assert.rejects(never, /^Error: The guard was closed\.$/);
  await assert.rejects(other.guard.ready(), /^Error: The guard was closed\.$/);
});

test('a thousand calls of ready() leak no listener', async () => {
  const { guard } = await openBench();
  const warnings: string[] = [];
  const hear = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', hear);
  const added = mock.method(AbortSignal.prototype, 'addEventListener');
  const removed = mock.method(AbortSignal.prototype, 'removeEventListener');
  const listeners = (): number => added.mock.callCount() - removed.mock.callCount();
  await guard.ready();
  const held = listeners();
  for (let round = 0; round < 1000; round++) await guard.ready();
  assert.equal(listeners(), held);
  assert.ok(added.mock.callCount() >= 1000);
  mock.restoreAll();
  process.off('warning', hear);
  assert.deepEqual(warnings, []);
});

test('a closed guard answers 503 at once, to waiting checks too', async () => {
  const { issuer, guard, check } = await openBench();
  issuer.heartbeats = false;
  const opened = issuer.opened();
  const waiting = check(await issuer.token());
  await opened;
  guard.close();
  assertDenied(await waiting, 503);
  assertDenied(await guard.check(bearer(await issuer.token()), '/accounts.read'), 503);
  guard.close();
});

test('after close() the process exits on its own, without an error', { timeout: 60_000 }, async () => {
  const issuer = await openIssuer();
  const script = `
    import { createGuard } from '@hallpass/guard';
    const guard = createGuard(${JSON.stringify({ issuer: issuer.url, audience: API, credentials: CREDENTIALS })});
    await guard.ready();
    console.log(guard.health().connected);
    guard.close();`;
  const child = spawn(process.execPath, ['--conditions=hallpass-source', '--input-type=module', '--eval', script], {
    cwd: import.meta.dirname,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [code]: unknown[] = await once(child, 'exit');
  assert.equal(said, 'true\n');
  assert.equal(code, 0);
});
