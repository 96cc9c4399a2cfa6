/** Instances whose clocks are apart, as far as they may be: five seconds (contract, Many instances). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manageApiKeys } from '../../src/operator/api_keys.ts';
import { startHallpass, TestClock, tokensOf, type Hallpass, type Key } from '../../../../testing/server/server.ts';

const SKEW_SECONDS = 5;

const hallpass = await startHallpass({ environment: { HALLPASS_ISSUER: 'http://127.0.0.1:8080' } });
const beside = async (seconds: number): Promise<Hallpass> => {
  const clock = new TestClock();
  clock.set(hallpass.clock.now() + seconds * 1000);
  const environment = { HALLPASS_ISSUER: hallpass.issuer };
  return await startHallpass({ folder: hallpass.folder, clock, environment });
};
const ahead = await beside(SKEW_SECONDS);
const behind = await beside(-SKEW_SECONDS);
const operators = (clockSkewSeconds: number) => manageApiKeys({ ...hallpass.instance, clockSkewSeconds });
const ask = async (at: Hallpass, key: Key) => await at.ask(key);

test('what an instance that is ahead has dated is dead as well when a key is disabled, for good (contract §4)', async () => {
  const api = await hallpass.makeReader();
  for (const [skew, alive] of [
    [SKEW_SECONDS, false],
    // On one machine there is one clock, and nothing to wait for; with two of them this is what would be left alive.
    [0, true],
  ] as const) {
    const key = await hallpass.makeKey();
    const { accessToken, refreshToken } = await ahead.issue(key);
    await operators(skew).disable(key.clientId);
    await operators(skew).enable(key.clientId);
    assert.equal(await hallpass.isActive(api, accessToken), alive);
    assert.equal((await ahead.refresh(key, refreshToken)).outcome, alive ? '200' : '400 invalid_grant');
  }
});

test('the first token after that waits until nobody can take it for an old one; who would wait too long is told when', async () => {
  const key = await hallpass.makeKey();
  await operators(SKEW_SECONDS).revokeTokens(key.clientId);
  assert.equal((await ask(behind, key)).outcome, '503 temporarily_unavailable');
  const before = hallpass.clock.now();
  const tokens = tokensOf(await ask(hallpass, key));
  const waited = (hallpass.clock.now() - before) / 1000;
  assert.ok(waited > 0 && waited <= SKEW_SECONDS + 1, `${waited} s`);
  assert.equal(await hallpass.isActive(key, tokens.accessToken), true);
  assert.equal((await hallpass.refresh(key, tokens.refreshToken)).status, 200);
  behind.clock.advance(2 * SKEW_SECONDS);
  assert.equal((await ask(behind, key)).status, 200);
});

test('a rotation, its repetition and the mercy of ten seconds are the same on clocks that are apart (contract §3)', async () => {
  const key = await hallpass.makeKey();
  const first = await behind.issue(key);
  const second = tokensOf(await ahead.refresh(key, first.refreshToken));
  const again = tokensOf(await behind.refresh(key, first.refreshToken));
  assert.equal(again.refreshToken, second.refreshToken, 'the same bytes, whoever answers');
  const third = tokensOf(await behind.refresh(key, second.refreshToken));
  assert.equal((await ahead.refresh(key, first.refreshToken)).outcome, '400 invalid_grant');
  assert.equal((await ahead.refresh(key, third.refreshToken)).status, 200, 'a slow tab has not ended the family');
});

test('a clock that is set back or forward by hours ends no family and brings nothing back', async () => {
  const key = await hallpass.makeKey();
  const { accessToken, refreshToken } = await hallpass.issue(key);
  const dead = await hallpass.issue(key);
  await hallpass.revoke(key, dead.refreshToken);
  const start = hallpass.clock.now();
  let newest = refreshToken;
  for (const hours of [3, -6, 12, -9]) {
    hallpass.clock.advance(hours * 3600);
    newest = tokensOf(await hallpass.refresh(key, newest)).refreshToken;
    assert.equal((await hallpass.refresh(key, dead.refreshToken)).outcome, '400 invalid_grant');
    assert.equal(await hallpass.isActive(key, dead.accessToken), false);
  }
  hallpass.clock.set(start);
  assert.equal(await hallpass.isActive(key, accessToken), true);
  assert.equal((await hallpass.refresh(key, newest)).status, 200);
});
