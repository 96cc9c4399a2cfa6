/** How a client proves who it is with a secret (RFC 6749 §2.3.1), and the one method that a key may be bound to (ADR 40). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hexOf } from '../../../../testing/client/foreign_hashes.ts';
import {
  ASK,
  basicOf,
  bodyOf,
  ENDPOINTS,
  startHallpass,
  type Answer,
  type Key,
} from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const other = await hallpass.makeKey();
const disabled = await hallpass.makeKey();
await hallpass.keys.disable(disabled.clientId);
const basicOnly = await hallpass.makeKey({ authentication: 'client_secret_basic' });
const postOnly = await hallpass.makeKey({ authentication: 'client_secret_post' });
const signer = await Signer.make();
const signing = await hallpass.makeKey({ publicKeys: [signer.jwk] });

const TOKEN = '/oauth2/token';
const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64');
const withAuthorization = (authorization: string, params: object = {}): Promise<Answer> =>
  hallpass.form(TOKEN, { ...ASK, ...params }, { headers: { authorization } });

const WAYS: Readonly<
  Record<string, (key: Key, path: string, params: Readonly<Record<string, string>>) => Promise<Answer>>
> = {
  Basic: (by, path, params) => hallpass.form(path, params, { key: by }),
  'Basic and the id in the body': (by, path, params) =>
    hallpass.form(path, { ...params, client_id: by.clientId }, { key: by }),
  'the body': (by, path, params) => hallpass.form(path, { ...params, ...bodyOf(by) }),
  'a JSON body': (by, path, params) => hallpass.json(path, { ...params, ...bodyOf(by) }),
  'both alike': (by, path, params) => hallpass.form(path, { ...params, ...bodyOf(by) }, { key: by }),
};

for (const [method, by, good] of [
  ['any method', key, Object.keys(WAYS)],
  ['client_secret_basic', basicOnly, ['Basic', 'Basic and the id in the body']],
  ['client_secret_post', postOnly, ['the body', 'a JSON body']],
  ['private_key_jwt', { ...signing, clientSecret: 'any' }, []],
] as const) {
  for (const [path, params] of ENDPOINTS) {
    test(`${path}: a key with ${method} is accepted by ${good.join(', ')}, and otherwise 401; a wrong secret always is (RFC 6749 §5.2, CA-10)`, async () => {
      for (const [way, send] of Object.entries(WAYS)) {
        const answer = await send(by, path, params);
        if (good.some((known) => known === way)) assert.ok(answer.status < 300, `${way}: ${answer.text}`);
        else assert.equal(answer.outcome, '401 invalid_client', way);
        const wrong = await send({ ...by, clientSecret: other.clientSecret }, path, params);
        assert.equal(wrong.outcome, '401 invalid_client', way);
        // The challenge comes only if the Authorization header was used.
        const challenge = way.includes('body') && !way.includes('Basic') ? /^$/ : /^Basic realm="[^"]+"/;
        assert.match(wrong.header('www-authenticate') ?? '', challenge, way);
      }
    });
  }
}

for (const [path, params] of ENDPOINTS) {
  test(`${path}: no credentials are 401 invalid_client, without a challenge (RFC 6749 §3.2.1)`, async () => {
    const answer = await hallpass.form(path, params);
    assert.equal(answer.outcome, '401 invalid_client');
    assert.equal(answer.header('www-authenticate'), undefined);
  });
}

const swapCase = (text: string): string =>
  text.replaceAll(/[A-Za-z]/g, (letter) => (letter < 'a' ? letter.toLowerCase() : letter.toUpperCase()));

for (const [name, params] of [
  ['a client_id without a secret', { client_id: key.clientId }],
  ['a secret without a client_id', { client_secret: key.clientSecret }],
  ['an empty secret', { client_id: key.clientId, client_secret: '' }],
  ["another key's secret", { client_id: key.clientId, client_secret: other.clientSecret }],
  ['a secret with a space behind it', { client_id: key.clientId, client_secret: `${key.clientSecret} ` }],
  ['a secret cut by one', { client_id: key.clientId, client_secret: key.clientSecret.slice(0, -1) }],
  ['an id in another case', { client_id: swapCase(key.clientId), client_secret: key.clientSecret }],
  ['a prototype name as id', { client_id: '__proto__', client_secret: key.clientSecret }],
  ['a fullwidth digit in the id', { client_id: `${key.clientId}１`, client_secret: key.clientSecret }],
  ['a zero-width joiner in the secret', { client_id: key.clientId, client_secret: `${key.clientSecret}‍` }],
] as const) {
  test(`${name} is 401 invalid_client (RFC 6749 §5.2)`, async () => {
    assert.equal((await hallpass.form(TOKEN, { ...ASK, ...params })).outcome, '401 invalid_client');
  });
}

test('unknown key, wrong secret, wrong method, disabled key and overlong credentials: the same bytes (contract §3)', async () => {
  const wrongs: readonly Key[] = [
    { clientId: 'nobody', clientSecret: key.clientSecret },
    { ...key, clientSecret: 'wrong' },
    { ...basicOnly, clientSecret: 'wrong' },
    postOnly,
    disabled,
    { ...disabled, clientSecret: 'wrong' },
    { ...key, clientSecret: 'x'.repeat(4000) },
    { clientId: 'x'.repeat(4000), clientSecret: 'x' },
  ];
  const answers = await Promise.all(wrongs.map((wrong) => hallpass.ask(wrong)));
  assert.equal(new Set(answers.map(({ visible }) => visible)).size, 1);
  assert.equal(answers[0]?.outcome, '401 invalid_client');
});

const good = base64(`${key.clientId}:${key.clientSecret}`);

test('the scheme is case-insensitive, with one or more spaces behind it (RFC 9110 §11.1, §11.4)', async () => {
  for (const scheme of ['Basic', 'basic', 'BASIC', 'bAsIc', 'Basic  ']) {
    assert.equal((await withAuthorization(`${scheme} ${good}`)).status, 200, scheme);
  }
});

for (const [name, authorization] of [
  ['two spaces and something behind it', `Basic  ${good} x`],
  ['a tab instead of the space', `Basic\t${good}`],
  ['something behind it', `Basic ${good} x`],
  ['a comma list', `Basic ${good}, Basic ${good}`],
  ['one character too many', `Basic ${good}A`],
  ['one character cut', `Basic ${good.slice(0, -1)}`],
  ['padding too much', `Basic ${good}=`],
  ['padding in the middle', `Basic ${good.slice(0, 4)}=${good.slice(4)}`],
  ['a character outside the alphabet', `Basic ${good.slice(0, 4)}!${good.slice(5)}`],
  ['no colon', `Basic ${base64(key.clientId)}`],
  ['nothing encoded', `Basic ${base64(':')}`],
  ['bytes that are not UTF-8', `Basic ${Buffer.from([0xff, 0x3a, 0xff]).toString('base64')}`],
  ['a bad escape in a half', `Basic ${base64(`${key.clientId}:%zz`)}`],
  ['the scheme alone', 'Basic'],
  ['Bearer', `Bearer ${good}`],
  ['another scheme', `Digest ${good}`],
  ['credentials that are not encoded', `Basic ${key.clientId}:${key.clientSecret}`],
] as const) {
  test(`an Authorization header with ${name} is 401 (RFC 7617 §2, RFC 4648 §3.3)`, async () => {
    const answer = await withAuthorization(authorization);
    assert.equal(answer.outcome, '401 invalid_client');
    assert.match(answer.header('www-authenticate') ?? '', /^Basic /);
  });
}

test('a malformed header is not saved by good credentials in the body', async () => {
  assert.equal((await withAuthorization('Basic !!!', bodyOf(key))).outcome, '401 invalid_client');
});

test('every change of one character of a good header is refused', async () => {
  for (let at = 0; at < good.length; at++) {
    const changed = `${good.slice(0, at)}${good[at] === 'A' ? 'B' : 'A'}${good.slice(at + 1)}`;
    assert.equal((await withAuthorization(`Basic ${changed}`)).outcome, '401 invalid_client', `at ${at}`);
  }
});

const importPair = async (clientId: string, clientSecret: string): Promise<Key> =>
  await hallpass
    .makeKey({ imported: { clientId, clientSecret, allowWeak: false } })
    .then(() => ({ clientId, clientSecret }));

test('the URL-safe alphabet is refused in Basic where it differs (RFC 7617 §2)', async () => {
  const odd = await importPair('odd', '~~~>>>???~~~>>>???abcdefghij');
  const encoded = base64(`${odd.clientId}:${encodeURIComponent(odd.clientSecret)}???`);
  assert.equal((await withAuthorization(basicOf(odd))).status, 200);
  assert.match(encoded, /[+/]/, 'a case with a character that differs');
  const urlSafe = encoded.replaceAll('+', '-').replaceAll('/', '_');
  assert.equal((await withAuthorization(`Basic ${urlSafe}`)).outcome, '401 invalid_client');
});

test('each half is form-encoded before it is joined (RFC 6749 §2.3.1)', async () => {
  const odd = await importPair('id:with+odd%signs', 'secret&with=odd+signs%20:inside');
  const encoded = `${encodeURIComponent(odd.clientId)}:${encodeURIComponent(odd.clientSecret)}`;
  assert.equal((await withAuthorization(`Basic ${base64(encoded)}`)).status, 200);
  assert.equal((await withAuthorization(`Basic ${base64(`${odd.clientId}:${odd.clientSecret}`)}`)).status, 401);
});

test('secrets that differ in their last character only, or behind their first 72 bytes, are different', async () => {
  const head = 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(2);
  for (const [clientId, clientSecret, wrong] of [
    ['5clTR_MdVrrkgxw2', 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-', 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4_'],
    ['long', `${head}-one`, `${head}-two`],
  ] as const) {
    const imported = await importPair(clientId, clientSecret);
    assert.equal((await withAuthorization(`Basic ${base64(`${clientId}:${clientSecret}`)}`)).status, 200);
    assert.equal((await hallpass.ask({ ...imported, clientSecret: wrong })).outcome, '401 invalid_client');
  }
});

for (const [name, body, outcome] of [
  ['the same in both', bodyOf(key), '200'],
  ['the id alone in the body', { client_id: key.clientId }, '200'],
  ['the secret alone in the body', { client_secret: key.clientSecret }, '200'],
  ['empty ones in the body', { client_id: '', client_secret: '' }, '200'],
  ['another id in the body', { ...bodyOf(key), client_id: other.clientId }, '400 invalid_request'],
  ['another id alone in the body', { client_id: other.clientId }, '400 invalid_request'],
  ['another secret in the body', { ...bodyOf(key), client_secret: 'x' }, '400 invalid_request'],
  ['another good pair in the body', bodyOf(other), '400 invalid_request'],
] as const) {
  test(`Basic and body together, ${name}: ${outcome} (contract §3)`, async () => {
    assert.equal((await hallpass.ask(key, body)).outcome, outcome);
    assert.equal((await hallpass.json(TOKEN, { ...ASK, ...body }, { key })).outcome, outcome);
  });
}

test('authentication comes before the grant: a wrong secret hides what else is wrong', async () => {
  const wrong = { ...key, clientSecret: 'wrong' };
  for (const params of [{}, { grant_type: 'nonsense' }, { grant_type: 'refresh_token' }]) {
    assert.equal((await hallpass.form(TOKEN, params, { key: wrong })).outcome, '401 invalid_client');
  }
});

test('a malformed client assertion is 401, like any failed authentication (contract §3)', async () => {
  const client_assertion_type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
  const params = { ...ASK, client_id: key.clientId, client_assertion_type, client_assertion: 'a.b.c' };
  assert.equal((await hallpass.form(TOKEN, params)).outcome, '401 invalid_client');
});

test('a key that must send its secret in the body is refused over Basic at /ping as well', async () => {
  const ping = async (by: Key): Promise<number> =>
    (await hallpass.request('/ping', { headers: { authorization: basicOf(by) } })).status;
  assert.deepEqual([await ping(key), await ping(basicOnly), await ping(postOnly)], [200, 200, 401]);
});

test('a secret sent the wrong way is not checked against an imported hash, and the hash is kept', async () => {
  const clientSecret = 'imported-zQ3kVb8Ls0Tn6Wm4Xr2Yp1';
  const imported = { clientId: 'imported', clientSecretHash: `sha256:${hexOf(clientSecret)}`, allowWeak: false };
  const used = { ...(await hallpass.makeKey({ authentication: 'client_secret_basic', imported })), clientSecret };
  const isKept = async (): Promise<boolean> =>
    (await hallpass.instance.store.findClient('imported'))?.secrets[0]?.foreign !== undefined;
  assert.equal((await hallpass.form(TOKEN, { ...ASK, ...bodyOf(used) })).outcome, '401 invalid_client');
  assert.ok(await isKept());
  assert.equal((await hallpass.ask(used)).status, 200);
  assert.ok(!(await isKept()));
});

test('a key can change between the methods of a secret, at once, and its secret can still be rotated', async () => {
  const changing = await hallpass.makeKey({ authentication: 'client_secret_post' });
  const update = async (changes: object): Promise<unknown> =>
    (await hallpass.keys.update(changing.clientId, changes)).authentication;
  assert.equal((await hallpass.ask(changing)).status, 401);
  assert.equal(await update({ authentication: 'client_secret_basic' }), 'client_secret_basic');
  assert.equal((await hallpass.ask(changing)).status, 200);
  assert.equal(await update({ name: 'renamed' }), 'client_secret_basic');
  assert.equal((await hallpass.ask(await hallpass.rotateSecret(changing, 0))).status, 200);
});

test('a method that does not fit what the key has is refused, at creation and at a change', async () => {
  const needsKeys = { code: 'authentication_needs_public_keys' };
  const needsSecret = { code: 'authentication_needs_secret' };
  await assert.rejects(hallpass.makeKey({ authentication: 'private_key_jwt' }), needsKeys);
  await assert.rejects(hallpass.keys.update(key.clientId, { authentication: 'private_key_jwt' }), needsKeys);
  await assert.rejects(hallpass.keys.update(signing.clientId, { authentication: 'client_secret' }), needsSecret);
  await assert.rejects(hallpass.makeKey({ authentication: 'client_secret_basic', publicKeys: [signer.jwk] }), {
    ...needsSecret,
    data: { authentication: 'client_secret_basic' },
  });
});
