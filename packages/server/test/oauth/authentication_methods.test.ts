/** The one way in which a key authenticates (contract §6, RFC 6749 §2.3.1; ADR 40). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHash } from 'node:crypto';
import { startHallpass, type Answer, type Key } from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const ASK = { grant_type: 'client_credentials', scope: '/accounts.write' };
const hallpass = await startHallpass();
const either = await hallpass.makeKey();
const basicOnly = await hallpass.makeKey({ authentication: 'client_secret_basic' });
const postOnly = await hallpass.makeKey({ authentication: 'client_secret_post' });
const signer = await Signer.make();
const signs = await hallpass.makeKey({ publicKeys: [signer.jwk] });

const inBody = ({ clientId, clientSecret }: Key): Readonly<Record<string, string>> => ({
  client_id: clientId,
  client_secret: clientSecret,
});
const WAYS: Readonly<
  Record<string, (key: Key, path: string, params: Readonly<Record<string, string>>) => Promise<Answer>>
> = {
  Basic: (key, path, params) => hallpass.form(path, params, { key }),
  'Basic and the id in the body': (key, path, params) =>
    hallpass.form(path, { ...params, client_id: key.clientId }, { key }),
  'the body': (key, path, params) => hallpass.form(path, { ...params, ...inBody(key) }),
  'a JSON body': (key, path, params) => hallpass.json(path, { ...params, ...inBody(key) }),
  'both alike': (key, path, params) => hallpass.form(path, { ...params, ...inBody(key) }, { key }),
};

for (const [name, key, good] of [
  ['either', either, ['Basic', 'Basic and the id in the body', 'the body', 'a JSON body', 'both alike']],
  ['client_secret_basic', basicOnly, ['Basic', 'Basic and the id in the body']],
  ['client_secret_post', postOnly, ['the body', 'a JSON body']],
  ['private_key_jwt', { ...signs, clientSecret: 'any' }, []],
] as const) {
  for (const [path, params] of [
    ['/oauth2/token', ASK],
    ['/oauth2/revoke', { token: 'x' }],
    ['/oauth2/introspect', { token: 'x' }],
  ] as const) {
    test(`${name}: at ${path} by ${good.join(', ')} alone, and otherwise 401 (CA-10)`, async () => {
      for (const [way, send] of Object.entries(WAYS)) {
        const answer = await send(key, path, params);
        if (good.some((known) => known === way)) assert.ok(answer.status < 300, `${way}: ${answer.text}`);
        else assert.equal(answer.outcome, '401 invalid_client', way);
      }
    });
  }
}

test('another method, a wrong secret and an unknown key are one answer, byte for byte (contract §3)', async () => {
  const shown = ({ status, headers, text }: Answer): string =>
    JSON.stringify([status, [...headers].filter(([name]) => name !== 'x-request-id' && name !== 'date'), text]);
  const answers = await Promise.all(
    [postOnly, { ...basicOnly, clientSecret: 'wrong' }, { clientId: 'nobody', clientSecret: 'x' }].map((key) =>
      hallpass.form('/oauth2/token', ASK, { key }),
    ),
  );
  assert.equal(new Set(answers.map(shown)).size, 1);
});

test('a key that takes its secret in the body alone is refused over Basic at /ping as well', async () => {
  assert.equal((await hallpass.form('/oauth2/token', ASK, { key: postOnly })).status, 401);
  const ping = async (key: Key): Promise<number> =>
    (
      await hallpass.request('/ping', {
        headers: { authorization: `Basic ${btoa(`${key.clientId}:${key.clientSecret}`)}` },
      })
    ).status;
  assert.deepEqual([await ping(either), await ping(basicOnly), await ping(postOnly)], [200, 200, 401]);
});

test('an imported hash is not even checked for a secret that comes the wrong way, and is kept', async () => {
  const clientSecret = 'imported-zQ3kVb8Ls0Tn6Wm4Xr2Yp1';
  const clientSecretHash = `sha256:${createHash('sha256').update(clientSecret).digest('hex')}`;
  const key = await hallpass.makeKey({
    authentication: 'client_secret_basic',
    imported: { clientId: 'imported', clientSecretHash, allowWeak: false },
  });
  const isKept = async (): Promise<boolean> =>
    (await hallpass.instance.store.findClient('imported'))?.secrets[0]?.foreign !== undefined;
  const used = { ...key, clientSecret };
  assert.equal((await hallpass.form('/oauth2/token', { ...ASK, ...inBody(used) })).outcome, '401 invalid_client');
  assert.ok(await isKept());
  assert.equal((await hallpass.form('/oauth2/token', ASK, { key: used })).status, 200);
  assert.ok(!(await isKept()));
});

test('the method can be changed between those of a secret, at once, and its secret is rotated as ever', async () => {
  const key = await hallpass.makeKey({ authentication: 'client_secret_post' });
  assert.equal((await hallpass.form('/oauth2/token', ASK, { key })).status, 401);
  const changed = await hallpass.keys.update(key.clientId, { authentication: 'client_secret_basic' });
  assert.equal(changed.authentication, 'client_secret_basic');
  assert.equal((await hallpass.form('/oauth2/token', ASK, { key })).status, 200);
  assert.equal((await hallpass.keys.update(key.clientId, { name: 'renamed' })).authentication, 'client_secret_basic');
  const rotated = await hallpass.rotateSecret(key, 0);
  assert.equal((await hallpass.form('/oauth2/token', ASK, { key: rotated })).status, 200);
});

test('a method that does not go with what the key has is refused, where it is made and where it is changed', async () => {
  await assert.rejects(hallpass.makeKey({ authentication: 'private_key_jwt' }), {
    code: 'authentication_needs_public_keys',
  });
  await assert.rejects(hallpass.makeKey({ authentication: 'client_secret_basic', publicKeys: [signer.jwk] }), {
    code: 'authentication_needs_secret',
    data: { authentication: 'client_secret_basic' },
  });
  await assert.rejects(hallpass.keys.update(signs.clientId, { authentication: 'client_secret' }), {
    code: 'authentication_needs_secret',
  });
  await assert.rejects(hallpass.keys.update(either.clientId, { authentication: 'private_key_jwt' }), {
    code: 'authentication_needs_public_keys',
  });
});

test('the metadata names what the server takes, not what a key takes (RFC 8414 §2)', async () => {
  const { body } = await hallpass.request('/.well-known/oauth-authorization-server');
  assert.deepEqual(body['token_endpoint_auth_methods_supported'], [
    'client_secret_basic',
    'client_secret_post',
    'private_key_jwt',
  ]);
});
