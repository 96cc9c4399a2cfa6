/** Revocations that wait for guards (ADR 16), with readers that confirm or not, on a clock that runs. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FOLLOWER_CALL_INTERVAL_MS } from '../../src/oauth/followers/confirmation_calls.ts';
import { WAITS_PER_CLIENT_MAX } from '../../src/oauth/followers/followers.ts';
import {
  basicOf,
  claimOf,
  startHallpass,
  TestClock,
  type Answer,
  type Hallpass,
  type Key,
} from '../../../../testing/server/server.ts';

const FEED = '/oauth2/revocations';

/** Waits that really wait. */
class RunningClock extends TestClock {
  override readonly now = (): number => Date.now();
  override readonly sleep = async (milliseconds: number): Promise<void> => {
    await sleep(milliseconds);
  };
}

interface Place {
  readonly hallpass: Hallpass;
  readonly key: Key;
  readonly reader: Key;
}

async function open(environment: Readonly<Record<string, string>> = {}): Promise<Place> {
  const hallpass = await startHallpass({ clock: new RunningClock(), environment });
  const key = await hallpass.makeKey();
  return { hallpass, key, reader: await hallpass.makeReader() };
}

const followerId = (at: number): string => String(at).padStart(22, 'A');

/** A reader of the stream: it confirms what it is asked to, unless it is deaf. */
async function follow(
  t: TestContext,
  { hallpass, reader }: Place,
  {
    at,
    deaf = false,
    authorization = basicOf(reader),
  }: { readonly at: number; readonly deaf?: boolean; readonly authorization?: string },
): Promise<{ readonly asked: () => number; readonly leave: () => void }> {
  const leaving = new AbortController();
  t.after(() => leaving.abort());
  const headers = { authorization, 'hallpass-follower': followerId(at) };
  const response = await fetch(hallpass.url + FEED, { headers, signal: leaving.signal });
  assert.equal(response.status, 200);
  let asked = 0;
  let begun = (): void => {};
  const started = new Promise<void>((resolve) => (begun = resolve));
  const read = async (): Promise<void> => {
    let text = '';
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += piece;
      begun();
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const cursor = /^event: confirm\nid: (\S+)\n/.exec(text.slice(0, end))?.[1];
        text = text.slice(end + 2);
        if (cursor === undefined) continue;
        asked += 1;
        if (!deaf) await fetch(`${hallpass.url}${FEED}?after=${cursor}`, { headers, signal: leaving.signal });
      }
    }
  };
  read().catch(() => undefined);
  await started;
  return { asked: () => asked, leave: () => leaving.abort() };
}

async function revokeAndWait(
  { hallpass, key }: Place,
  query: string,
): Promise<{ readonly answer: Answer; readonly token: string; readonly elapsedMs: number }> {
  const { accessToken: token } = await hallpass.issue(key);
  const startedAt = performance.now();
  const answer = await hallpass.form(`/oauth2/revoke${query}`, { token }, { key });
  return { answer, token, elapsedMs: performance.now() - startedAt };
}

test('a revocation that waits responds as soon as all guards have confirmed, with their number', async (t) => {
  const place = await open();
  for (const at of [1, 2, 3]) await follow(t, place, { at });
  const { answer, token, elapsedMs } = await revokeAndWait(place, '?wait=10');
  assert.equal(answer.status, 200);
  assert.equal(answer.text, '{}');
  assert.equal(answer.header('hallpass-guards'), 'confirmed=3, connected=3');
  assert.ok(elapsedMs < 9_000, `${elapsedMs} ms`);
  assert.equal(await place.hallpass.isActive(place.key, token), false);
  const json = await place.hallpass.json('/oauth2/revoke?wait=10', { token }, { key: place.key });
  assert.equal(json.status, 204);
  assert.equal(json.header('hallpass-guards'), 'confirmed=3, connected=3');
});

test('a guard that does not confirm makes it wait to the end and no longer; the token is revoked anyway', async (t) => {
  const place = await open();
  await follow(t, place, { at: 1 });
  await follow(t, place, { at: 2, deaf: true });
  const { answer, token, elapsedMs } = await revokeAndWait(place, '?wait=1');
  assert.equal(answer.status, 200);
  assert.equal(answer.header('hallpass-guards'), 'confirmed=1, connected=2');
  assert.ok(elapsedMs >= 990, `${elapsedMs} ms`);
  assert.equal(await place.hallpass.isActive(place.key, token), false);
  const none = await revokeAndWait(place, '?wait=0');
  assert.equal(none.answer.status, 200);
  assert.match(none.answer.header('hallpass-guards') ?? '', /^confirmed=[01], connected=2$/);
});

test('a guard that disconnects counts for 10 s more: it may still accept tokens', async (t) => {
  const place = await open();
  const { leave } = await follow(t, place, { at: 1, deaf: true });
  leave();
  const { answer } = await revokeAndWait(place, '?wait=1');
  assert.equal(answer.header('hallpass-guards'), 'confirmed=0, connected=1');
});

test('if no request waits, no guard is asked, except once at the beginning', async (t) => {
  const place = await open();
  const { asked } = await follow(t, place, { at: 1 });
  for (let round = 0; round < 5; round++) await revokeAndWait(place, '');
  await revokeAndWait(place, '?wait=10');
  assert.ok(asked() <= 2, `${asked()} times`);
});

test('without wait the response does not mention guards; a malformed wait is refused, and nothing is revoked', async () => {
  const place = await open();
  const { hallpass, key } = place;
  const plain = await revokeAndWait(place, '');
  assert.equal(plain.answer.header('hallpass-guards'), undefined);
  const { accessToken: token } = await hallpass.issue(key);
  for (const query of ['wait=', 'wait=11', 'wait=-1', 'wait=1.5', 'wait=1s', 'wait=010', 'wait=1&wait=1', 'wait=0x1']) {
    const answer = await hallpass.form(`/oauth2/revoke?${query}`, { token }, { key });
    assert.equal(answer.outcome, '400 invalid_request', query);
    assert.match(String(answer.body['error_description']), /wait/);
  }
  assert.equal(await hallpass.isActive(key, token), true);
  // Nothing else in the query is read, and a wait in the body is an unknown parameter.
  const other = await hallpass.form(`/oauth2/revoke?token=x&client_id=y`, { token, wait: '99' }, { key });
  assert.equal(other.status, 200);
  assert.equal(other.header('hallpass-guards'), undefined);
  assert.equal(await hallpass.isActive(key, token), false);
});

test('if nothing is revoked, no guard is asked and the response does not wait', async (t) => {
  const place = await open();
  const { asked } = await follow(t, place, { at: 1, deaf: true });
  const begunWith = asked();
  const startedAt = performance.now();
  for (const token of Array.from({ length: 20 }, (_, at) => `nonsense${at}`)) {
    const answer = await place.hallpass.form('/oauth2/revoke?wait=10', { token }, { key: place.key });
    assert.equal(answer.status, 200);
    assert.equal(answer.header('hallpass-guards'), 'confirmed=1, connected=1');
  }
  assert.ok(performance.now() - startedAt < 9_000);
  assert.ok(asked() <= Math.max(1, begunWith), `${asked()} times`);
  // The nearest that has something to wait for: a revocation that is repeated since its answer was lost.
  const { token } = await revokeAndWait(place, '');
  const again = await place.hallpass.form('/oauth2/revoke?wait=1', { token }, { key: place.key });
  assert.equal(again.header('hallpass-guards'), 'confirmed=0, connected=1');
});

test('revocations that wait at the same time ask each guard once, and respond no earlier than is true', async (t) => {
  let calls = 0;
  const cursors: string[] = [];
  const clock = new RunningClock();
  const hallpass = await startHallpass({
    clock,
    faulty: (store) => ({
      ...store,
      askFollowers: async () => {
        calls += 1;
        const cursor = await store.askFollowers();
        cursors.push(cursor);
        return cursor;
      },
    }),
  });
  const key = await hallpass.makeKey();
  const place = { hallpass, key, reader: await hallpass.makeReader() };
  await follow(t, place, { at: 1 });
  const startedAt = performance.now();
  // More than may wait: the rest is answered at once, and by the same calls.
  const waits = Array.from({ length: 40 }, () => revokeAndWait(place, '?wait=10'));
  const answers = await Promise.all(waits);
  const elapsedMs = performance.now() - startedAt;
  for (const { answer } of answers) assert.equal(answer.status, 200);
  assert.ok(calls <= 1 + elapsedMs / FOLLOWER_CALL_INTERVAL_MS, `${calls} calls in ${elapsedMs} ms`);
  // Each call covers what was revoked before it, so the last one covers everything.
  const { body } = await hallpass.request(`${FEED}?after=`, { headers: { authorization: basicOf(place.reader) } });
  assert.equal(body['cursor'], cursors.at(-1));
});

test("confirmations have their own budget: what others revoke does not use up a guard's requests", async () => {
  const hallpass = await startHallpass();
  const reader = await hallpass.makeReader({ requestsPerSecond: 2 });
  const partner = await hallpass.makeKey({ scopes: ['/oauth2/revocations.read'], requestsPerSecond: 2 });
  const page = async (by: Key, follower?: string): Promise<string> => {
    const headers = {
      authorization: basicOf(by),
      ...(follower === undefined ? {} : { 'hallpass-follower': follower }),
    };
    return (await hallpass.request(`${FEED}?after=`, { headers })).outcome;
  };
  for (let count = 0; count < 10; count++) assert.equal(await page(reader, followerId(count)), '200');
  assert.deepEqual([await page(reader), await page(reader)], ['200', '200'], 'all of its requests are still there');
  assert.equal(await page(reader), '429 rate_limited');
  assert.equal(await page(reader, followerId(1)), '200');
  // Only a guard's key, and only one that names its guard.
  const refused = '403 insufficient_scope';
  assert.deepEqual([await page(partner, followerId(1)), await page(partner, followerId(1))], [refused, refused]);
  assert.equal(await page(partner, followerId(1)), '429 rate_limited');
  assert.equal(await page(reader, 'no-name'), '429 rate_limited');
});

test("only followers with a resource server's key and a well-formed name are counted", async (t) => {
  const place = await open();
  const { hallpass } = place;
  const scopes = ['/oauth2/revocations.read'];
  const scoped = await hallpass.makeKey({ scopes, resourceServerFor: [hallpass.issuer] });
  // A token of such a key may read, but be in the hands of something that must not make others wait.
  const authorization = `Bearer ${(await hallpass.issue(scoped, '/oauth2/revocations.read')).accessToken}`;
  await follow(t, place, { at: 1, authorization, deaf: true });
  const page = await hallpass.request(`${FEED}?after=`, {
    headers: { authorization, 'hallpass-follower': followerId(2) },
  });
  assert.equal(page.status, 200);
  const refused = await hallpass.request(`${FEED}?after=`, {
    headers: { authorization: basicOf(place.key), 'hallpass-follower': followerId(3) },
  });
  assert.equal(refused.outcome, '403 insufficient_scope');
  for (const name of ['x', 'A'.repeat(23), `${'A'.repeat(21)}!`]) {
    const answer = await hallpass.request(`${FEED}?after=`, {
      headers: { authorization: basicOf(place.reader), 'hallpass-follower': name },
    });
    assert.equal(answer.status, 200);
  }
  const { answer } = await revokeAndWait(place, '?wait=10');
  assert.equal(answer.header('hallpass-guards'), 'confirmed=0, connected=0');
});

test('a reader that only fetches pages confirms with each one, and is counted', async () => {
  const place = await open();
  const { hallpass, reader } = place;
  const headers = { authorization: basicOf(reader), 'hallpass-follower': followerId(1) };
  let cursor = '';
  const read = async (): Promise<readonly unknown[]> => {
    const { body } = await hallpass.request(`${FEED}?after=${cursor}`, { headers });
    cursor = String(body['cursor']);
    assert.ok(Array.isArray(body['entries']) && typeof body['keys'] === 'string');
    return body['entries'];
  };
  await read();
  await read();
  const waiting = revokeAndWait(place, '?wait=10');
  let done = false;
  void waiting.finally(() => (done = true));
  const ids: unknown[] = [];
  // oxlint-disable-next-line no-unmodified-loop-condition -- it is, when the answer comes
  while (!done) ids.push(...(await read()).map((entry) => Object(entry)['id']));
  const { answer, token } = await waiting;
  assert.equal(answer.header('hallpass-guards'), 'confirmed=1, connected=1');
  assert.ok(ids.includes(claimOf(token, 'jti')), 'it has confirmed only what it had');
});

test('waits beyond the limit of one key are answered at once', async (t) => {
  const place = await open();
  await follow(t, place, { at: 1, deaf: true });
  const waits = Array.from({ length: WAITS_PER_CLIENT_MAX + 3 }, () => revokeAndWait(place, '?wait=5'));
  const times = (await Promise.all(waits)).map(({ answer, elapsedMs }) => {
    assert.equal(answer.status, 200);
    return elapsedMs;
  });
  assert.equal(times.filter((elapsedMs) => elapsedMs >= 4_990).length, WAITS_PER_CLIENT_MAX);
  const metrics = await place.hallpass.metrics();
  assert.match(metrics, /^hallpass_bounds_reached_total\{bound="WAITS_PER_CLIENT_MAX"\} 3$/m);
});

test('the metrics say how many are connected, and how long revocations waited', async (t) => {
  const place = await open();
  await follow(t, place, { at: 1 });
  await revokeAndWait(place, '?wait=10');
  const text = await place.hallpass.metrics();
  assert.match(text, /^hallpass_feed_streams 1$/m);
  assert.match(text, /^hallpass_feed_pages_total [1-9]/m);
  assert.match(text, /^hallpass_revoke_wait_seconds_count\{confirmed="all"\} 1$/m);
});
