/** Imported secrets with characters that Basic reads in two ways (RFC 6749 §2.3.1, RFC 7617; ADR 39). */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { hashSync } from 'bcryptjs';
import { printBasic, printPlainBasic } from '@hallpass/protocol';
import { hexOf } from '../../../../testing/client/foreign_hashes.ts';
import { startHallpass, type Answer, type Hallpass, type Key } from '../../../../testing/server/server.ts';

const ASK = { grant_type: 'client_credentials', scope: '/accounts.write' };

function ask(hallpass: Hallpass, authorization: string, more: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return hallpass.form('/oauth2/token', { ...ASK, ...more }, { headers: { authorization } });
}

/** A key of this pair; otherwise only a hash of its secret is known. */
async function importPair(
  hallpass: Hallpass,
  { clientId, clientSecret }: Key,
  by: 'secret' | 'hash' | 'fast hash' = 'secret',
  more: object = {},
): Promise<void> {
  const known = {
    secret: () => ({ clientSecret }),
    hash: () => ({ clientSecretHash: hashSync(clientSecret, 4) }),
    'fast hash': () => ({ clientSecretHash: `sha256:${hexOf(clientSecret)}` }),
  }[by]();
  await hallpass.makeKey({ name: 'imported', imported: { clientId, allowWeak: true, ...known }, ...more });
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
    test(`${name}, imported by its ${by}: as it is, form-encoded and in the body, again and again`, async () => {
      const key = { ...pair, clientId: `${pair.clientId} ${by}` };
      for (const order of [0, 1]) {
        const used = { ...key, clientId: `${key.clientId} ${order}` };
        await importPair(hallpass, used, by);
        const headers = [printPlainBasic(used), printBasic(used)];
        for (const header of order === 0 ? headers : headers.toReversed()) {
          assert.equal((await ask(hallpass, header)).status, 200);
        }
        const body = { client_id: used.clientId, client_secret: used.clientSecret };
        assert.equal((await hallpass.form('/oauth2/token', { ...ASK, ...body })).status, 200);
        for (const [path, params] of [
          ['/oauth2/revoke', { token: 'x' }],
          ['/oauth2/introspect', { token: 'x' }],
        ] as const) {
          const answer = await hallpass.form(path, params, { headers: { authorization: printPlainBasic(used) } });
          assert.equal(answer.status, 200, path);
        }
        // The nearest wrong ones: one character more, and one reading mixed with the other.
        for (const wrong of [
          printPlainBasic({ ...used, clientSecret: `${used.clientSecret}+` }),
          printBasic({ ...used, clientSecret: `${used.clientSecret}+` }),
          printBasic({ ...used, clientSecret: printBasic(used) }),
        ]) {
          assert.equal((await ask(hallpass, wrong)).outcome, '401 invalid_client');
        }
      }
    });
  }
}

test('a secret of ours has one reading: its escaped form is form-decoded, and the escapes themselves are no secret', async () => {
  const key = await hallpass.makeKey();
  const escaped = `${key.clientSecret.slice(0, -1)}%${key.clientSecret.charCodeAt(42).toString(16)}`;
  assert.equal((await ask(hallpass, printPlainBasic({ ...key, clientSecret: escaped }))).status, 200);
  const twice = printBasic({ ...key, clientSecret: escaped });
  assert.equal((await ask(hallpass, twice)).outcome, '401 invalid_client');
});

test('Basic beside a body: one reading of the header has to be the same (contract §3)', async () => {
  const key = { clientId: 'beside', clientSecret: 'aGVsbG8+d29ybGQ+Zm9vYmFyYmF6' };
  await importPair(hallpass, key);
  const raw = printPlainBasic(key);
  assert.equal((await ask(hallpass, raw, { client_id: key.clientId, client_secret: key.clientSecret })).status, 200);
  const decoded = { client_secret: key.clientSecret.replaceAll('+', ' ') };
  assert.equal((await ask(hallpass, raw, decoded)).outcome, '401 invalid_client', 'it says the wrong one twice');
  assert.equal((await ask(hallpass, raw, { client_secret: 'another' })).outcome, '400 invalid_request');
});

test('two keys whose credentials are the two readings of one header: each by its own secret alone', async () => {
  const secret = 'zQ3kVb8Ls0Tn6Wm4Xr2Yp1';
  await importPair(hallpass, { clientId: 'a b', clientSecret: secret });
  await importPair(hallpass, { clientId: 'a+b', clientSecret: `${secret}X` });
  const claimOf = async (clientSecret: string): Promise<unknown> => {
    const answer = await ask(hallpass, printPlainBasic({ clientId: 'a+b', clientSecret }));
    if (answer.status !== 200) return answer.outcome;
    const [, payload = ''] = String(answer.body['access_token']).split('.');
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
    return typeof claims === 'object' && claims !== null && 'client_id' in claims ? claims.client_id : undefined;
  };
  assert.equal(await claimOf(secret), 'a b');
  assert.equal(await claimOf(`${secret}X`), 'a+b');
  assert.equal(await claimOf(`${secret}Y`), '401 invalid_client');
});

test('an id with a colon is cut by Basic as it is; form-encoded and in the body it is whole (RFC 7617 §2)', async () => {
  const key = { clientId: 'urn:partner:1', clientSecret: 'zQ3kVb8Ls0Tn6Wm4Xr2Yp1' };
  await importPair(hallpass, key);
  assert.equal((await ask(hallpass, printBasic(key))).status, 200);
  assert.equal((await ask(hallpass, printPlainBasic(key))).outcome, '401 invalid_client');
  await assert.rejects(
    importPair(hallpass, { ...key, clientId: 'urn:api:1' }, 'secret', { resourceServerFor: ['https://api.example'] }),
    { code: 'resource_server_with_colon' },
  );
});

suite('at a protected resource Basic is RFC 7617: nothing is decoded (contract §10)', () => {
  const key = { clientId: 'ping+%41', clientSecret: 'aGVsbG8+d29ybGQ%2BZm9vYmFyYmF6' };

  test('/ping', async () => {
    await importPair(hallpass, key);
    const ping = (authorization: string): Promise<Answer> => hallpass.request('/ping', { headers: { authorization } });
    assert.equal((await ping(printPlainBasic(key))).status, 200);
    assert.equal((await ping(printBasic(key))).status, 401);
  });

  test('the revocation feed', async () => {
    const server = { ...key, clientId: 'api+%41' };
    await importPair(hallpass, server, 'secret', { resourceServerFor: ['https://api.example'] });
    const read = (authorization: string): Promise<Answer> =>
      hallpass.request('/oauth2/revocations?after=', { headers: { authorization, accept: 'application/json' } });
    assert.equal((await read(printPlainBasic(server))).status, 200);
    assert.equal((await read(printBasic(server))).status, 401);
  });
});

suite('what a second reading costs', () => {
  test('a guesser pays for each password hash: with two a guess, half as many guesses (ADR 17, ADR 39)', async () => {
    const bounded = await startHallpass({ environment: { HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '20' } });
    const verifiedBefore429 = async (prefix: string): Promise<number> => {
      let verified = 0;
      // Each against another key, so that the bound of the address alone is reached.
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

  test('the right secret is let in by either reading, when the second is the one: nothing is counted', async () => {
    const bounded = await startHallpass({ environment: { HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '5' } });
    for (let at = 0; at < 10; at++) {
      // Looks form-encoded, so that the first hash is of another text.
      const key = { clientId: `partner-${at}`, clientSecret: 'zQ3k%41Vb8Ls0Tn6Wm4Xr2Yp1' };
      await importPair(bounded, key, 'fast hash');
      assert.equal((await ask(bounded, printPlainBasic(key))).status, 200);
    }
  });
});
