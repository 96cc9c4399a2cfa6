import assert from 'node:assert/strict';
import { test } from 'node:test';
import { basicOf, startHallpass, type Key } from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const other = await hallpass.makeKey();
const disabled = await hallpass.makeKey();
await hallpass.keys.disable(disabled.clientId);

const TOKEN = '/oauth2/token';
const ASK = { grant_type: 'client_credentials', scope: '/accounts.write' };
const inBody = ({ clientId, clientSecret }: Key): { readonly client_id: string; readonly client_secret: string } => ({
  client_id: clientId,
  client_secret: clientSecret,
});
const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64');
const withAuthorization = (authorization: string): ReturnType<typeof hallpass.form> =>
  hallpass.form(TOKEN, ASK, { headers: { authorization } });

for (const [endpoint, params] of [
  [TOKEN, ASK],
  ['/oauth2/revoke', { token: 'x' }],
  ['/oauth2/introspect', { token: 'x' }],
] as const) {
  test(`${endpoint}: no credentials are 401 invalid_client (RFC 6749 §3.2.1)`, async () => {
    const answer = await hallpass.form(endpoint, params);
    assert.equal(answer.outcome, '401 invalid_client');
    assert.equal(answer.header('www-authenticate'), undefined, 'the Authorization header was not used');
  });

  test(`${endpoint}: Basic is accepted, and a wrong secret is 401 with the Basic challenge (RFC 6749 §5.2)`, async () => {
    assert.equal((await hallpass.form(endpoint, params, { key })).status, 200);
    const wrong = await hallpass.form(endpoint, params, { key: { ...key, clientSecret: other.clientSecret } });
    assert.equal(wrong.outcome, '401 invalid_client');
    assert.match(wrong.header('www-authenticate') ?? '', /^Basic realm="[^"]+"/);
  });

  test(`${endpoint}: credentials in the body are accepted in both dialects, wrong ones refused (RFC 6749 §2.3.1)`, async () => {
    assert.equal((await hallpass.form(endpoint, { ...params, ...inBody(key) })).status, 200);
    assert.ok((await hallpass.json(endpoint, { ...params, ...inBody(key) })).status < 300);
    const wrong = inBody({ ...key, clientSecret: `${key.clientSecret}x` });
    for (const answer of [
      await hallpass.form(endpoint, { ...params, ...wrong }),
      await hallpass.json(endpoint, { ...params, ...wrong }),
    ]) {
      assert.equal(answer.outcome, '401 invalid_client');
      assert.equal(answer.header('www-authenticate'), undefined);
    }
  });
}

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

function swapCase(text: string): string {
  return text.replaceAll(/[A-Za-z]/g, (letter) => (letter < 'a' ? letter.toLowerCase() : letter.toUpperCase()));
}

test('unknown key, wrong secret, disabled key and a secret that is too long: the same bytes (contract §3)', async () => {
  const wrongs: readonly Key[] = [
    { clientId: 'nobody', clientSecret: key.clientSecret },
    { ...key, clientSecret: 'wrong' },
    disabled,
    { ...disabled, clientSecret: 'wrong' },
    { ...key, clientSecret: 'x'.repeat(4000) },
    { clientId: 'x'.repeat(4000), clientSecret: 'x' },
  ];
  const answers = await Promise.all(wrongs.map((wrong) => hallpass.form(TOKEN, ASK, { key: wrong })));
  const visible = answers.map(({ status, headers, text }) =>
    JSON.stringify([status, [...headers].filter(([name]) => name !== 'x-request-id' && name !== 'date'), text]),
  );
  assert.equal(new Set(visible).size, 1, visible.join('\n'));
  assert.equal(answers[0]?.outcome, '401 invalid_client');
});

test('the scheme is case-insensitive (RFC 9110 §11.1)', async () => {
  const credentials = base64(`${key.clientId}:${key.clientSecret}`);
  for (const scheme of ['Basic', 'basic', 'BASIC', 'bAsIc']) {
    assert.equal((await withAuthorization(`${scheme} ${credentials}`)).status, 200, scheme);
  }
});

test('one or more spaces stand behind the scheme (RFC 9110 §11.4)', async () => {
  const credentials = base64(`${key.clientId}:${key.clientSecret}`);
  assert.equal((await withAuthorization(`Basic   ${credentials}`)).status, 200);
});

const good = base64(`${key.clientId}:${key.clientSecret}`);
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
  ['not encoded', `Basic ${key.clientId}:${key.clientSecret}`],
] as const) {
  test(`an Authorization header with ${name} is 401 invalid_client (RFC 7617 §2, RFC 4648 §3.3)`, async () => {
    const answer = await withAuthorization(authorization);
    assert.equal(answer.outcome, '401 invalid_client');
    assert.match(answer.header('www-authenticate') ?? '', /^Basic /);
  });
}

test('the url-safe alphabet is no Basic, where it differs (RFC 7617 §2)', async () => {
  const odd = { clientId: 'odd', clientSecret: '~~~>>>???~~~>>>???abcdefghij' };
  await hallpass.makeKey({ imported: { ...odd, allowWeak: false } });
  const plain = basicOf(odd);
  const encoded = base64(`${odd.clientId}:${encodeURIComponent(odd.clientSecret)}???`);
  assert.equal((await withAuthorization(plain)).status, 200);
  assert.match(encoded, /[+/]/, 'a case with a character that differs');
  assert.equal(
    (await withAuthorization(`Basic ${encoded.replaceAll('+', '-').replaceAll('/', '_')}`)).outcome,
    '401 invalid_client',
  );
});

test('every change of one character of a good header is refused, but for the case of the scheme', async () => {
  for (let at = 0; at < good.length; at++) {
    const changed = `${good.slice(0, at)}${good[at] === 'A' ? 'B' : 'A'}${good.slice(at + 1)}`;
    assert.equal((await withAuthorization(`Basic ${changed}`)).outcome, '401 invalid_client', `at ${at}`);
  }
});

test('each half is form-encoded before it is joined (RFC 6749 §2.3.1)', async () => {
  const odd = { clientId: 'id:with+odd%signs', clientSecret: 'secret&with=odd+signs%20:inside' };
  await hallpass.makeKey({ imported: { ...odd, allowWeak: false } });
  const encoded = `${encodeURIComponent(odd.clientId)}:${encodeURIComponent(odd.clientSecret)}`;
  assert.equal((await withAuthorization(`Basic ${base64(encoded)}`)).status, 200);
  assert.equal((await withAuthorization(`Basic ${base64(`${odd.clientId}:${odd.clientSecret}`)}`)).status, 401);
});

test('an imported pair without odd characters reads the same raw and encoded', async () => {
  const imported = { clientId: '5clTR_MdVrrkgxw2', clientSecret: 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-' };
  await hallpass.makeKey({ imported: { ...imported, allowWeak: false } });
  assert.equal(
    (await withAuthorization(`Basic ${base64(`${imported.clientId}:${imported.clientSecret}`)}`)).status,
    200,
  );
  assert.equal((await hallpass.json(TOKEN, { ...ASK, ...inBody(imported) })).status, 200);
  const wrong = { ...imported, clientSecret: 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4_' };
  assert.equal((await hallpass.json(TOKEN, { ...ASK, ...inBody(wrong) })).outcome, '401 invalid_client');
});

for (const [name, body, outcome] of [
  ['the same in both', inBody(key), '200'],
  ['the id alone in the body', { client_id: key.clientId }, '200'],
  ['the secret alone in the body', { client_secret: key.clientSecret }, '200'],
  ['empty ones in the body', { client_id: '', client_secret: '' }, '200'],
  ['another id in the body', { ...inBody(key), client_id: other.clientId }, '400 invalid_request'],
  ['another id alone in the body', { client_id: other.clientId }, '400 invalid_request'],
  ['another secret in the body', { ...inBody(key), client_secret: 'x' }, '400 invalid_request'],
  ['another good pair in the body', inBody(other), '400 invalid_request'],
] as const) {
  test(`Basic and body together, ${name}: ${outcome} (contract §3)`, async () => {
    assert.equal((await hallpass.form(TOKEN, { ...ASK, ...body }, { key })).outcome, outcome);
    assert.equal((await hallpass.json(TOKEN, { ...ASK, ...body }, { key })).outcome, outcome);
  });
}

test('a malformed header is not saved by good credentials in the body', async () => {
  const answer = await hallpass.form(TOKEN, { ...ASK, ...inBody(key) }, { headers: { authorization: 'Basic !!!' } });
  assert.equal(answer.outcome, '401 invalid_client');
});

test('secrets that agree in their first 72 bytes are different secrets', async () => {
  const head = 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(2);
  const long = { clientId: 'long', clientSecret: `${head}-one` };
  await hallpass.makeKey({ imported: { ...long, allowWeak: false } });
  assert.equal((await hallpass.form(TOKEN, ASK, { key: long })).status, 200);
  assert.equal(
    (await hallpass.form(TOKEN, ASK, { key: { ...long, clientSecret: `${head}-two` } })).outcome,
    '401 invalid_client',
  );
});

test('authentication comes before the grant: a wrong secret hides what else is wrong', async () => {
  const wrong = { ...key, clientSecret: 'wrong' };
  for (const params of [{}, { grant_type: 'nonsense' }, { grant_type: 'refresh_token' }]) {
    assert.equal((await hallpass.form(TOKEN, params, { key: wrong })).outcome, '401 invalid_client');
  }
});

test('a client assertion that is none: 401, like any failed authentication (contract §3)', async () => {
  const params = {
    ...ASK,
    client_id: key.clientId,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: 'a.b.c',
  };
  assert.equal((await hallpass.form(TOKEN, params)).outcome, '401 invalid_client');
});
