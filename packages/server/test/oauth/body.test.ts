import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BODY_BYTES_MAX, PARAMETERS_MAX } from '@hallpass/protocol';
import { basicOf, startHallpass, tokensOf, type Answer } from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const withDefault = await hallpass.makeKey({ defaultScopes: ['/accounts.read'] });
const TOKEN = '/oauth2/token';
const FORM = 'application/x-www-form-urlencoded';
const ASK = { grant_type: 'client_credentials', scope: '/accounts.write' };
const ASK_FORM = 'grant_type=client_credentials&scope=%2Faccounts.write';
const ASK_JSON = JSON.stringify(ASK);

function send(body: string | Uint8Array<ArrayBuffer>, type: string | undefined, path = TOKEN): Promise<Answer> {
  const headers = { authorization: basicOf(key), ...(type === undefined ? {} : { 'content-type': type }) };
  // Bytes, since fetch would label a text by itself.
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  return hallpass.request(path, { method: 'POST', headers, body: bytes });
}

for (const [type, body] of [
  [FORM, ASK_FORM],
  [`${FORM}; charset=UTF-8`, ASK_FORM],
  [`${FORM};charset=utf-8`, ASK_FORM],
  ['Application/X-WWW-Form-URLencoded', ASK_FORM],
  ['application/json', ASK_JSON],
  ['APPLICATION/JSON; charset=utf-8', ASK_JSON],
  ['application/json', ` \n\t${ASK_JSON}\n`],
  [`${FORM}; charset="UTF-8"`, ASK_FORM],
  [`${FORM} ; Charset=uTf-8 ;`, ASK_FORM],
  [`${FORM}; boundary="a;b=\\"c"; charset=utf-8`, ASK_FORM],
  ['application/json; version=1', ASK_JSON],
  [FORM, ASK_JSON],
  [FORM, ` \r\n\t${ASK_JSON}`],
] as const) {
  test(`${type} is read: ${JSON.stringify(body.slice(0, 12))}... (contract §3, RFC 9110 §8.3)`, async () => {
    assert.equal((await send(body, type)).status, 200);
  });
}

for (const type of [
  undefined,
  'text/plain',
  'multipart/form-data; boundary=x',
  'application/xml',
  'application/jsonp',
  'application/x-www-form-urlencoded, application/json',
  'application/jwt',
  '*/*',
  'nonsense',
  '/',
]) {
  test(`a body labelled ${String(type)} is 415 invalid_request on every endpoint (contract §3)`, async () => {
    for (const path of [TOKEN, '/oauth2/revoke', '/oauth2/introspect']) {
      for (const body of [ASK_FORM, ASK_JSON])
        assert.equal((await send(body, type, path)).outcome, '415 invalid_request');
    }
  });
}

for (const [parameters, named] of [
  ['charset=utf-16', 'utf-16'],
  ['charset=iso-8859-1', 'iso-8859-1'],
  ['charset="ISO-8859-1"', 'ISO-8859-1'],
  ['CHARSET=us-ascii', 'us-ascii'],
  ['charset=', 'an empty one'],
  ['charset=""', 'an empty one'],
  ['charset=utf-8; charset=utf-16', 'utf-8, utf-16'],
  ['charset="utf-8\\" x"', 'utf-8? x'],
  ['a=b; charset=utf-7', 'utf-7'],
  [`charset=${'x'.repeat(500)}`, 'x'.repeat(40)],
] as const) {
  test(`${parameters.slice(0, 40)} is 415, with the charset named, under both labels and on every endpoint (RFC 9110 §8.3.2)`, async () => {
    for (const path of [TOKEN, '/oauth2/revoke', '/oauth2/introspect']) {
      for (const [type, body] of [
        [FORM, ASK_FORM],
        ['application/json', ASK_JSON],
      ] as const) {
        const answer = await send(body, `${type}; ${parameters}`, path);
        assert.equal(answer.outcome, '415 invalid_request');
        assert.ok(String(answer.body['error_description']).endsWith(`: ${named}`), answer.text);
      }
    }
  });
}

for (const type of [
  `${FORM}; charset = utf-16`,
  `${FORM}; charset`,
  `${FORM}; charset="utf-8`,
  `${FORM} charset=utf-8`,
]) {
  test(`a label with a malformed parameter is 415: ${type} (RFC 9110 §5.6.6)`, async () => {
    assert.equal((await send(ASK_FORM, type)).outcome, '415 invalid_request');
  });
}

test('an encoded body is 415, and the response says why; identity is read (RFC 9110 §8.4)', async () => {
  const encoded = (coding: string): Promise<Answer> =>
    hallpass.form(TOKEN, ASK, { key, headers: { 'content-encoding': coding } });
  for (const coding of ['gzip', 'GZIP', 'br', 'deflate', 'identity, gzip']) {
    const answer = await encoded(coding);
    assert.equal(answer.outcome, '415 invalid_request', coding);
    assert.ok(String(answer.body['error_description']).endsWith(`: ${coding.toLowerCase()}`), answer.text);
    assert.equal(answer.header('accept-encoding'), 'identity');
  }
  assert.equal((await encoded('identity')).status, 200);
});

for (const [name, body, named] of [
  ['a known name', `${ASK_FORM}&scope=%2Faccounts.read`, ': scope'],
  ['an unknown name', `${ASK_FORM}&foo=1&foo=2`, ': foo'],
  ['a name that could break a header', `${ASK_FORM}&%0d%0a%22%c3%a9=1&%0d%0a%22%c3%a9=2`, ': ????'],
  ['no name', `${ASK_FORM}&=1&=2`, ': one without a name'],
  ['a long name', `${ASK_FORM}&${'n'.repeat(300)}=1&${'n'.repeat(300)}=2`, `: ${'n'.repeat(64)}`],
] as const) {
  test(`given twice, ${name}: the answer says which (RFC 6749 §3.2, §5.2)`, async () => {
    const answer = await send(body, FORM);
    assert.equal(answer.outcome, '400 invalid_request');
    assert.ok(String(answer.body['error_description']).endsWith(named), answer.text);
  });
}

for (const [body, named] of [
  ['{"scope":"/a.read","scope":"/b.read"}', ': scope'],
  ['{"grant_type":1}', ': grant_type'],
  ['{"scope":["/a.read"]}', ': scope'],
  ['{"resource":["https://a.example",7]}', ': resource'],
  ['{"client_id":"\\ud800"}', ': client_id'],
] as const) {
  test(`${body}: the answer says which parameter it is about`, async () => {
    const answer = await send(body, 'application/json');
    assert.equal(answer.outcome, '400 invalid_request');
    assert.ok(String(answer.body['error_description']).endsWith(named), answer.text);
  });
}

for (const [scope, named] of [
  ['/accounts.read accounts.write', 'accounts.write (scope 2 of 2: it does not begin with a slash)'],
  ['/accounts.read  /accounts.write', 'an empty word (scope 2 of 3: there is an extra space before or after it)'],
  ['/accounts.read /a"\\\r\n.read', '/a????.read (scope 2 of 2: a segment has a character that is not allowed)'],
  [`/${'x'.repeat(600)}.read`, `/${'x'.repeat(99)}... (scope 1 of 1: longer than 512 characters)`],
  [Array.from({ length: 101 }, (_, at) => `/s${at}.read`).join(' '), 'more than 100 scopes'],
] as const) {
  test(`a malformed scope is named, with its place: ${named.slice(-60)}`, async () => {
    const answer = await hallpass.form(TOKEN, { ...ASK, scope }, { key });
    assert.equal(answer.outcome, '400 invalid_scope');
    assert.ok(String(answer.body['error_description']).endsWith(`: ${named}`), answer.text);
  });
}

test('a form labelled as JSON is 400, not guessed at', async () => {
  assert.equal((await send(ASK_FORM, 'application/json')).outcome, '400 invalid_request');
});

for (const [name, body] of [
  ['a bad escape', 'grant_type=client_credentials&scope=%zz'],
  ['a cut escape', 'grant_type=client_credentials&scope=%2'],
  ['a lone percent sign', 'grant_type=client_credentials&scope=%'],
  ['an escape that is no UTF-8', 'grant_type=client_credentials&scope=%ff'],
  ['an overlong escape', 'grant_type=client_credentials&scope=%c0%af'],
  ['a surrogate', 'grant_type=client_credentials&scope=%ed%a0%80'],
  ['a bad escape in a name', 'grant_type=client_credentials&sc%zzope=/accounts.write'],
  ['a bad escape in a parameter that nobody reads', `${ASK_FORM}&foo=%zz`],
] as const) {
  test(`a form with ${name} is refused, not repaired (RFC 6749 appendix B)`, async () => {
    assert.equal((await send(body, FORM)).outcome, '400 invalid_request');
  });
}

test('bytes that are not UTF-8 are refused in both dialects', async () => {
  const bad = (text: string): Uint8Array<ArrayBuffer> =>
    Uint8Array.from(Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0x22, 0x7d])]));
  assert.equal((await send(bad('scope='), FORM)).outcome, '400 invalid_request');
  assert.equal((await send(bad('{"scope":"'), 'application/json')).outcome, '400 invalid_request');
});

for (const body of [
  '',
  '[]',
  'null',
  '"text"',
  '1',
  '{',
  `${ASK_JSON}x`,
  '{"scope":}',
  `${ASK_JSON}${ASK_JSON}`,
  `\ufeff${ASK_JSON}`,
]) {
  test(`${JSON.stringify(body)} is no flat JSON object: 400 invalid_request`, async () => {
    assert.equal((await send(body, 'application/json')).outcome, '400 invalid_request');
  });
}

test('an empty form lacks its grant_type', async () => {
  assert.equal((await send('', FORM)).outcome, '400 invalid_request');
});

for (const value of [1, true, {}, ['/accounts.write'], 1.5]) {
  test(`a known member that is ${JSON.stringify(value)} is refused, an unknown one ignored (contract §9)`, async () => {
    for (const name of [
      'scope',
      'grant_type',
      'refresh_token',
      'token',
      'client_id',
      'client_secret',
      'token_type_hint',
    ]) {
      assert.equal(
        (await hallpass.json(TOKEN, { ...ASK, [name]: value }, { key })).outcome,
        '400 invalid_request',
        name,
      );
    }
    assert.equal((await hallpass.json(TOKEN, { ...ASK, foo: value }, { key })).status, 200);
  });
}

test('null is absent in JSON, as an empty value is in both dialects (contract §3)', async () => {
  for (const nothing of [null, '']) {
    const answer = await hallpass.json(TOKEN, { ...ASK, scope: nothing, refresh_token: nothing }, { key: withDefault });
    assert.equal(tokensOf(answer).scope, '/accounts.read');
  }
  assert.equal(
    tokensOf(await hallpass.form(TOKEN, { ...ASK, scope: '' }, { key: withDefault })).scope,
    '/accounts.read',
  );
});

for (const [name, pairs] of [
  ['scope, both alike', ['scope=/accounts.write', 'scope=/accounts.write']],
  ['scope, two values', ['scope=/accounts.write', 'scope=/accounts.read']],
  ['scope, empty first', ['scope=', 'scope=/accounts.write']],
  ['scope, empty last', ['scope=/accounts.write', 'scope=']],
  ['scope, one of them escaped', ['scope=/accounts.write', '%73cope=/accounts.write']],
  ['grant_type', ['grant_type=client_credentials']],
  ['client_id', ['client_id=a', 'client_id=a']],
  ['client_secret', ['client_secret=a', 'client_secret=a']],
  ['refresh_token, which is not even used', ['refresh_token=a', 'refresh_token=a']],
  ['token', ['token=a', 'token=b']],
  ['token_type_hint', ['token_type_hint=a', 'token_type_hint=b']],
  ['an unknown one', ['foo=1', 'foo=2']],
  ['__proto__', ['__proto__=1', '__proto__=2']],
  ['an empty name', ['=1', '=2']],
] as const) {
  test(`a form that gives a parameter twice is 400: ${name} (RFC 6749 §3.2)`, async () => {
    const more = name.startsWith('scope') ? [] : ['scope=/accounts.write'];
    const answer = await hallpass.form(TOKEN, ['grant_type=client_credentials', ...more, ...pairs].join('&'), { key });
    assert.equal(answer.outcome, '400 invalid_request');
  });
}

for (const json of [
  '{"grant_type":"client_credentials","scope":"/accounts.write","scope":"/accounts.write"}',
  '{"grant_type":"client_credentials","scope":null,"scope":"/accounts.write"}',
  String.raw`{"grant_type":"client_credentials","scope":"/accounts.write","\u0073cope":"/accounts.read"}`,
  '{"grant_type":"client_credentials","scope":"/accounts.write","foo":1,"foo":{}}',
  '{"__proto__":1,"grant_type":"client_credentials","scope":"/accounts.write","__proto__":2}',
  '{"grant_type":"client_credentials","foo":{"a":["}"]},"scope":"/accounts.write","foo":"x"}',
]) {
  test(`JSON that gives a member twice is 400, under both labels: ${json}`, async () => {
    assert.equal((await send(json, 'application/json')).outcome, '400 invalid_request');
    assert.equal((await send(json, FORM)).outcome, '400 invalid_request');
  });
}

test('duplicate names inside an unknown member are ignored', async () => {
  const json = String.raw`{"grant_type":"client_credentials","foo":{"a":1,"a":[{"scope":"\"}"},{"scope":2}]},"scope":"/accounts.write"}`;
  assert.equal((await send(json, 'application/json')).status, 200);
});

test('only resource may repeat: in a form, and as an array in JSON (RFC 8707 §2)', async () => {
  const two = await hallpass.makeKey({ audiences: ['https://a.example.com', 'https://b.example.com'] });
  const resource = ['https://a.example.com', 'https://b.example.com'];
  assert.equal((await hallpass.form(TOKEN, { ...ASK, resource }, { key: two })).status, 200);
  assert.equal((await hallpass.json(TOKEN, { ...ASK, resource }, { key: two })).status, 200);
  assert.equal((await hallpass.json(TOKEN, { ...ASK, resource: [] }, { key: two })).status, 200);
  assert.equal((await hallpass.json(TOKEN, { ...ASK, resource: null }, { key: two })).status, 200);
  for (const bad of [1, {}, [1], [null], [resource]]) {
    assert.equal((await hallpass.json(TOKEN, { ...ASK, resource: bad }, { key: two })).outcome, '400 invalid_request');
  }
});

// The two dialects (contract §3): a required field that is missing or empty.
for (const [path, field, error, params] of [
  [TOKEN, 'scope', 'invalid_scope', { grant_type: 'client_credentials' }],
  [TOKEN, 'refresh_token', 'invalid_request', { grant_type: 'refresh_token' }],
  ['/oauth2/revoke', 'token', 'invalid_request', {}],
  ['/oauth2/introspect', 'token', 'invalid_request', {}],
] as const) {
  for (const absent of [{}, { [field]: '' }]) {
    const how = field in absent ? 'empty' : 'missing';
    test(`${path} with ${field} ${how}: a form is 400 ${error}, JSON 422 with a member ${field} (contract §3)`, async () => {
      const form = await hallpass.form(path, { ...params, ...absent }, { key });
      assert.equal(form.outcome, `400 ${error}`);
      assert.deepEqual(Object.keys(form.body).toSorted(), ['error', 'error_description']);
      const body = JSON.stringify({ ...params, ...absent });
      for (const type of ['application/json', FORM]) {
        const json = await send(body, type, path);
        assert.equal(json.outcome, `422 ${error}`);
        assert.deepEqual(Object.keys(json.body).toSorted(), ['error', 'error_description', field].toSorted());
        assert.match(String(json.body[field]), /^[A-Z]?.* .*\.$/, 'a sentence');
      }
    });
  }
}

test('a missing grant_type is 400 in both dialects: it is not among the fields of the 422 (contract §3)', async () => {
  assert.equal((await hallpass.form(TOKEN, {}, { key })).outcome, '400 invalid_request');
  assert.equal((await hallpass.json(TOKEN, {}, { key })).outcome, '400 invalid_request');
});

// Limits, at their boundary.
const padTo = (bytes: number): string => `${ASK_FORM}&pad=${'x'.repeat(bytes - ASK_FORM.length - '&pad='.length)}`;

test('a body of 16 KiB is read, one byte more is 413 invalid_request (contract §3)', async () => {
  assert.equal((await send(padTo(BODY_BYTES_MAX), FORM)).status, 200);
  const over = await send(padTo(BODY_BYTES_MAX + 1), FORM);
  assert.equal(over.outcome, '413 invalid_request');
  assert.match(over.header('cache-control') ?? '', /no-store/);
  assert.match(over.header('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
});

test('the limit holds for JSON, and for a body without Content-Length', async () => {
  const json = JSON.stringify({ ...ASK, pad: '' });
  const padded = (bytes: number): string => JSON.stringify({ ...ASK, pad: 'x'.repeat(bytes - json.length) });
  assert.equal((await send(padded(BODY_BYTES_MAX), 'application/json')).status, 200);
  assert.equal((await send(padded(BODY_BYTES_MAX + 1), 'application/json')).outcome, '413 invalid_request');
  const chunk = `1000\r\n${'x'.repeat(0x1000)}\r\n`;
  const head = `POST ${TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\nTransfer-Encoding: chunked\r\n\r\n`;
  assert.match(await hallpass.raw(head, chunk.repeat(5)), /^HTTP\/1\.1 413 /);
});

test('an announced 10 MiB is refused before it is sent', async () => {
  const head = `POST ${TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\nContent-Length: 10485760\r\n\r\n`;
  assert.match(await hallpass.raw(head), /^HTTP\/1\.1 413 /);
});

test(`${PARAMETERS_MAX} parameters are read, one more is 400, in both dialects`, async () => {
  const fields = (count: number): Record<string, string> => ({
    ...ASK,
    ...Object.fromEntries(Array.from({ length: count - 2 }, (_, at) => [`p${at}`, ''])),
  });
  for (const send2 of [hallpass.form, hallpass.json]) {
    assert.equal((await send2(TOKEN, fields(PARAMETERS_MAX), { key })).status, 200);
    assert.equal((await send2(TOKEN, fields(PARAMETERS_MAX + 1), { key })).outcome, '400 invalid_request');
  }
});

test('deeply nested JSON gets an ordinary response', async () => {
  const deep = `{"grant_type":"client_credentials","scope":"/accounts.write","foo":${'['.repeat(7000)}${']'.repeat(7000)}}`;
  assert.equal((await send(deep, 'application/json')).status, 200);
});

test('a plus is a space in a form, and a plus in JSON', async () => {
  const form = await hallpass.form(TOKEN, 'grant_type=client_credentials&scope=/accounts.write+/accounts.read', {
    key,
  });
  assert.equal(tokensOf(form).scope, '/accounts.write /accounts.read');
  const json = await hallpass.json(TOKEN, { ...ASK, scope: '/accounts.write+/accounts.read' }, { key });
  assert.equal(json.outcome, '400 invalid_scope');
});
