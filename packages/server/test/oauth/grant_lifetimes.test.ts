/** When grants end (contract §3 Lifetimes, ADR 41), and that nothing which has ended or was revoked comes back. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { forgetExpired } from '../../src/serving/forget_expired.ts';
import {
  makeFamily,
  startHallpass,
  TestClock,
  tokensOf,
  type Hallpass,
  type Key,
} from '../../../../testing/server/server.ts';

const DAY = 86_400;
const IDLE = 30 * DAY;
const hallpass = await startHallpass();
const key = await hallpass.makeKey();

const refused = '400 invalid_grant';

async function forget({ instance }: Hallpass): Promise<void> {
  // Twice: the first time learns what the time is.
  await forgetExpired(instance);
  await forgetExpired(instance);
}

test('a grant that is refreshed every 20 days lives for 400 days, and introspection says until when', async () => {
  const [first] = await makeFamily({ at: hallpass, key: key }, 0);
  let newest = first.refreshToken;
  for (let day = 20; day <= 400; day += 20) {
    hallpass.clock.advance(20 * DAY);
    newest = tokensOf(await hallpass.refresh(key, newest)).refreshToken;
    await forget(hallpass);
    const { body } = await hallpass.introspect(key, newest);
    assert.deepEqual([body['active'], body['exp']], [true, hallpass.clock.seconds + IDLE]);
  }
});

test('a grant that is not refreshed expires to the second, and introspection agrees', async () => {
  const [, last] = await makeFamily({ at: hallpass, key: key }, 1);
  hallpass.clock.advance(IDLE - 1);
  const second = tokensOf(await hallpass.refresh(key, last.refreshToken));
  hallpass.clock.advance(IDLE - 1);
  assert.equal(await hallpass.isActive(key, second.refreshToken), true);
  hallpass.clock.advance(1);
  assert.equal(await hallpass.isActive(key, second.refreshToken), false);
  for (const { refreshToken } of [second, last]) {
    assert.equal((await hallpass.refresh(key, refreshToken)).outcome, refused);
  }
  assert.deepEqual(await hallpass.eventsOf(second.accessToken), [], 'an end is no theft');
});

test('a lost response loses nothing: an expired predecessor still returns the newest, byte for byte', async () => {
  const [first] = await makeFamily({ at: hallpass, key: key }, 0);
  hallpass.clock.advance(IDLE - 1);
  const lost = tokensOf(await hallpass.refresh(key, first.refreshToken));
  hallpass.clock.advance(IDLE - 1);
  assert.equal(tokensOf(await hallpass.refresh(key, first.refreshToken)).refreshToken, lost.refreshToken);
  const { body } = await hallpass.introspect(key, first.refreshToken);
  assert.deepEqual([body['active'], body['exp']], [true, hallpass.clock.seconds + 1]);
  hallpass.clock.advance(1);
  assert.equal((await hallpass.refresh(key, first.refreshToken)).outcome, refused);
});

test('an expired retired token still revokes the grant that went on without it (RFC 9700 §4.14.2)', async () => {
  const [first, second] = await makeFamily({ at: hallpass, key: key }, 1);
  hallpass.clock.advance(IDLE - 1);
  const third = tokensOf(await hallpass.refresh(key, second.refreshToken));
  hallpass.clock.advance(DAY);
  assert.equal((await hallpass.refresh(key, first.refreshToken)).outcome, refused);
  assert.equal((await hallpass.refresh(key, third.refreshToken)).outcome, refused);
  assert.deepEqual(await hallpass.eventsOf(third.accessToken), ['refresh_token_reused']);
});

test('its owner can revoke a living grant with any of its tokens, even an expired one; another client cannot', async () => {
  const other = await hallpass.makeKey();
  const [first, second] = await makeFamily({ at: hallpass, key: key }, 1);
  hallpass.clock.advance(IDLE - 1);
  const third = tokensOf(await hallpass.refresh(key, second.refreshToken));
  hallpass.clock.advance(DAY);
  assert.equal((await hallpass.revoke(other, first.refreshToken)).outcome, '400 invalid_request');
  const fourth = tokensOf(await hallpass.refresh(key, third.refreshToken));
  assert.equal((await hallpass.revoke(key, first.refreshToken)).outcome, '200');
  assert.equal((await hallpass.refresh(key, fourth.refreshToken)).outcome, refused);
  // Until the newest of its tokens has ended, whichever was shown.
  for (const seconds of [2 * DAY, IDLE - 3 * DAY, DAY - 1]) {
    hallpass.clock.advance(seconds);
    await forget(hallpass);
    for (const { refreshToken } of [fourth, third]) {
      assert.equal((await hallpass.refresh(key, refreshToken)).outcome, refused);
      assert.equal(await hallpass.isActive(key, refreshToken), false);
    }
  }
});

test('everything revoked of a key stays revoked until its last token expires, even if its grants live forever', async () => {
  const own = await hallpass.makeKey();
  const [, old] = await makeFamily({ at: hallpass, key: own }, 1);
  hallpass.clock.advance(IDLE - 1);
  const newest = tokensOf(await hallpass.refresh(own, old.refreshToken));
  await hallpass.keys.revokeTokens(own.clientId);
  for (const days of [1, 10, 18]) {
    hallpass.clock.advance(days * DAY);
    await forget(hallpass);
    assert.equal((await hallpass.refresh(own, newest.refreshToken)).outcome, refused);
  }
});

test('a lowered lifetime takes effect at the next request, and a first token never counts as new again', async () => {
  const clock = new TestClock();
  const long = await startHallpass({ clock, environment: { HALLPASS_REFRESH_TTL_SECONDS: String(400 * DAY) } });
  const by = await long.makeKey();
  const [first] = await makeFamily({ at: long, key: by }, 0);
  const [, idle] = await makeFamily({ at: long, key: by }, 1);
  await long.close();

  const short = await startHallpass({
    folder: long.folder,
    clock,
    environment: { HALLPASS_REFRESH_TTL_SECONDS: '600' },
  });
  const second = tokensOf(await short.refresh(by, first.refreshToken));
  clock.advance(600);
  for (const { refreshToken } of [idle, second, first]) {
    assert.equal((await short.refresh(by, refreshToken)).outcome, refused);
    assert.equal(await short.isActive(by, refreshToken), false);
  }
  clock.advance(100 * DAY);
  await forget(short);
  await short.close();

  // Its own text says 400 days. Its family ended by the rule of then, and is remembered for as long.
  const again = await startHallpass({
    folder: long.folder,
    clock,
    environment: { HALLPASS_REFRESH_TTL_SECONDS: String(400 * DAY) },
  });
  for (const { refreshToken } of [second, first]) {
    assert.equal((await again.refresh(by, refreshToken)).outcome, refused);
  }
  assert.deepEqual(await again.eventsOf(second.accessToken), []);
});

test('a raised lifetime takes effect at the next refresh', async () => {
  const by = await hallpass.makeKey({ refreshTtlSeconds: 600 });
  const [, token] = await makeFamily({ at: hallpass, key: by }, 1);
  const [, late] = await makeFamily({ at: hallpass, key: by }, 1);
  await hallpass.keys.update(by.clientId, { refreshTtlSeconds: 1_200 });
  hallpass.clock.advance(599);
  const next = tokensOf(await hallpass.refresh(by, token.refreshToken));
  hallpass.clock.advance(1);
  assert.equal((await hallpass.refresh(by, late.refreshToken)).outcome, refused);
  hallpass.clock.advance(1_198);
  tokensOf(await hallpass.refresh(by, next.refreshToken));
});

test(
  'after an upgrade a grant that was refreshed keeps the end it was given, and a key its bound; others gain (ADR 41)',
  { skip: process.env['HALLPASS_TEST_DATABASE'] !== undefined && 'it is changed as a file' },
  async () => {
    const clock = new TestClock();
    const before = await startHallpass({ clock });
    const [plain, bounded] = [await before.makeKey(), await before.makeKey({ refreshTtlSeconds: 10 * DAY })];
    const [, refreshed] = await makeFamily({ at: before, key: plain }, 1);
    const [fresh] = await makeFamily({ at: before, key: plain }, 0);
    const [ofBounded] = await makeFamily({ at: before, key: bounded }, 0);
    await before.close();
    asBefore(join(before.folder, 'hallpass.db'));

    const after = await startHallpass({ folder: before.folder, clock });
    assert.equal((await after.keys.show(bounded.clientId)).refreshMaxTtlSeconds, 10 * DAY);
    let [old, others] = [refreshed.refreshToken, [fresh.refreshToken, ofBounded.refreshToken]];
    clock.advance(9 * DAY);
    old = tokensOf(await after.refresh(plain, old)).refreshToken;
    const repeated = tokensOf(await after.refresh(plain, refreshed.refreshToken)).refreshToken;
    assert.equal(repeated, old, 'its predecessor gets it again, byte for byte');
    others = [
      tokensOf(await after.refresh(plain, others[0] ?? '')).refreshToken,
      tokensOf(await after.refresh(bounded, others[1] ?? '')).refreshToken,
    ];
    clock.advance(DAY);
    assert.equal((await after.refresh(bounded, others[1] ?? '')).outcome, refused);
    clock.advance(20 * DAY - 1);
    old = tokensOf(await after.refresh(plain, old)).refreshToken;
    clock.advance(1);
    assert.equal((await after.refresh(plain, old)).outcome, refused);
    tokensOf(await after.refresh(plain, others[0] ?? ''));

    // What an operator decides now is meant as it is read now.
    await after.keys.update(bounded.clientId, { refreshMaxTtlSeconds: 3_650 * DAY });
    const [, again] = await makeFamily({ at: after, key: bounded }, 1);
    clock.advance(9 * DAY);
    const third = tokensOf(await after.refresh(bounded, again.refreshToken));
    clock.advance(9 * DAY);
    tokensOf(await after.refresh(bounded, third.refreshToken));
  },
);

/** What the version before idle expiry kept, once the schema is brought up to date (store/sqlite has that). */
function asBefore(file: string): void {
  const database = new DatabaseSync(file);
  database.exec(`UPDATE families SET newest_expires_at = NULL;
                 UPDATE clients SET record = replace(record, ',"refreshMaxTtlSeconds":null', '')`);
  database.close();
}

// Any sequence of what clients, owners and operators do

interface Model {
  readonly startedAt: number;
  readonly tokens: string[];
  rotatedAt: number;
  /** As it was sealed. */
  end: number;
  isRevoked: boolean;
  idle: number;
  max: number;
}

type Step =
  | { readonly does: 'wait'; readonly seconds: number }
  | { readonly does: 'refresh' | 'revoke' | 'introspect'; readonly back: number }
  | { readonly does: 'limit'; readonly idle: number; readonly max: number }
  | { readonly does: 'forget' };

const back = fc.integer({ min: 0, max: 3 });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant('wait' as const),
      seconds: fc.constantFrom(1, 1, 9, 9, 59, 60, 240, 299, 600),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      does: fc.constant('refresh' as const),
      back: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3),
    }),
  },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('introspect' as const), back }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('revoke' as const), back }) },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant('limit' as const),
      idle: fc.constantFrom(60, 300, 4_000),
      max: fc.constantFrom(3_650 * DAY, 500, 5_000),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ does: 'forget' as const }) },
);

test('in any order of operations, no refresh token works after it expires, and no dead one comes back', async () => {
  let worked = 0;
  const play = async (taken: readonly Step[]): Promise<void> => {
    const by = await hallpass.makeKey({ refreshTtlSeconds: 300 });
    const now = hallpass.clock.seconds;
    const model: Model = {
      startedAt: now,
      tokens: [(await hallpass.issue(by)).refreshToken],
      rotatedAt: now,
      end: now + 300,
      isRevoked: false,
      idle: 300,
      max: Infinity,
    };
    for (const step of taken) worked += await take(model, by, step);
    // In the end: what there is to forget is forgotten bit by bit, and nothing that was dead is alive.
    for (const seconds of [0, 300, 3_700, 4_100]) {
      hallpass.clock.advance(seconds);
      await forget(hallpass);
      const isAlive = !model.isRevoked && hallpass.clock.seconds < endOf(model);
      for (const [index, token] of model.tokens.entries()) {
        assert.equal(await hallpass.isActive(by, token), isAlive && index >= model.tokens.length - 2);
      }
    }
    for (const token of model.tokens) assert.equal((await hallpass.refresh(by, token)).outcome, refused);
  };
  await fc.assert(fc.asyncProperty(fc.array(anyStep, { minLength: 3, maxLength: 25, size: 'max' }), play), {
    numRuns: 30,
  });
  assert.ok(worked > 10, `${worked} refreshes worked`);
});

function endOf({ startedAt, rotatedAt, end, idle, max }: Model): number {
  return Math.min(end, rotatedAt + idle, startedAt + max);
}

/** Takes a step in both, and says how many refreshes worked. */
async function take(model: Model, by: Key, step: Step): Promise<number> {
  switch (step.does) {
    case 'wait':
      hallpass.clock.advance(step.seconds);
      return 0;
    case 'forget':
      await forget(hallpass);
      return 0;
    case 'limit':
      Object.assign(model, { idle: step.idle, max: step.max });
      await hallpass.keys.update(by.clientId, { refreshTtlSeconds: step.idle, refreshMaxTtlSeconds: step.max });
      return 0;
    case 'refresh':
    case 'revoke':
    case 'introspect':
  }
  const now = hallpass.clock.seconds;
  const at = model.tokens.length - 1 - step.back;
  const token = model.tokens[at];
  if (token === undefined) return 0;
  const isAlive = !model.isRevoked && now < endOf(model);
  if (step.does === 'revoke') {
    assert.equal((await hallpass.revoke(by, token)).outcome, '200');
    model.isRevoked = true;
    return 0;
  }
  if (step.does === 'introspect') {
    const { body } = await hallpass.introspect(by, token);
    const isActive = isAlive && step.back <= 1;
    assert.equal(body['active'], isActive);
    if (isActive) assert.equal(body['exp'], endOf(model));
    return 0;
  }
  const answer = await hallpass.refresh(by, token);
  assert.equal(answer.status, isAlive && step.back <= 1 ? 200 : 400, answer.text);
  if (answer.status === 400) {
    const isMercy = step.back === 2 && now - model.rotatedAt <= 10;
    if (isAlive && !isMercy) model.isRevoked = true;
    return 0;
  }
  const { refreshToken } = tokensOf(answer);
  if (step.back === 1) assert.equal(refreshToken, model.tokens.at(-1));
  else {
    model.tokens.push(refreshToken);
    model.rotatedAt = now;
    model.end = Math.min(now + model.idle, model.startedAt + model.max);
  }
  return 1;
}
