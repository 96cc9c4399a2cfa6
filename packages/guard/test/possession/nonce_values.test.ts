/** The nonces themselves: guards with one key know each other's, whatever version they are of. */
import { utf8 } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { Nonces } from '../../src/possession/nonces.ts';

const SECRET = 'a secret of thirty-two bytes or more';

/** The nonce of a minute, as another guard makes it: half of a MAC. */
function nonceOf(minute: number): string {
  return createHmac('sha256', SECRET).update(`dpop nonce ${minute}`).digest().subarray(0, 16).toString('base64url');
}

test('a nonce is half of the MAC of its minute, from the first millisecond of that minute to the last', async () => {
  let now = 0;
  const nonces = new Nonces({ now: () => now, elapsed: () => now }, utf8(SECRET));
  for (const [milliseconds, minute] of [
    [6_000_000, 100],
    [6_000_001, 100],
    [6_059_999, 100],
    [6_060_000, 101],
    [6_000_000, 100],
  ] as const) {
    now = milliseconds;
    const { current, isGood, isOld } = await nonces.now();
    assert.equal(current, nonceOf(minute));
    for (const at of [-2, -1, 0, 1, 2]) {
      assert.equal(isGood(nonceOf(minute + at)), Math.abs(at) < 2, `${at}`);
      assert.equal(isOld(nonceOf(minute + at)), at === -1, `${at}`);
    }
    assert.ok(!isGood('') && !isOld('') && !isOld(undefined));
  }
});

test('the nonces of a minute are made once, however often they are asked for', () => {
  let now = 6_000_000;
  const nonces = new Nonces({ now: () => now, elapsed: () => now }, utf8(SECRET));
  const first = nonces.now();
  assert.equal(nonces.now(), first);
  now += 59_999;
  assert.equal(nonces.now(), first);
  now += 1;
  const second = nonces.now();
  assert.notEqual(second, first);
  assert.equal(nonces.now(), second);
});
