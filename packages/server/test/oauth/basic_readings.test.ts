/** Imported secrets with characters that Basic reads in two ways (RFC 6749 §2.3.1, RFC 7617; ADR 39). */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { hashSync } from 'bcryptjs';
import { printBasic, printPlainBasic } from '@hallpass/protocol';
import { hexOf } from '../../../../testing/client/foreign_hashes.ts';
import {
  ASK,
  bodyOf,
  claimOf,
  ENDPOINTS,
  startHallpass,
  tokensOf,
  type Answer,
  type Hallpass,
  type Key,
} from '../../../../testing/server/server.ts';

function ask(at: Hallpass, authorization: string, more: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return at.form('/oauth2/token', { ...ASK, ...more }, { headers: { authorization } });
}

const KNOWN = {
  secret: ({ clientSecret }: Key) => ({ clientSecret }),
  hash: ({ clientSecret }: Key) => ({ clientSecretHash: hashSync(clientSecret, 4) }),
  'fast hash': ({ clientSecret }: Key) => ({ clientSecretHash: `sha256:${hexOf(clientSecret)}` }),
};

/** Imports a key by its secret or by a hash of it. */
async function importPair(at: Hallpass, key: Key, by: keyof typeof KNOWN = 'secret', more: object = {}): Promise<void> {
  await at.makeKey({ imported: { clientId: key.clientId, allowWeak: true, ...KNOWN[by](key) }, ...more });
}

const hallpass = await startHallpass();

for (const [name, pair] of [
  ['a plus', { clientId: 'plus', clientSecret: 'aGVsbG8+d29ybGQ+Zm9vYmFyYmF6' }],
  ['an escape by chance', { clientId: 'chance', clientSecret: 'zQ3k%41Vb8Ls0Tn6Wm4Xr2Yp1' }],
  ['a percent sign that is no escape', { clientId: 'percent', clientSecret: '100%zQ3kVb8Ls0Tn6Wm4Xr2Yp' }],
  ['base64 with padding', { clientId: 'base64', clientSecret: 'a+b/c+d/zQ3kVb8Ls0Tn6Wm4Xr2=' }],
  ['spaces and a colon', { clientId: 'passphrase', clientSecret: ' correct horse: battery staple ' }],
  ['a space and a percent sign in the id', { clientId: 'my client %1', clientSecret: 'zQ3kVb8Ls0Tn6Wm4Xr2Yp1' }],
] as const) {
  for (const by of ['secret', 'hash'] as const) {
    test(`${name}, imported by its ${by}: accepted plain, form-encoded and in the body, again and again`, async () => {
      for (const order of [0, 1]) {
        const key = { ...pair, clientId: `${pair.clientId} ${by} ${order}` };
        await importPair(hallpass, key, by);
        const headers = [printPlainBasic(key), printBasic(key)];
        for (const header of order === 0 ? headers : headers.toReversed()) {
          assert.equal((await ask(hallpass, header)).status, 200);
        }
        for (const [path, params] of ENDPOINTS) {
          assert.equal((await hallpass.form(path, { ...params, ...bodyOf(key) })).status, 200);
          const answer = await hallpass.form(path, params, { headers: { authorization: printPlainBasic(key) } });
          assert.equal(answer.status, 200, path);
        }
        // The nearest wrong ones: one character more, and one reading mixed with the other.
        for (const wrong of [
          printPlainBasic({ ...key, clientSecret: `${key.clientSecret}+` }),
          printBasic({ ...key, clientSecret: `${key.clientSecret}+` }),
          printBasic({ ...key, clientSecret: printBasic(key) }),
        ]) {
          assert.equal((await ask(hallpass, wrong)).outcome, '401 invalid_client');
        }
      }
    });
  }
}

test('a secret that Hallpass made has one reading: form-decoded once', async () => {
  const key = await hallpass.makeKey();
  const escaped = `${key.clientSecret.slice(0, -1)}%${key.clientSecret.charCodeAt(42).toString(16)}`;
  assert.equal((await ask(hallpass, printPlainBasic({ ...key, clientSecret: escaped }))).status, 200);
  assert.equal((await ask(hallpass, printBasic({ ...key, clientSecret: escaped }))).outcome, '401 invalid_client');
});

test('Basic beside a body: one reading of the header must match the body (contract §3)', async () => {
  const key = { clientId: 'beside', clientSecret: 'aGVsbG8+d29ybGQ+Zm9vYmFyYmF6' };
  await importPair(hallpass, key);
  const raw = printPlainBasic(key);
  assert.equal((await ask(hallpass, raw, bodyOf(key))).status, 200);
  const decoded = { client_secret: key.clientSecret.replaceAll('+', ' ') };
  assert.equal((await ask(hallpass, raw, decoded)).outcome, '401 invalid_client', 'the same wrong secret twice');
  assert.equal((await ask(hallpass, raw, { client_secret: 'another' })).outcome, '400 invalid_request');
});

test('two keys whose credentials are the two readings of one header: each is found by its own secret alone', async () => {
  const secret = 'zQ3kVb8Ls0Tn6Wm4Xr2Yp1';
  await importPair(hallpass, { clientId: 'a b', clientSecret: secret });
  await importPair(hallpass, { clientId: 'a+b', clientSecret: `${secret}X` });
  const clientOf = async (clientSecret: string): Promise<string> => {
    const answer = await ask(hallpass, printPlainBasic({ clientId: 'a+b', clientSecret }));
    return answer.status === 200 ? claimOf(tokensOf(answer).accessToken, 'client_id') : answer.outcome;
  };
  assert.equal(await clientOf(secret), 'a b');
  assert.equal(await clientOf(`${secret}X`), 'a+b');
  assert.equal(await clientOf(`${secret}Y`), '401 invalid_client');
});

test('plain Basic cuts an id with a colon; form-encoded it stays whole (RFC 7617 §2)', async () => {
  const key = { clientId: 'urn:partner:1', clientSecret: 'zQ3kVb8Ls0Tn6Wm4Xr2Yp1' };
  await importPair(hallpass, key);
  assert.equal((await ask(hallpass, printBasic(key))).status, 200);
  assert.equal((await ask(hallpass, printPlainBasic(key))).outcome, '401 invalid_client');
  await assert.rejects(
    importPair(hallpass, { ...key, clientId: 'urn:api:1' }, 'secret', { resourceServerFor: ['https://api.example'] }),
    { code: 'resource_server_with_colon' },
  );
});

for (const path of ['/ping', '/oauth2/revocations?after=']) {
  test(`at ${path}, a protected resource, Basic is RFC 7617: nothing is decoded (contract §10)`, async () => {
    const key = { clientId: `${path.slice(-5)}+%41`, clientSecret: 'aGVsbG8+d29ybGQ%2BZm9vYmFyYmF6' };
    await importPair(hallpass, key, 'secret', { resourceServerFor: ['https://api.example'] });
    const read = async (authorization: string): Promise<number> =>
      (await hallpass.request(path, { headers: { authorization } })).status;
    assert.deepEqual([await read(printPlainBasic(key)), await read(printBasic(key))], [200, 401]);
  });
}

suite('what a second reading costs', () => {
  test('a guesser pays for each password hash: with two a guess, half as many guesses (ADR 17, ADR 39)', async () => {
    const bounded = await startHallpass({ environment: { HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '20' } });
    const verifiedBefore429 = async (prefix: string): Promise<number> => {
      let verified = 0;
      // Each against another key, so that only the limit of the address is reached.
      for (let at = 0; at < 30; at++) {
        const key = { clientId: `${prefix}-${at}`, clientSecret: 'zQ3kVb8Ls0Tn6Wm4Xr2Yp1' };
        await importPair(bounded, key, 'fast hash');
        const guess = printPlainBasic({ ...key, clientSecret: prefix });
        if ((await ask(bounded, guess)).outcome === '401 invalid_client') verified += 1;
      }
      bounded.clock.advance(60);
      return verified;
    };
    assert.equal(await verifiedBefore429('one-reading'), 20);
    assert.equal(await verifiedBefore429('two%2Breadings'), 10);
  });

  test('a right secret that only the second reading finds counts as no failure', async () => {
    const bounded = await startHallpass({ environment: { HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '5' } });
    for (let at = 0; at < 10; at++) {
      // Looks form-encoded, so that the first hash is of another text.
      const key = { clientId: `partner-${at}`, clientSecret: 'zQ3k%41Vb8Ls0Tn6Wm4Xr2Yp1' };
      await importPair(bounded, key, 'fast hash');
      assert.equal((await ask(bounded, printPlainBasic(key))).status, 200);
    }
  });
});
