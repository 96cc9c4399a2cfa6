import {
  openRefreshToken,
  REFRESH_TOKEN_LENGTH_MAX,
  sealRefreshToken,
  type RefreshKey,
  type RefreshTokenState,
} from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { test } from 'node:test';

function keyOf(name: string): RefreshKey {
  const keyId = Buffer.from(name.padEnd(8)).toString('base64url');
  return { keyId, mac: (bytes) => new Uint8Array(createHmac('sha256', `secret of ${name}`).update(bytes).digest()) };
}

const KEY = keyOf('now');
const OLD = keyOf('old');
const KEYS = {
  find: (keyId: string): RefreshKey | undefined => [KEY, OLD].find((key) => key.keyId === keyId),
  equal: (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b),
};
const STATE: RefreshTokenState = {
  grantId: '01890a5d-ac96-774b-bcce-b302099a8057',
  generation: 3,
  clientId: '5clTR_MdVrrkgxw2',
  issuedAt: 1_900_000_000,
  expiresAt: 1_902_592_000,
  scope: '/accounts.write /accounts/a1.read',
  audiences: ['https://api.example.com'],
};

const seconds = fc.integer({ min: 0, max: 2 ** 40 });
const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const someState: fc.Arbitrary<RefreshTokenState> = fc.record(
  {
    grantId: fc.constant(STATE.grantId),
    generation: fc.nat(),
    clientId: text,
    issuedAt: seconds,
    expiresAt: seconds,
    scope: text,
    audiences: fc.array(text, { minLength: 1, maxLength: 3 }),
  },
  { noNullPrototype: true },
);

test('a refresh token opens to the sealed state, and the same state gives the same bytes (contract §3)', () => {
  fc.assert(
    fc.property(someState, (state) => {
      const token = sealRefreshToken(state, KEY);
      assert.deepEqual(openRefreshToken(token, KEYS), state);
      assert.equal(sealRefreshToken({ ...state }, KEY), token);
    }),
  );
});

test('two states never share a token', () => {
  fc.assert(
    fc.property(someState, someState, (one, two) => {
      const same = sealRefreshToken(one, KEY) === sealRefreshToken(two, KEY);
      assert.equal(same, JSON.stringify(one) === JSON.stringify(two));
    }),
  );
});

test('a token with any one character changed, cut or added does not open', () => {
  const token = sealRefreshToken(STATE, KEY);
  for (let at = 0; at < token.length; at++) {
    for (const other of ['A', 'B', '_', '.', '=']) {
      if (token.charAt(at) === other) continue;
      assert.equal(
        openRefreshToken(token.slice(0, at) + other + token.slice(at + 1), KEYS),
        undefined,
        `${at} ${other}`,
      );
    }
    assert.equal(openRefreshToken(token.slice(0, at), KEYS), undefined);
    assert.equal(openRefreshToken(token.slice(0, at) + token.slice(at + 1), KEYS), undefined);
  }
  for (const more of ['A', 'AAAA', '=', ' ', '\n', token])
    assert.equal(openRefreshToken(token + more, KEYS), undefined);
  assert.ok(openRefreshToken(token, KEYS));
});

test('a token opens only under the key that it names', () => {
  assert.deepEqual(openRefreshToken(sealRefreshToken(STATE, OLD), KEYS), STATE);
  assert.equal(openRefreshToken(sealRefreshToken(STATE, keyOf('gone')), KEYS), undefined);
  // A key that somebody else made under a name of ours.
  assert.equal(openRefreshToken(sealRefreshToken(STATE, { ...keyOf('evil'), keyId: KEY.keyId }), KEYS), undefined);
});

test('the tag is checked before a byte of the payload is read', () => {
  const asked: string[] = [];
  const find = (keyId: string): undefined => {
    asked.push(keyId);
    return undefined;
  };
  assert.equal(openRefreshToken(sealRefreshToken(STATE, KEY), { ...KEYS, find }), undefined);
  assert.deepEqual(asked, [KEY.keyId]);
});

/** A payload of our own choice under a good tag: what only a bug of ours could have sealed. */
function sealAnything(payload: string, version = 1): string {
  const body = Buffer.concat([Buffer.of(version), Buffer.from(KEY.keyId, 'base64url'), Buffer.from(payload)]);
  const tag = KEY.mac(Buffer.concat([Buffer.from('hprt_'), body]));
  return `hprt_${Buffer.concat([body, tag]).toString('base64url')}`;
}

const { grantId, generation, clientId, issuedAt, expiresAt, scope, audiences } = STATE;
const PAYLOAD: readonly unknown[] = [grantId, generation, clientId, issuedAt, expiresAt, scope, ...audiences];

test('the encoding is the documented one', () => {
  assert.equal(sealAnything(JSON.stringify(PAYLOAD)), sealRefreshToken(STATE, KEY));
});

for (const [what, payload] of [
  ['no JSON', 'x'],
  ['an object', '{}'],
  ['nothing', '[]'],
  ['a grant id that is none', JSON.stringify(PAYLOAD.with(0, 'x'))],
  ['a generation below zero', JSON.stringify(PAYLOAD.with(1, -1))],
  ['half a generation', JSON.stringify(PAYLOAD.with(1, 0.5))],
  ['no client', JSON.stringify(PAYLOAD.with(2, null))],
  ['a time as a text', JSON.stringify(PAYLOAD.with(3, '1'))],
  ['no end', JSON.stringify(PAYLOAD.with(4, null))],
  ['no scope', JSON.stringify(PAYLOAD.with(5, null))],
  ['no audience', JSON.stringify(PAYLOAD.slice(0, 6))],
  ['an audience that is no text', JSON.stringify([...PAYLOAD, 7])],
] as const) {
  test(`a good tag over ${what} opens nothing`, () => {
    assert.equal(openRefreshToken(sealAnything(payload), KEYS), undefined);
  });
}

test('another version opens nothing, nor does a tag that was made without the prefix', () => {
  const payload = JSON.stringify(PAYLOAD);
  assert.equal(openRefreshToken(sealAnything(payload, 0), KEYS), undefined);
  assert.equal(openRefreshToken(sealAnything(payload, 2), KEYS), undefined);
  const body = Buffer.concat([Buffer.of(1), Buffer.from(KEY.keyId, 'base64url'), Buffer.from(payload)]);
  const bare = Buffer.concat([body, KEY.mac(body)]).toString('base64url');
  assert.equal(openRefreshToken(`hprt_${bare}`, KEYS), undefined);
});

test('no text throws, not even one that is too long', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.base64String().map((encoded) => `hprt_${encoded}`),
      ),
      (token) => {
        assert.equal(openRefreshToken(token, KEYS), undefined);
      },
    ),
  );
  const long = sealRefreshToken({ ...STATE, scope: 'x'.repeat(REFRESH_TOKEN_LENGTH_MAX) }, KEY);
  assert.equal(openRefreshToken(long, KEYS), undefined);
});
