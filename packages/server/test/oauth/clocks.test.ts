/** Clocks that lie (contract §10): nothing that was acknowledged is forgotten, left out or missed because one was set. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sentenceOf } from '../../src/cli/refusal_sentences.ts';
import { OperatorRefusal } from '../../src/operator/operator_refusal.ts';
import { forgetExpired } from '../../src/serving/forget_expired.ts';
import { manageApiKeys } from '../../src/operator/api_keys.ts';
import {
  basicOf,
  claimOf,
  decode,
  START,
  startHallpass,
  TestClock,
  tokensOf,
  until,
  type Hallpass,
  type Key,
} from '../../../../testing/server/server.ts';
import { makeFolder, serve } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';

const ISSUER = 'http://127.0.0.1:8080';
const HOUR_MS = 3_600_000;
const DAY_SECONDS = 86_400;

const clockAt = (milliseconds: number): TestClock => {
  const clock = new TestClock();
  clock.set(milliseconds);
  return clock;
};
/** A server on the store of another one, with a clock of its own. */
const beside = (other: Hallpass, clock: TestClock): Promise<Hallpass> =>
  startHallpass({ folder: other.folder, clock, environment: { HALLPASS_ISSUER: ISSUER } });
const start = (): Promise<Hallpass> => startHallpass({ environment: { HALLPASS_ISSUER: ISSUER } });
const makeApi = (at: Hallpass): Promise<Key> => at.makeReader();

interface Entry {
  readonly kind: string;
  readonly id: string;
  readonly before?: number;
  readonly expires_at: number;
}

/** What a guard gets that begins now. */
async function readFeed(at: Hallpass, api: Key): Promise<readonly Entry[]> {
  const answer = await at.readFeed(api);
  assert.equal(answer.status, 200, answer.text);
  const { entries }: { readonly entries: readonly Entry[] } = JSON.parse(answer.text);
  return entries;
}

test('a minute with a clock 31 days ahead forgets no revocation and no retired generation', async () => {
  const first = await start();
  const [key, api] = [await first.makeKey(), await makeApi(first)];
  const ended = await first.issue(key);
  await first.revoke(key, ended.refreshToken);
  const zeroth = await first.issue(key);
  const next = tokensOf(await first.refresh(key, zeroth.refreshToken));
  const newest = tokensOf(await first.refresh(key, next.refreshToken));
  const entries = await readFeed(first, api);
  await first.close();

  const wrong = await beside(first, clockAt(START + 31 * DAY_SECONDS * 1000));
  for (let minute = 0; minute < 2; minute++) {
    wrong.clock.advance(60);
    await forgetExpired(wrong.instance);
  }
  assert.deepEqual(await readFeed(wrong, api), entries, 'nor is any left out of the feed');
  await wrong.close();

  const right = await beside(first, clockAt(START + 180_000));
  assert.deepEqual(await readFeed(right, api), entries);
  assert.equal((await right.refresh(key, ended.refreshToken)).outcome, '400 invalid_grant');
  assert.equal(await right.isActive(key, ended.accessToken), false);
  // Far older than the predecessor: a thief's. That it was retired is still known, and so the family ends.
  assert.equal((await right.refresh(key, zeroth.refreshToken)).outcome, '400 invalid_grant');
  assert.equal((await right.refresh(key, newest.refreshToken)).outcome, '400 invalid_grant');
});

test('expired rows are forgotten as time really passes, across restarts too', async () => {
  const first = await start();
  const [key, api] = [await first.makeKey(), await makeApi(first)];
  await first.revoke(key, (await first.issue(key)).accessToken);
  first.clock.advance(500);
  await forgetExpired(first.instance);
  assert.equal((await readFeed(first, api)).length, 1);
  await first.close();
  const second = await beside(first, clockAt(START + 500_000));
  second.clock.advance(500);
  await forgetExpired(second.instance);
  assert.equal((await readFeed(second, api)).length, 0);
});

test('after a long stop the feed keeps what guards need, and nothing else', async () => {
  const first = await start();
  const [key, api] = [await first.makeKey(), await makeApi(first)];
  await first.close();
  const later = await beside(first, clockAt(START + 10 * DAY_SECONDS * 1000));
  const { accessToken, refreshToken } = await later.issue(key);
  await later.revoke(key, accessToken);
  await later.revoke(key, refreshToken);
  const kindsAfter = async (seconds: number): Promise<readonly string[]> => {
    later.clock.advance(seconds);
    await forgetExpired(later.instance);
    return (await readFeed(later, api)).map(({ kind }) => kind);
  };
  assert.deepEqual(await kindsAfter(0), ['token', 'grant']);
  // A token may live for an hour, and a guard allows a minute. How long the stop was, nobody knows for sure.
  assert.deepEqual(await kindsAfter(3_659), ['token', 'grant']);
  assert.deepEqual(await kindsAfter(3), []);
});

test('a store that was new while the clock was ahead trusts the right clock once it has run evenly', async () => {
  const wrong = await startHallpass({
    clock: clockAt(START + 31 * DAY_SECONDS * 1000),
    environment: { HALLPASS_ISSUER: ISSUER },
  });
  const [key, api] = [await wrong.makeKey(), await makeApi(wrong)];
  await wrong.close();
  const right = await beside(wrong, clockAt(START));
  for (let tick = 0; tick < 40; tick++) {
    right.clock.advance(10);
    await right.instance.time.keep();
  }
  await right.revoke(key, (await right.issue(key)).refreshToken);
  await right.close();
  const wrongAgain = await beside(wrong, clockAt(START + 31 * DAY_SECONDS * 1000));
  await forgetExpired(wrongAgain.instance);
  assert.equal((await readFeed(wrongAgain, api)).length, 1);
});

test('an instance whose clock is two hours ahead leaves nothing out of the feed, and treats no live token as expired', async () => {
  const right = await start();
  const [key, api] = [await right.makeKey(), await makeApi(right)];
  const [revoked, living] = [await right.issue(key), await right.issue(key)];
  await right.revoke(key, revoked.accessToken);
  const ahead = await beside(right, clockAt(right.clock.now() + 2 * HOUR_MS));
  assert.equal((await readFeed(ahead, api)).length, 1);
  // Acknowledged, and so in the feed: to say yes and do nothing would leave it alive for every guard.
  assert.equal((await ahead.revoke(key, living.accessToken)).status, 200);
  assert.deepEqual(
    (await readFeed(right, api)).map(({ id }) => id),
    [claimOf(revoked.accessToken, 'jti'), claimOf(living.accessToken, 'jti')],
  );
});

test('a token that has expired by every clock is still nothing to revoke', async () => {
  const hallpass = await start();
  const [key, api] = [await hallpass.makeKey(), await makeApi(hallpass)];
  const { accessToken } = await hallpass.issue(key);
  hallpass.clock.advance(901);
  await hallpass.instance.time.keep();
  assert.equal((await hallpass.revoke(key, accessToken)).status, 200);
  assert.deepEqual(await readFeed(hallpass, api), []);
});

test('a clock that was set back does not shorten what is kept of a revoked grant', async () => {
  const hallpass = await start();
  const [key, api] = [await hallpass.makeKey(), await makeApi(hallpass)];
  const { accessToken, refreshToken } = await hallpass.issue(key);
  const { exp } = decode(accessToken).claims;
  hallpass.clock.set(hallpass.clock.now() - 2 * HOUR_MS);
  assert.equal((await hallpass.revoke(key, refreshToken)).status, 200);
  const [entry] = await readFeed(hallpass, api);
  assert.ok(entry !== undefined && typeof exp === 'number' && entry.expires_at > exp);
});

test('on a database, an instance whose clock jumps keeps to the time it had', async () => {
  const database = new TestClock();
  const clock = new TestClock();
  const hallpass = await startHallpass({ clock, databaseClock: database.now });
  const key = await hallpass.makeKey();
  const iatOf = (token: string): unknown => decode(token).claims['iat'];
  const jump = 2 * HOUR_MS;
  clock.set(clock.now() + jump);
  assert.equal(iatOf((await hallpass.issue(key)).accessToken), database.seconds);
  // A machine that slept: the database's clock says so too.
  database.set(clock.now());
  await hallpass.instance.time.keep();
  assert.equal(iatOf((await hallpass.issue(key)).accessToken), clock.seconds);
  // A failover to a database whose clock is wrong moves nobody.
  database.set(database.now() + jump);
  await hallpass.instance.time.keep();
  assert.equal(iatOf((await hallpass.issue(key)).accessToken), clock.seconds);
});

test("an instance that starts two hours ahead of the database goes by the database's clock", async () => {
  const database = new TestClock();
  const hallpass = await startHallpass({ clock: clockAt(START + 2 * HOUR_MS), databaseClock: database.now });
  const { accessToken } = await hallpass.issue(await hallpass.makeKey());
  assert.equal(decode(accessToken).claims['iat'], database.seconds);
});

for (const [where, hours, how] of [
  ['ahead of', 24, /clock is 86400 s ahead of the database's.*stop all issuing.*--clock store or --clock machine/],
  ['behind', -1, /clock is 3600 s behind the database's.*miss the tokens/],
] as const) {
  test(`on a clock ${where} the database's nothing is ended until somebody says which one to go by`, async () => {
    const database = new TestClock();
    const hallpass = await startHallpass({ databaseClock: database.now });
    const [key, api] = [await hallpass.makeKey(), await makeApi(hallpass)];
    const { accessToken } = await hallpass.issue(key);
    hallpass.clock.set(hallpass.clock.now() + hours * HOUR_MS);
    const { clientId } = key;
    for (const end of [
      () => hallpass.keys.disable(clientId),
      () => hallpass.keys.delete(clientId),
      () => hallpass.keys.revokeTokens(clientId),
    ]) {
      await assert.rejects(end, (error) => error instanceof OperatorRefusal && how.test(sentenceOf(error)));
    }
    assert.deepEqual(await readFeed(hallpass, api), []);
    assert.equal((await hallpass.keys.show(clientId)).disabled, false);
    await hallpass.keys.revokeTokens(clientId, 'store');
    const [entry] = await readFeed(hallpass, api);
    const iat = Number(decode(accessToken).claims['iat']);
    assert.ok(
      entry?.before !== undefined && entry.before > iat && entry.before <= iat + 2,
      'a second later, not a day',
    );
  });
}

test('on a machine that is a day ahead of the time in the store, the commands end nothing until told which clock to go by', async () => {
  // A server that has kept the time of yesterday, and commands that go by today's.
  const yesterday = clockAt(Date.now() - DAY_SECONDS * 1000);
  const hallpass = await startHallpass({ clock: yesterday, environment: { HALLPASS_ISSUER: ISSUER } });
  const [key, api] = [await hallpass.makeKey(), await makeApi(hallpass)];
  const on = { HALLPASS_DATA_DIR: hallpass.folder, HALLPASS_ISSUER: ISSUER };
  const { keyId } = hallpass.instance.keys.signing;
  for (const words of [
    ['revoke-everything', '--yes'],
    ['keys', 'disable', key.clientId],
    ['keys', 'delete', key.clientId, '--yes'],
    ['keys', 'revoke-tokens', key.clientId],
    ['signing-keys', 'remove', keyId, '--yes'],
  ]) {
    const { code, stderr } = await runCommand(words, on);
    assert.equal(code, 1, words.join(' '));
    assert.match(stderr, /ahead of the time that a server last kept.*Nothing was changed.*--clock machine/s);
  }
  assert.deepEqual(await readFeed(hallpass, api), []);
  assert.equal((await hallpass.instance.store.loadKeys()).filter(({ use }) => use === 'sign').length, 1);
  await hallpass.issue(key);
  const done = await runCommand(['revoke-everything', '--clock', 'machine', '--yes', '--json'], on);
  assert.equal(done.code, 0, done.stderr);
  assert.equal((await readFeed(hallpass, api)).length, 1);
});

test('a command after a server that ran 31 days ahead does not date by that server: it would stop all issuing', async () => {
  const ahead = clockAt(Date.now() + 31 * DAY_SECONDS * 1000);
  const hallpass = await startHallpass({ clock: ahead, environment: { HALLPASS_ISSUER: ISSUER } });
  await hallpass.close();
  const on = { HALLPASS_DATA_DIR: hallpass.folder, HALLPASS_ISSUER: ISSUER };
  const { code, stderr } = await runCommand(['revoke-everything', '--yes'], on);
  assert.equal(code, 1);
  assert.match(stderr, /behind the time that a server last kept.*miss the tokens.*Nothing was changed/s);
});

test('a revocation that was dated while the clock was right is not refused a minute later', async () => {
  const hallpass = await startHallpass({
    clock: clockAt(Date.now() - 30_000),
    environment: { HALLPASS_ISSUER: ISSUER },
  });
  const { clientId } = await hallpass.makeKey();
  const on = { HALLPASS_DATA_DIR: hallpass.folder, HALLPASS_ISSUER: ISSUER };
  assert.equal((await runCommand(['keys', 'disable', clientId], on)).code, 0);
});

// A commit that takes its time (contract §10: until the acknowledgement)

for (const [what, end] of [
  ['disabled', (keys, { clientId }) => keys.disable(clientId)],
  ['deleted', (keys, { clientId }) => keys.delete(clientId)],
  ['told to revoke its tokens', (keys, { clientId }) => keys.revokeTokens(clientId)],
] as const satisfies readonly (readonly [
  string,
  (keys: ReturnType<typeof manageApiKeys>, key: Key) => Promise<unknown>,
])[]) {
  for (const stalls of [1, 3]) {
    test(`every token that a key got while ${stalls} commit(s) took 3 s is dead when it has been ${what}`, async () => {
      const hallpass = await start();
      const [key, api] = [await hallpass.makeKey(), await makeApi(hallpass)];
      const issued: string[] = [];
      let left = stalls;
      /** The commit is made after three seconds in which the key goes on asking. */
      const slowly = async <Result>(commit: () => Promise<Result>): Promise<Result> => {
        if (left-- <= 0) return await commit();
        for (let second = 0; second < 3; second++) {
          const answer = await hallpass.ask(key);
          if (answer.status === 200) issued.push(tokensOf(answer).accessToken);
          hallpass.clock.advance(1);
        }
        return await commit();
      };
      const { store } = hallpass.instance;
      const stalled = {
        ...store,
        saveClient: (...given: Parameters<typeof store.saveClient>) => slowly(() => store.saveClient(...given)),
        deleteClient: (...given: Parameters<typeof store.deleteClient>) => slowly(() => store.deleteClient(...given)),
        revoke: (...given: Parameters<typeof store.revoke>) => slowly(() => store.revoke(...given)),
      };
      await end(manageApiKeys({ ...hallpass.instance, store: stalled }), key);
      assert.ok(issued.length >= 3);
      const entry = (await readFeed(hallpass, api)).find(({ id }) => id === key.clientId);
      for (const token of issued) {
        const iat = Number(decode(token).claims['iat']);
        assert.ok(entry?.before !== undefined && iat < entry.before, 'a guard refuses it');
        assert.equal(await hallpass.isActive(api, token), false, 'and so does introspection');
      }
    });
  }
}

test('where tokens are ended by a time ahead of this clock, the command and the log say why there are no tokens', async (t) => {
  const folder = makeFolder(t);
  const anHourAhead = await startHallpass({
    folder,
    clock: clockAt(Date.now() + HOUR_MS),
    environment: { HALLPASS_ISSUER: ISSUER },
  });
  const key = await anHourAhead.makeKey();
  await anHourAhead.close();
  const settings = { HALLPASS_ISSUER: ISSUER, HALLPASS_DATA_DIR: folder };
  const ended = await runCommand(['keys', 'revoke-tokens', key.clientId, '--clock', 'store'], settings);
  assert.equal(ended.code, 0, ended.stderr);
  assert.match(
    ended.stderr,
    /warning: This ends tokens up to .* ahead of this machine's clock.*answers 503 until then/,
  );
  const at = await serve(t, { ...settings, HALLPASS_LOG_LEVEL: 'info' });
  const answer = await fetch(`${at.url}/oauth2/token`, {
    method: 'POST',
    headers: { authorization: basicOf(key) },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: '/accounts.write' }),
  });
  assert.equal(answer.status, 503);
  const why =
    /"because":"all tokens of this key were revoked up to [^"]* s ahead of this machine's clock: set the clock right/;
  await until(() => why.test(at.stderr()));
});
