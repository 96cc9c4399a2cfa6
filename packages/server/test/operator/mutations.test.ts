/**
 * Every credential that a caller can present, with one character changed at a time: none is accepted, none causes a 5xx,
 * and the original still works afterwards.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLIENT_ASSERTION_TYPE } from '@hallpass/protocol';
import { basicOf, startHallpass, tokensOf, type Answer } from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const hallpass = await startHallpass();
const { issuer, clock } = hallpass;
const signer = await Signer.make();
const key = await hallpass.makeKey();
const opaque = await hallpass.makeKey({ accessTokenFormat: 'opaque' });
const signing = await hallpass.makeKey({ publicKeys: [signer.jwk] });

const TOKEN = '/oauth2/token';
const ASK = { grant_type: 'client_credentials', scope: '/accounts.write' };
const ping = (authorization: string): Promise<Answer> => hallpass.request('/ping', { headers: { authorization } });

/** Something to show, and how a request shows it. */
interface Shown {
  readonly name: string;
  readonly text: string;
  readonly show: (text: string) => Promise<Answer>;
}

const { client_assertion: assertion } = await signer.assert(hallpass, signing.clientId);
const SHOWN: readonly Shown[] = [
  {
    name: 'a signed access token (RFC 7515 §5.2)',
    text: (await hallpass.issue(key, '/ping.read')).accessToken,
    show: (token) => ping(`Bearer ${token}`),
  },
  {
    name: 'an opaque access token (contract §5)',
    text: (await hallpass.issue(opaque, '/ping.read')).accessToken,
    show: (token) => ping(`Bearer ${token}`),
  },
  {
    name: 'a refresh token (RFC 6749 §6)',
    text: (await hallpass.issue(key)).refreshToken,
    show: (token) => hallpass.refresh(key, token),
  },
  {
    name: 'a proof of possession (RFC 9449 §4.3)',
    text: await signer.prove({ url: issuer + TOKEN, clock }),
    show: (dpop) => hallpass.form(TOKEN, ASK, { key, headers: { dpop } }),
  },
  {
    name: 'an assertion (RFC 7523 §3)',
    text: assertion,
    show: (client_assertion) =>
      hallpass.form(TOKEN, { ...ASK, client_assertion_type: CLIENT_ASSERTION_TYPE, client_assertion }),
  },
  {
    name: 'Basic credentials (RFC 7617 §2)',
    text: basicOf(key).slice('Basic '.length),
    show: (credentials) => hallpass.form(TOKEN, ASK, { headers: { authorization: `Basic ${credentials}` } }),
  },
];

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** The one text with the character at a place changed to its neighbour, put into the other case, left out, doubled. */
function mutantsAt(text: string, at: number): readonly string[] {
  const character = text.charAt(at);
  const neighbour = LETTERS.charAt((LETTERS.indexOf(character) + 1) % LETTERS.length);
  const swapped = character === character.toLowerCase() ? character.toUpperCase() : character.toLowerCase();
  return ['', neighbour, swapped, character + character].map(
    (instead) => text.slice(0, at) + instead + text.slice(at + 1),
  );
}

for (const { name, text, show } of SHOWN) {
  test(`${name} with any one character changed is refused, and accepted unchanged`, async () => {
    const mutants = Array.from(text, (_, at) => mutantsAt(text, at)).flat();
    for (const mutant of new Set(mutants)) {
      if (mutant === text) continue;
      const { status, text: answer } = await show(mutant);
      assert.ok(status >= 400 && status < 500, `${status} for ${mutant}: ${answer}`);
    }
    assert.equal((await show(text)).status, 200);
  });
}

test('an altered token revokes nothing (RFC 7009 §2.2)', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  for (const text of [accessToken, refreshToken]) {
    for (const mutant of mutantsAt(text, Math.floor(text.length / 2))) {
      if (mutant !== text) assert.equal((await hallpass.revoke(key, mutant)).status, 200);
    }
    assert.equal(await hallpass.isActive(key, text), true);
  }
  assert.equal(tokensOf(await hallpass.refresh(key, refreshToken)).scope, '/accounts.write');
});
