import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { FEED_STREAMS_PER_CLIENT_MAX } from '../../src/oauth/followers/streams.ts';
import {
  basicOf,
  claimOf,
  startHallpass,
  until,
  within,
  type Hallpass,
  type Key,
} from '../../../../testing/server/server.ts';

const FEED = '/oauth2/revocations';
const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const reader = await hallpass.makeReader();

interface Message {
  readonly event: string;
  readonly id: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** An open event stream, read as its messages. */
class Stream {
  readonly #messages: AsyncGenerator<Message>;
  readonly response: Response;
  readonly #abort: AbortController;

  static async open(
    t: TestContext,
    {
      lastEventId,
      by = reader,
      from = hallpass,
      authorization = basicOf(by),
    }: { lastEventId?: string; by?: Key; from?: Hallpass; authorization?: string } = {},
  ): Promise<Stream> {
    const abort = new AbortController();
    t.after(() => abort.abort());
    const headers = { authorization, ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }) };
    return new Stream(await fetch(from.url + FEED, { headers, signal: abort.signal }), abort);
  }

  constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
    this.#messages = readMessages(response);
  }

  async next(): Promise<Message | undefined> {
    const timeout = AbortSignal.timeout(4_000);
    const late = new Promise<never>((_, reject) => {
      timeout.addEventListener('abort', () => reject(new Error('the stream said nothing for 4 s')), { once: true });
    });
    const { value, done } = await Promise.race([this.#messages.next(), late]);
    return done === true ? undefined : value;
  }

  /** The revocations up to the next heartbeat. */
  async untilHeartbeat(): Promise<readonly Message[]> {
    const all: Message[] = [];
    for (;;) {
      const message = await this.next();
      assert.ok(message !== undefined, 'the stream goes on');
      if (message.event === 'heartbeat') return all;
      assert.equal(message.event, 'revocation');
      all.push(message);
    }
  }

  close(): void {
    this.#abort.abort();
  }
}

async function* readMessages({ body }: Response): AsyncGenerator<Message> {
  assert.ok(body !== null);
  let text = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = new Map(
        text
          .slice(0, end)
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
      );
      text = text.slice(end + 2);
      const data: unknown = JSON.parse(fields.get('data') ?? '');
      assert.ok(typeof data === 'object' && data !== null);
      yield {
        event: fields.get('event') ?? '',
        id: fields.get('id') ?? '',
        data: Object.fromEntries(Object.entries(data)),
      };
    }
  }
}

interface Page {
  readonly entries: readonly Readonly<Record<string, unknown>>[];
  readonly cursor: string;
  readonly more: boolean;
}

async function readPage(after: string, from = hallpass, by = reader): Promise<Page> {
  const answer = await from.request(`${FEED}?after=${encodeURIComponent(after)}`, {
    headers: { authorization: basicOf(by) },
  });
  assert.equal(answer.status, 200, answer.text);
  assert.match(answer.header('content-type') ?? '', /^application\/json/);
  assert.match(answer.header('cache-control') ?? '', /no-store/);
  const { entries, cursor, more } = answer.body;
  assert.ok(Array.isArray(entries) && typeof cursor === 'string' && typeof more === 'boolean');
  return { entries: entries.map((entry: unknown) => Object.fromEntries(Object.entries(Object(entry)))), cursor, more };
}

async function revokeOne(): Promise<string> {
  const { accessToken } = await hallpass.issue(key);
  await hallpass.revoke(key, accessToken);
  return claimOf(accessToken, 'jti');
}

const idsOf = (messages: readonly Message[]): readonly unknown[] => messages.map(({ data }) => data['id']);

test('a stream begins with everything that is alive, and then a heartbeat (contract §9)', async (t) => {
  const jtis = [await revokeOne(), await revokeOne()];
  const stream = await Stream.open(t);
  assert.equal(stream.response.status, 200);
  assert.match(stream.response.headers.get('content-type') ?? '', /^text\/event-stream/);
  assert.match(stream.response.headers.get('cache-control') ?? '', /no-store/);
  const backlog = await stream.untilHeartbeat();
  assert.deepEqual(idsOf(backlog).slice(-2), jtis);
  for (const { id, data } of backlog) assert.equal(id, data['cursor'], 'the id is the cursor');
});

test('a revocation is in an open stream within a second of its answer (contract §9)', async (t) => {
  const stream = await Stream.open(t);
  await stream.untilHeartbeat();
  const jti = await revokeOne();
  const answered = performance.now();
  for (;;) {
    const message = await stream.next();
    if (message?.data['id'] === jti) break;
  }
  assert.ok(performance.now() - answered < 1_000);
});

test('an entry is exactly cursor, kind, id, expires_at, and before where a client is meant (contract §9)', async () => {
  const end = (await readPage('')).cursor;
  const client = await hallpass.makeKey();
  const { accessToken, refreshToken } = await hallpass.issue(client);
  await hallpass.revoke(client, accessToken);
  await hallpass.revoke(client, refreshToken);
  await hallpass.keys.disable(client.clientId);
  const { entries } = await readPage(end);
  assert.deepEqual(
    entries.map(({ kind, id }) => [kind, id]),
    [
      ['token', claimOf(accessToken, 'jti')],
      ['grant', claimOf(accessToken, 'grant_id')],
      ['client', client.clientId],
    ],
  );
  const members = ['cursor', 'expires_at', 'id', 'kind'];
  assert.deepEqual(
    entries.map((entry) => Object.keys(entry).toSorted()),
    [members, members, ['before', ...members]],
  );
  const now = hallpass.clock.seconds;
  assert.ok(Number(entries[2]?.['before']) > now, 'tokens of this very second are dead');
  for (const { expires_at } of entries)
    assert.ok(Number(expires_at) >= now + 900, 'stays as long as the tokens could live');
});

test('the feed never says a token, nor a secret', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  await hallpass.revoke(key, accessToken);
  await hallpass.revoke(key, refreshToken);
  const text = JSON.stringify(await readPage(''));
  for (const secret of [accessToken, refreshToken, key.clientSecret]) assert.ok(!text.includes(secret));
});

test('a quiet stream says at least every 5 s that it is up to date, and from where to go on', async (t) => {
  const stream = await Stream.open(t);
  await stream.untilHeartbeat();
  const message = await stream.next();
  assert.equal(message?.event, 'heartbeat');
  assert.equal(message?.id, message?.data['cursor']);
  assert.equal(message?.id, (await readPage('')).cursor);
});

test('Last-Event-ID goes on without a gap and without a repeat, from an entry and from a heartbeat', async (t) => {
  const first = await Stream.open(t);
  const backlog = await first.untilHeartbeat();
  first.close();
  const missed = [await revokeOne(), await revokeOne(), await revokeOne()];
  const resumed = await Stream.open(t, { lastEventId: backlog.at(-1)?.id ?? '' });
  const heard = await resumed.untilHeartbeat();
  assert.deepEqual(idsOf(heard), missed);
  resumed.close();
  const middle = await Stream.open(t, { lastEventId: heard[0]?.id ?? '' });
  assert.deepEqual(idsOf(await middle.untilHeartbeat()), missed.slice(1));
  const { cursor } = await readPage('');
  const last = await revokeOne();
  const atHeartbeat = await Stream.open(t, { lastEventId: cursor });
  assert.deepEqual(idsOf(await atHeartbeat.untilHeartbeat()), [last]);
});

test('a page by ?after= has the same entries, and ends where to ask next', async () => {
  const start = await readPage('');
  const jtis = [await revokeOne(), await revokeOne()];
  const page = await readPage(start.cursor);
  assert.deepEqual(
    page.entries.map(({ id }) => id),
    jtis,
  );
  assert.equal(page.more, false);
  assert.deepEqual(await readPage(page.cursor), { entries: [], cursor: page.cursor, more: false });
  assert.deepEqual(
    (await readPage(String(page.entries[0]?.['cursor']))).entries.map(({ id }) => id),
    jtis.slice(1),
  );
});

for (const cursor of ['nonsense', '0', '__proto__', 'ffffffffffff-3', 'x'.repeat(1000), '\u0000', 'é', '-1']) {
  test(`an unknown cursor gets everything, never a gap: ${JSON.stringify(cursor.slice(0, 20))} (contract §9)`, async () => {
    await revokeOne();
    const everything = await readPage('');
    assert.ok(everything.entries.length > 0);
    assert.deepEqual(await readPage(cursor), everything);
  });
}

test('a cursor ahead of the end, as after a restored backup, gets everything', async () => {
  const { cursor, entries } = await readPage('');
  const ahead = cursor.replace(/-[0-9]+-/, (end) => `-${Number(end.slice(1, -1)) + 5}-`);
  assert.notEqual(ahead, cursor);
  assert.deepEqual((await readPage(ahead)).entries, entries);
});

test('a stream with an unknown Last-Event-ID gets everything', async (t) => {
  await revokeOne();
  const { entries } = await readPage('');
  const stream = await Stream.open(t, { lastEventId: 'nonsense' });
  assert.equal((await stream.untilHeartbeat()).length, entries.length);
});

test('more than a page of entries is read in several, each once, in order (contract §9)', async (t) => {
  const many = await startHallpass();
  const by = await many.makeReader();
  const expires_at = many.clock.seconds + 3_600;
  const wanted = Array.from({ length: 2_500 }, (_, at) => `id-${at}`);
  await many.instance.store.revoke(
    wanted.map((id) => ({ kind: 'token' as const, id, expires_at, keepUntil: expires_at })),
  );
  const read: unknown[] = [];
  for (let cursor = '', more = true; more;) {
    const page: Page = await readPage(cursor, many, by);
    read.push(...page.entries.map(({ id }) => id));
    ({ cursor, more } = page);
  }
  assert.deepEqual(read, wanted);
  const stream = await Stream.open(t, { by, from: many });
  assert.deepEqual(idsOf(await stream.untilHeartbeat()), wanted);
  stream.close();
});

test('what can concern no living token any more is left out', async () => {
  const quick = await startHallpass();
  const by = await quick.makeKey();
  const readBy = await quick.makeReader();
  const { accessToken } = await quick.issue(by);
  await quick.revoke(by, accessToken);
  assert.equal((await readPage('', quick, readBy)).entries.length, 1);
  quick.clock.advance(900);
  assert.equal((await readPage('', quick, readBy)).entries.length, 1, 'still within the leeway of a clock');
  quick.clock.advance(61);
  await quick.instance.time.keep();
  assert.equal((await readPage('', quick, readBy)).entries.length, 0);
});

// Who may read it
test("the feed is for a resource server's key, or a token of one with the scope (contract §9, §10)", async () => {
  const ask = (authorization?: string): ReturnType<typeof hallpass.request> =>
    hallpass.request(`${FEED}?after=`, { headers: authorization === undefined ? {} : { authorization } });
  assert.equal((await ask(basicOf(reader))).status, 200);
  assert.equal((await ask(basicOf(key))).outcome, '403 insufficient_scope');
  assert.equal((await ask(basicOf({ ...reader, clientSecret: 'wrong' }))).outcome, '401 invalid_client');
  const none = await ask();
  assert.equal(none.status, 401);
  assert.doesNotMatch(
    none.header('www-authenticate') ?? '',
    /error=/,
    'no error code without credentials (RFC 6750 §3.1)',
  );

  // A partner's key that holds the scope, by its text, is still a partner's key.
  const plain = await hallpass.makeKey({ scopes: ['/oauth2/revocations.read'] });
  assert.equal((await ask(basicOf(plain))).outcome, '403 insufficient_scope');
  const plainToken = await hallpass.issue(plain, '/oauth2/revocations.read');
  const refused = await ask(`Bearer ${plainToken.accessToken}`);
  assert.equal(refused.outcome, '403 insufficient_scope');
  assert.match(refused.header('www-authenticate') ?? '', /^Bearer .*error="insufficient_scope"/);
  assert.match(String(refused.body['error_description']), /--resource-server/);

  const scoped = await hallpass.makeKey({
    scopes: ['/oauth2/revocations.read', '/ping.read'],
    resourceServerFor: ['https://api.example.com'],
  });
  assert.equal((await ask(basicOf(scoped))).status, 200);
  const { accessToken } = await hallpass.issue(scoped, '/oauth2/revocations.read');
  assert.equal((await ask(`Bearer ${accessToken}`)).status, 200);
  const without = await hallpass.issue(scoped, '/ping.read');
  assert.equal((await ask(`Bearer ${without.accessToken}`)).outcome, '403 insufficient_scope');
  assert.equal((await ask('Bearer nonsense')).outcome, '401 invalid_token');
  await hallpass.revoke(scoped, accessToken);
  assert.equal((await ask(`Bearer ${accessToken}`)).outcome, '401 invalid_token');
});

test("a disabled key's open stream ends (contract §9)", async (t) => {
  const leaving = await hallpass.makeReader();
  const stream = await Stream.open(t, { by: leaving });
  await stream.untilHeartbeat();
  await hallpass.keys.disable(leaving.clientId);
  while ((await stream.next()) !== undefined);
});

test('a stream ends when its key stops being a resource server, opened with the key or with a token of it', async (t) => {
  const leaving = await hallpass.makeKey({
    scopes: ['/oauth2/revocations.read'],
    resourceServerFor: [hallpass.issuer],
  });
  const { accessToken } = await hallpass.issue(leaving, '/oauth2/revocations.read');
  const byKey = await Stream.open(t, { by: leaving });
  const byToken = await Stream.open(t, { authorization: `Bearer ${accessToken}` });
  const other = await Stream.open(t);
  for (const stream of [byKey, byToken, other]) await stream.untilHeartbeat();
  await hallpass.keys.update(leaving.clientId, { resourceServerFor: [] });
  while ((await byKey.next()) !== undefined);
  while ((await byToken.next()) !== undefined);
  assert.ok((await other.next()) !== undefined);
});

test("a stream opened with a token ends when that token is revoked, and another key's goes on", async (t) => {
  const scoped = await hallpass.makeKey({
    scopes: ['/oauth2/revocations.read'],
    resourceServerFor: [hallpass.issuer],
  });
  const { accessToken } = await hallpass.issue(scoped, '/oauth2/revocations.read');
  const ending = await Stream.open(t, { authorization: `Bearer ${accessToken}` });
  const other = await Stream.open(t);
  await ending.untilHeartbeat();
  await other.untilHeartbeat();
  await hallpass.revoke(scoped, accessToken);
  while ((await ending.next()) !== undefined);
  assert.ok((await other.next()) !== undefined);
});

test('a key has so many streams at once and no more, and each that ends makes room (contract §10)', async (t) => {
  const full = await startHallpass();
  const by = await full.makeReader();
  const other = await full.makeReader();
  const { hostname, port } = new URL(full.url);
  const open = (as: Key): Promise<{ readonly head: string; readonly socket: Socket }> =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname);
      t.after(() => socket.destroy());
      socket.once('data', (chunk: Buffer) =>
        resolve({ head: chunk.toString('latin1').split('\r\n\r\n', 1)[0] ?? '', socket }),
      );
      socket.once('error', reject);
      socket.write(`GET ${FEED} HTTP/1.1\r\nHost: x\r\nAuthorization: ${basicOf(as)}\r\n\r\n`);
    });
  const first = await open(by);
  for (let count = 1; count < FEED_STREAMS_PER_CLIENT_MAX; count += 111) {
    const streams = await Promise.all(Array.from({ length: 111 }, () => open(by)));
    for (const { head } of streams) assert.match(head, /^HTTP\/1\.1 200 /);
  }
  const refused = await open(by);
  assert.match(refused.head, /^HTTP\/1\.1 429 /);
  assert.match(refused.head, /\r\nretry-after: [1-9]/i);
  assert.match((await open(other)).head, /^HTTP\/1\.1 200 /, 'another key does not notice');
  const page = await readPage('', full, by);
  assert.equal(page.more, false, 'pages go on');
  const metrics = await full.metrics();
  assert.match(metrics, /^hallpass_bounds_reached_total\{bound="FEED_STREAMS_PER_CLIENT_MAX"\} 1$/m);
  first.socket.destroy();
  await until(async () => (await open(by)).head.startsWith('HTTP/1.1 200 '));
  assert.match((await open(by)).head, /^HTTP\/1\.1 429 /);
});

test('an open stream ends when the server closes, and holds nothing up', async (t) => {
  const closing = await startHallpass();
  const by = await closing.makeReader();
  const stream = await Stream.open(t, { by, from: closing });
  await stream.untilHeartbeat();
  const ended = (async () => {
    while ((await stream.next()) !== undefined);
  })();
  const closed = closing.close();
  const inTime = await within(20_000, closed);
  // Let go from this side, so that a server that waits for its readers does not hold the test up as well.
  await ended;
  stream.close();
  await closed;
  assert.ok(inTime, 'the server waited for a reader to go away');
});

test('HEAD on the feed is answered and does not stay open (RFC 9110 §9.3.2)', async () => {
  const head = `HEAD ${FEED} HTTP/1.1\r\nHost: x\r\nAuthorization: ${basicOf(reader)}\r\nConnection: close\r\n\r\n`;
  assert.match(await hallpass.raw(head), /^HTTP\/1\.1 200 /);
});
