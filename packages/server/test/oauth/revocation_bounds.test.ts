/** How many revocations one key may add (contract §10): each stays in every guard for up to an hour. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countAlone } from '../../src/oauth/limits/counts.ts';
import { RevocationLimit } from '../../src/oauth/limits/revocation_limit.ts';
import {
  makeFamily,
  START,
  startHallpass,
  type Answer,
  type Hallpass,
  type Key,
} from '../../../../testing/server/server.ts';

const HOUR_SECONDS = 3_600;
const LIMIT = 3;
const open = (perHour = LIMIT): Promise<Hallpass> =>
  startHallpass({ environment: { HALLPASS_KEY_REVOCATIONS_PER_HOUR: String(perHour) } });

async function revokeNew(hallpass: Hallpass, key: Key): Promise<Answer> {
  const { accessToken } = await hallpass.issue(key);
  return await hallpass.revoke(key, accessToken);
}

async function outcomesOf(hallpass: Hallpass, key: Key, count: number): Promise<readonly string[]> {
  const outcomes: string[] = [];
  for (let at = 0; at < count; at++) outcomes.push((await revokeNew(hallpass, key)).outcome);
  return outcomes;
}

const LIMITED = '429 rate_limited';
const upToLimit = Array.from({ length: LIMIT }, () => '200');

async function kindsOf(hallpass: Hallpass): Promise<readonly string[]> {
  return (await hallpass.instance.store.listEvents({ limit: 100 })).map(({ kind }) => kind);
}

test('a key adds so many revocations in an hour and no more; another key, and the operator, go on', async () => {
  const hallpass = await open();
  const [key, other] = [await hallpass.makeKey(), await hallpass.makeKey()];
  assert.deepEqual(await outcomesOf(hallpass, key, LIMIT + 1), [...upToLimit, LIMITED]);
  const { accessToken, refreshToken } = await hallpass.issue(key);
  for (const token of [accessToken, refreshToken]) {
    const refused = await hallpass.revoke(key, token);
    assert.equal(refused.outcome, LIMITED);
    const seconds = Number(refused.header('retry-after'));
    assert.equal(seconds, HOUR_SECONDS - (hallpass.clock.seconds % HOUR_SECONDS));
  }
  assert.equal(await hallpass.isActive(key, accessToken), true, 'what was refused is not revoked');
  assert.equal((await revokeNew(hallpass, other)).status, 200);
  await hallpass.keys.revokeTokens(key.clientId);
  assert.equal(await hallpass.isActive(key, accessToken), false);

  const bounded = (await kindsOf(hallpass)).filter((kind) => kind === 'key_revocation_limit_reached');
  assert.equal(bounded.length, 1, 'recorded once');
  const metrics = await hallpass.metrics();
  assert.match(metrics, /^hallpass_bounds_reached_total\{bound="KEY_REVOCATIONS_PER_HOUR"\} 3$/m);
});

test('the next hour has its own, and its own record', async () => {
  const hallpass = await open();
  const key = await hallpass.makeKey();
  await outcomesOf(hallpass, key, LIMIT + 1);
  hallpass.clock.advance(HOUR_SECONDS - (hallpass.clock.seconds % HOUR_SECONDS) - 1);
  assert.equal((await revokeNew(hallpass, key)).outcome, LIMITED);
  hallpass.clock.advance(1);
  assert.deepEqual(await outcomesOf(hallpass, key, LIMIT + 1), [...upToLimit, LIMITED]);
  const bounded = (await kindsOf(hallpass)).filter((kind) => kind === 'key_revocation_limit_reached');
  assert.equal(bounded.length, 2);
});

test('what adds nothing costs nothing: tokens that are revoked already, expired, unknown, or refused', async () => {
  const hallpass = await open();
  const [key, other] = [await hallpass.makeKey(), await hallpass.makeKey()];
  const { accessToken, refreshToken } = await hallpass.issue(key);
  const expired = await hallpass.issue(key);
  hallpass.clock.advance(901);
  const theirs = await hallpass.issue(other);
  assert.equal((await hallpass.revoke(key, refreshToken)).status, 200);
  for (let count = 0; count < 5; count++) {
    for (const token of [refreshToken, accessToken, expired.accessToken, 'nonsense']) {
      assert.equal((await hallpass.revoke(key, token)).status, 200);
    }
    assert.equal((await hallpass.revoke(key, theirs.accessToken)).outcome, '400 invalid_request');
    const badWait = await hallpass.form('/oauth2/revoke?wait=x', { token: expired.refreshToken }, { key });
    assert.equal(badWait.outcome, '400 invalid_request');
  }
  assert.deepEqual(await outcomesOf(hallpass, key, LIMIT), [...upToLimit.slice(1), LIMITED]);
  // Beyond the bound it is still a success to revoke again: the answer to the first time may be lost.
  assert.equal((await hallpass.revoke(key, refreshToken)).status, 200);
});

test('with 0 there is no bound', async () => {
  const hallpass = await open(0);
  const key = await hallpass.makeKey();
  assert.deepEqual(new Set(await outcomesOf(hallpass, key, 3 * LIMIT)), new Set(['200']));
});

// Theft

/** A family whose first token is old enough for its reuse to be a theft. */
async function makeStolen(hallpass: Hallpass, key: Key): Promise<{ readonly stolen: string; readonly newest: string }> {
  const [{ refreshToken: stolen }, , { refreshToken: newest }] = await makeFamily({ at: hallpass, key }, 2);
  hallpass.clock.advance(11);
  return { stolen, newest };
}

async function feedOf(hallpass: Hallpass): Promise<readonly unknown[]> {
  const by = await hallpass.makeReader();
  const { body } = await hallpass.readFeed(by);
  assert.ok(Array.isArray(body['entries']));
  return body['entries'].map((entry) => Object(entry)['kind']);
}

test('a reused refresh token ends its family whatever its key has revoked (RFC 9700 §4.14.2)', async () => {
  const hallpass = await open();
  const key = await hallpass.makeKey();
  const { stolen, newest } = await makeStolen(hallpass, key);
  await outcomesOf(hallpass, key, LIMIT + 1);
  assert.equal((await hallpass.refresh(key, stolen)).outcome, '400 invalid_grant');
  assert.equal((await hallpass.refresh(key, newest)).outcome, '400 invalid_grant');
  assert.equal((await feedOf(hallpass)).at(-1), 'grant');
});

test('beyond the bound one entry for everything of the key stands for its families: theft is answered, guards are not filled', async () => {
  const hallpass = await open();
  const [key, other] = [await hallpass.makeKey(), await hallpass.makeKey()];
  const families = [];
  for (let count = 0; count < 2 * LIMIT; count++) families.push(await makeStolen(hallpass, key));
  const [mine, theirs] = [await hallpass.issue(key), await hallpass.issue(other)];
  for (const { stolen } of families) assert.equal((await hallpass.refresh(key, stolen)).outcome, '400 invalid_grant');
  for (const { newest } of families) assert.equal((await hallpass.refresh(key, newest)).outcome, '400 invalid_grant');
  assert.deepEqual(await feedOf(hallpass), ['grant', 'grant', 'grant', 'client']);
  assert.equal(await hallpass.isActive(key, mine.accessToken), false, 'the price');
  assert.equal(await hallpass.isActive(other, theirs.accessToken), true);
  const kinds = await kindsOf(hallpass);
  assert.equal(kinds.filter((kind) => kind === 'refresh_token_reused').length, LIMIT + 1, 'the rest was dead by then');
  assert.equal(kinds.filter((kind) => kind === 'key_reuse_limit_reached').length, 1);
  // What a thief has used up is not what the owner may revoke; and the key gets tokens again.
  assert.deepEqual(await outcomesOf(hallpass, key, LIMIT), upToLimit);
});

test('on a clock that was set forward the one entry stands for the families of that clock too', async () => {
  const hallpass = await open(1);
  const key = await hallpass.makeKey();
  await hallpass.refresh(key, (await makeStolen(hallpass, key)).stolen);
  hallpass.clock.set(hallpass.clock.now() + 2 * HOUR_SECONDS * 1000);
  await hallpass.instance.time.keep();
  const [first, second] = [await makeStolen(hallpass, key), await makeStolen(hallpass, key)];
  for (const { stolen } of [first, second])
    assert.equal((await hallpass.refresh(key, stolen)).outcome, '400 invalid_grant');
  assert.deepEqual((await feedOf(hallpass)).slice(-1), ['client']);
  for (const { newest } of [first, second])
    assert.equal((await hallpass.refresh(key, newest)).outcome, '400 invalid_grant');
  assert.equal((await hallpass.refresh(key, (await hallpass.issue(key)).refreshToken)).status, 200, 'the key goes on');
});

test('processes on one store count together, and one of them records that the bound was reached', async () => {
  const hallpass = await open();
  const count = countAlone();
  const { clock, instance } = hallpass;
  const reached: string[] = [];
  const make = (): RevocationLimit =>
    new RevocationLimit({
      perHour: LIMIT,
      store: instance.store,
      clock,
      count,
      boundReached: (bound) => reached.push(bound),
    });
  const [one, other] = [make(), make()];
  clock.set(START);
  const taken = await Promise.all(
    Array.from(
      { length: 10 },
      async (_, at) => (await (at % 2 === 0 ? one : other).takeRevocation('a-key')) === undefined,
    ),
  );
  assert.equal(taken.filter((was) => was).length, LIMIT);
  assert.equal(reached.length, 10 - LIMIT);
  assert.deepEqual(await kindsOf(hallpass).then((kinds) => kinds.filter((kind) => kind.startsWith('key_re'))), [
    'key_revocation_limit_reached',
  ]);
});
