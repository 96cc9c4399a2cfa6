import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimOf, startHallpass, tokensOf, type Answer, type Key } from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const key = await hallpass.makeKey({
  scopes: [
    '/accounts.write',
    '/accounts/{accountID}/transfers.read',
    '/accounts/a1/cards.read',
    '/{tenant}/{thing}.list',
    '/ping.read',
  ],
});
const ask = (scope: string, by: Key = key): Promise<Answer> =>
  hallpass.form('/oauth2/token', { grant_type: 'client_credentials', scope }, { key: by });

for (const scope of [
  '/accounts.write',
  '/accounts/a1/transfers.read',
  '/accounts/a.1_b~c-d/transfers.read',
  '/accounts/a1/cards.read',
  '/x/y.list',
  '/accounts.write /ping.read',
  `/accounts/${'x'.repeat(128)}/transfers.read`,
]) {
  test(`${scope.slice(0, 60)} is inside the key's scopes and granted as asked (contract §7)`, async () => {
    const { scope: granted, accessToken } = tokensOf(await ask(scope));
    assert.equal(granted, scope);
    assert.equal(claimOf(accessToken, 'scope'), scope);
  });
}

for (const [scope, why] of [
  ['/accounts.read', 'write never implies read'],
  ['/accounts/a1/transfers.write', 'read never implies write'],
  ['/accounts/a2/cards.read', 'a filled scope covers itself alone'],
  ['/Accounts.write', 'case counts'],
  ['/accounts.WRITE', 'case counts'],
  ['/accounts/a1/a2/transfers.read', 'a parameter is one segment'],
  ['/accounts/transfers.read', 'a parameter is one segment'],
  ['/accounts/a1/transfers/x.read', 'the length counts'],
  ['/accounts/a1.write', 'no prefix'],
  ['/accounts.write /accounts.read', 'one outside spoils all (RFC 6749 §3.3)'],
  ['/accounts/{accountID}/transfers.read', 'a parameter is not filled'],
  ['/accounts/{x}/transfers.read', 'a parameter is not filled'],
  ['/{tenant}/y.list', 'a parameter is not filled'],
  ['accounts.write', 'no slash before'],
  ['/accounts', 'no verb'],
  ['/accounts.', 'no verb'],
  ['/accounts.write/', 'a slash behind'],
  ['/accounts./write', 'a slash in the verb'],
  ['//accounts.write', 'an empty segment'],
  ['/accounts//transfers.read', 'an empty segment'],
  ['/accounts/../transfers.read', 'a dot segment'],
  ['/accounts/./transfers.read', 'a dot segment'],
  ['/accounts/a..b/transfers.read', 'two dots side by side'],
  ['/accounts/.a/transfers.read', 'a dot at the start'],
  ['/accounts/a./transfers.read', 'a dot at the end'],
  ['/accounts/a%2fb/transfers.read', 'a percent sign'],
  ['/accounts/*/transfers.read', 'a star'],
  ['*', 'a star'],
  ['/accounts/a b/transfers.read', 'a space'],
  ['/accounts/a\u0000/transfers.read', 'a control character'],
  ['/accounts/a\n/transfers.read', 'a control character'],
  ['/accounts/é/transfers.read', 'not ASCII'],
  ['/accounts/{a/transfers.read', 'half a parameter'],
  ['/accounts/a{b}/transfers.read', 'a parameter that is no whole segment'],
  ['/accounts/{}/transfers.read', 'a parameter without a name'],
  ['/accounts/a:b/transfers.read', 'a colon'],
  ['/accounts/a"b/transfers.read', 'a quote'],
  [String.raw`/accounts/a\b/transfers.read`, 'a backslash'],
  [`/accounts/${'x'.repeat(129)}/transfers.read`, 'a segment too long'],
  ['/__proto__.read', 'not its scope'],
  ['/constructor.constructor', 'not its scope'],
  ['  ', 'spaces alone'],
  [' /accounts.write', 'a space before'],
  ['/accounts.write ', 'a space behind'],
  ['/accounts.write  /ping.read', 'two spaces between'],
  ['/accounts.write\t/ping.read', 'a tab between'],
  ['/accounts.write,/ping.read', 'a comma between'],
  ['openid', 'not a path'],
] as const) {
  test(`${JSON.stringify(scope).slice(0, 60)} is invalid_scope: ${why} (contract §7, §9)`, async () => {
    const answer = await ask(scope);
    assert.equal(answer.outcome, '400 invalid_scope');
    assert.equal(Object.hasOwn(answer.body, 'access_token'), false);
  });
}

// Hallpass's own scopes

const TEMPLATES = ['/{org}.read', '/{org}/{item}.read', '/{org}/{item}.write', '/{a}/{b}/{c}.read'];
const OWN = ['/oauth2/revocations.read', '/admin/keys.write', '/admin/a/b.read', '/ping.read'];

for (const scope of OWN) {
  test(`${scope} is granted to a key that has its text, and to none by a template (contract §10)`, async () => {
    const templated = await hallpass.makeKey({ scopes: TEMPLATES });
    assert.equal((await ask(scope, templated)).outcome, '400 invalid_scope');
    assert.equal((await ask(`/acme/x.read ${scope}`, templated)).outcome, '400 invalid_scope');
    assert.equal((await ask('/acme/x.read', templated)).status, 200);
    const literal = await hallpass.makeKey({ scopes: [...TEMPLATES, scope] });
    assert.equal(tokensOf(await ask(`/acme/x.read ${scope}`, literal)).scope, `/acme/x.read ${scope}`);
  });

  test(`a key that has lost ${scope} gets it from no template, by refresh or by exchange`, async () => {
    const losing = await hallpass.makeKey({ scopes: [...TEMPLATES, scope] });
    const { accessToken, refreshToken } = await hallpass.issue(losing, `/acme/x.read ${scope}`);
    await hallpass.keys.update(losing.clientId, { scopes: TEMPLATES });
    const exchange = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: accessToken,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    };
    assert.equal((await hallpass.form('/oauth2/token', { ...exchange, scope }, { key: losing })).status, 400);
    assert.equal((await hallpass.refresh(losing, refreshToken, { scope })).outcome, '400 invalid_scope');
    assert.equal(tokensOf(await hallpass.refresh(losing, refreshToken)).scope, '/acme/x.read');
  });
}

test('a template in the place of such a scope is refused when a key is made, and covers nothing where one has it', async () => {
  for (const template of ['/oauth2/{x}.read', '/admin/{x}.write', '/admin/{x}/y.read']) {
    await assert.rejects(hallpass.makeKey({ scopes: ['/accounts.write', template] }), {
      name: 'OperatorRefusal',
      code: 'scope_reserved',
      data: { field: 'scopes', value: template },
    });
  }
  await hallpass.makeKey({ scopes: ['/admins/{x}.write', '/admin/x.write'] });
  // A key of a store from before the rule.
  const old = await hallpass.makeKey();
  await hallpass.changeKey(old, { scopes: ['/oauth2/{x}.read', '/admin/{x}.write', '/accounts.write'] });
  assert.equal((await ask('/oauth2/revocations.read', old)).outcome, '400 invalid_scope');
  assert.equal((await ask('/admin/keys.write', old)).outcome, '400 invalid_scope');
  assert.equal((await ask('/accounts.write', old)).status, 200);
});

test('a default scope that only a template would cover is refused when it is one of these', async () => {
  await assert.rejects(hallpass.makeKey({ scopes: TEMPLATES, defaultScopes: ['/ping.read'] }), {
    name: 'OperatorRefusal',
  });
  await hallpass.makeKey({ scopes: TEMPLATES, defaultScopes: ['/acme.read'] });
});

test('the answer names the scope that the key may not have', async () => {
  assert.match(String((await ask('/accounts.write /secrets.read')).body['error_description']), /\/secrets\.read/);
});

test('a scope that is named twice is granted once', async () => {
  assert.equal(tokensOf(await ask('/ping.read /accounts.write /ping.read')).scope, '/ping.read /accounts.write');
});

test('without scope a key gets its default scope, and the answer says which (RFC 6749 §3.3)', async () => {
  const withDefault = await hallpass.makeKey({ defaultScopes: ['/accounts.write', '/ping.read'] });
  const params = { grant_type: 'client_credentials' };
  const answer = await hallpass.form('/oauth2/token', params, { key: withDefault });
  assert.equal(tokensOf(answer).scope, '/accounts.write /ping.read');
  assert.equal((await hallpass.form('/oauth2/token', params, { key })).outcome, '400 invalid_scope');
  assert.equal(tokensOf(await ask('/ping.read', withDefault)).scope, '/ping.read', 'asking for less gives less');
});

test('a scope of 512 characters is granted, one of 513 is not (contract §9)', async () => {
  const long = (length: number): string => {
    const head = `/${'a'.repeat(128)}/${'b'.repeat(128)}/${'c'.repeat(128)}/`;
    return `${head}${'d'.repeat(length - head.length - 5)}.read`;
  };
  const wide = await hallpass.makeKey({ scopes: ['/{a}/{b}/{c}/{d}.read'] });
  assert.equal(long(512).length, 512);
  assert.equal((await ask(long(512), wide)).status, 200);
  assert.equal((await ask(long(513), wide)).outcome, '400 invalid_scope');
});

test('100 scopes are granted, 101 are not (contract §9)', async () => {
  const scopes = (count: number): string =>
    Array.from({ length: count }, (_, at) => `/accounts/a${at}/transfers.read`).join(' ');
  assert.equal(tokensOf(await ask(scopes(100))).scope, scopes(100));
  assert.equal((await ask(scopes(101))).outcome, '400 invalid_scope');
});

test('a key limited to one account gets nothing of another, nor the template, nor a star', async () => {
  const one = await hallpass.makeKey({ scopes: ['/accounts/a1/transfers.read'] });
  assert.equal((await ask('/accounts/a1/transfers.read', one)).status, 200);
  for (const scope of [
    '/accounts/a2/transfers.read',
    '/accounts/{accountID}/transfers.read',
    '/accounts/*/transfers.read',
  ]) {
    assert.equal((await ask(scope, one)).outcome, '400 invalid_scope', scope);
  }
});

test('a default scope that a key is made with can be asked for', async () => {
  // As long as the list allows a request to be; a longer one has to be refused when the key is made.
  const scopes = Array.from({ length: 40 }, (_, at) => `/${'s'.repeat(120)}/${'t'.repeat(110)}${at}.read`);
  const made = await hallpass.makeKey({ scopes, defaultScopes: scopes }).catch((error: unknown) => error);
  if (made instanceof Error) return assert.equal(made.name, 'OperatorRefusal');
  assert.ok(typeof made === 'object' && made !== null && 'clientId' in made && 'clientSecret' in made);
  const by = { clientId: String(made.clientId), clientSecret: String(made.clientSecret) };
  const answer = await hallpass.form('/oauth2/token', { grant_type: 'client_credentials' }, { key: by });
  assert.equal(answer.status, 200, answer.text);
});

for (const value of ['ada@example.com', 'urn:isbn:1', 'caf\u00e9', 'a%20b', 'a+b', '.a', 'a..b', 'x'.repeat(129)]) {
  test(`a value that no scope can hold has a sentence of its own: ${value.slice(0, 20)} (RFC 6749 §5.2)`, async () => {
    const answer = await ask(`/accounts/${value}/transfers.read`);
    assert.equal(answer.outcome, '400 invalid_scope');
    assert.match(
      String(answer.body['error_description']),
      /^A segment of this scope has characters that scopes cannot hold\./,
    );
  });
}

test('a scope that has not the form of one is malformed, and no value of it is to blame', async () => {
  for (const scope of ['accounts.read', '/accounts', '//a.read', '/a.READ', '/a.read  /b.read']) {
    const answer = await ask(scope);
    assert.equal(answer.outcome, '400 invalid_scope', scope);
    assert.doesNotMatch(String(answer.body['error_description']), /no scope can hold/, scope);
  }
});
