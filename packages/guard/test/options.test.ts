/** What a guard may be told, and what it assumes: each option at its bounds and just past them. */
import { SIGNING_ALGORITHMS } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { parseOptions, type GuardOptions, type GuardSettings } from '../src/options.ts';

const GOOD: GuardOptions = {
  issuer: 'https://auth.example.com',
  audience: 'https://api.example.com',
  credentials: { clientId: 'api-key', clientSecret: 'not-for-any-log' },
};

/** Options as JavaScript gives them: of any type. */
type Loose = Readonly<Partial<Record<keyof GuardOptions, unknown>>>;

function settingsOf(changes: Loose = {}): GuardSettings {
  const options: GuardOptions = Object.assign({ ...GOOD }, changes);
  return parseOptions(options);
}

function assertMistake(changes: Loose, message: string | RegExp): void {
  assert.throws(() => settingsOf(changes), { name: 'TypeError', message }, JSON.stringify(changes));
}

test('what is not said is assumed, and what is said is kept', () => {
  const { clock, nonceClock, fetch: fetcher, onEvent, ...assumed } = settingsOf();
  assert.deepEqual(assumed, {
    ...GOOD,
    issuerAddress: GOOD.issuer,
    publicURL: undefined,
    rememberProof: undefined,
    opaqueTokenSeconds: undefined,
    apiKeySeconds: undefined,
    scopes: undefined,
    rememberedTokensMax: 10_000,
    proofsPerClientMax: 50_000,
    nonceKey: undefined,
    resourceMetadata: false,
    passOverrides: new Set(),
    whenStale: 'refuse',
    algorithms: SIGNING_ALGORITHMS,
    maxStalenessSeconds: 10,
    leewaySeconds: 5,
    startWaitSeconds: 5,
    realm: GOOD.audience,
  });
  assert.ok(Math.abs(clock.now() - Date.now()) < 60_000);
  assert.ok(Math.abs(clock.elapsed() - performance.now()) < 60_000);
  assert.ok(Math.abs(nonceClock.now() - clock.elapsed()) < 60_000);
  assert.equal(onEvent({ kind: 'feed_refused', status: 401 }), undefined);
  assert.equal(typeof fetcher, 'function');

  const said = {
    issuerAddress: 'https://10.0.0.7:8443',
    rememberProof: () => Promise.resolve(true),
    opaqueTokenSeconds: 7,
    apiKeySeconds: 8,
    scopes: ['/accounts.read', '/accounts/{id}.write'],
    rememberedTokensMax: 9,
    proofsPerClientMax: 11,
    resourceMetadata: true,
    whenStale: 'introspect',
    algorithms: ['EdDSA'],
    maxStalenessSeconds: 12,
    leewaySeconds: 13,
    startWaitSeconds: 14,
    realm: 'accounts',
    onEvent: () => {},
    clock: { now: () => 1, elapsed: () => 2 },
    fetch: () => Promise.reject(new Error('no network')),
  } as const;
  const {
    nonceKey: _nonceKey,
    nonceClock: _nonceClock,
    publicURL: _publicURL,
    passOverrides: _passOverrides,
    ...kept
  } = settingsOf(said);
  assert.deepEqual(kept, { ...GOOD, ...said });
});

test('only overrides that are known are let pass, by their names in lower case', () => {
  const { passOverrides } = settingsOf({ passOverrides: ['x-http-method', '_method'] });
  assert.deepEqual(passOverrides, new Set(['x-http-method', '_method']));
  for (const bad of [['X-HTTP-Method'], ['x_http_method'], ['authorization'], [''], [7], 'x-http-method', {}]) {
    assertMistake(
      { passOverrides: bad },
      'passOverrides must be a list of some of x-http-method-override, x-http-method, x-method-override, ' +
        'x-original-url, x-rewrite-url, _method.',
    );
  }
});

test('the global fetch is looked up when it is used, with what it is used with', async () => {
  const { fetch: fetcher } = settingsOf();
  const answered = new Response('in');
  const global = mock.method(globalThis, 'fetch', () => Promise.resolve(answered));
  try {
    const init = { method: 'POST' };
    assert.equal(await fetcher('https://auth.example.com/ping', init), answered);
    assert.deepEqual(global.mock.calls[0]?.arguments, ['https://auth.example.com/ping', init]);
  } finally {
    global.mock.restore();
  }
});

test('the issuer is spelled as the server spells it: scheme and host in lower case, no default port', () => {
  for (const issuer of ['HTTPS://Auth.Example.COM', 'https://auth.example.com:443']) {
    assert.equal(settingsOf({ issuer }).issuer, 'https://auth.example.com');
  }
  assert.equal(settingsOf({ issuer: 'https://a.example/Tenant' }).issuer, 'https://a.example/Tenant');
});

test('a number is one within its bounds', () => {
  const bounds = {
    opaqueTokenSeconds: [0, 60],
    apiKeySeconds: [1, 300],
    rememberedTokensMax: [0, 1_000_000],
    proofsPerClientMax: [1, 1_000_000],
    maxStalenessSeconds: [3, 3_600],
    leewaySeconds: [0, 60],
    startWaitSeconds: [0, 60],
  } as const;
  for (const [name, [min, max]] of Object.entries(bounds)) {
    const message = `${name} must be a number from ${min} to ${max}.`;
    for (const value of [min, min + 0.5, max]) {
      assert.equal(new Map<string, unknown>(Object.entries(settingsOf({ [name]: value }))).get(name), value);
    }
    for (const value of [min - 0.001, max + 0.001, NaN, Infinity, -Infinity, String(max), [max], true]) {
      assertMistake({ [name]: value }, message);
    }
  }
});

const ADDRESS = (name: string): string =>
  `${name} must be like https://auth.example.com: no credentials, no query, no fragment.`;
const INSECURE = (name: string): string =>
  `${name} must begin with https://. Plain http is accepted on localhost, 127.0.0.1 and [::1] alone.`;

test('the issuer and the public address are https addresses, without anything that could lead elsewhere', () => {
  for (const name of ['issuer', 'publicURL'] as const) {
    for (const good of [
      'https://a',
      'https://auth.example.com',
      'https://auth.example.com:8443',
      'https://auth.example.com/tenants/a-b',
      'https://192.0.2.1',
    ]) {
      assert.equal(settingsOf({ [name]: good })[name], good);
    }
    for (const bad of [
      '',
      7,
      null,
      ['https://auth.example.com'],
      'auth.example.com',
      '//auth.example.com',
      'https:/auth.example.com',
      'https:auth.example.com',
      'https://',
      'https:///a',
      'ftp://auth.example.com',
      'httpss://auth.example.com',
      ' https://auth.example.com',
      'https://auth.example.com ',
      'https://auth.exam ple.com',
      'https://auth.example.com/a b',
      'https://user@auth.example.com',
      'https://user:secret@auth.example.com',
      'https://auth.example.com?',
      'https://auth.example.com/?a=b',
      'https://auth.example.com#',
      'https://auth.example.com/a#b',
      'https://auth.example.com\\@evil.example',
      'https://auth.example.com\\evil.example',
      'https://auth.example.com/a\\b',
      'https://[::1',
      'https://auth.example.com:port',
    ]) {
      assertMistake({ [name]: bad }, ADDRESS(name));
    }
  }
});

test('plain http is for this machine alone', () => {
  for (const name of ['issuer', 'publicURL'] as const) {
    for (const host of [
      'localhost',
      'LOCALHOST',
      'auth.localhost',
      'a.b-1.localhost',
      '127.0.0.1',
      '127.0.0.2',
      '[::1]',
    ]) {
      for (const port of ['', ':8080']) {
        const address = `http://${host}${port}`;
        assert.equal(settingsOf({ [name]: address })[name]?.toLowerCase(), address.toLowerCase());
      }
    }
    for (const host of [
      'auth.example.com',
      'localhost.example.com',
      'notlocalhost',
      'evil.notlocalhost',
      'localhosts',
      '128.0.0.1',
      '127.0.0.1.example.com',
      '10.127.0.0.1.example',
      '0.0.0.0',
      '192.0.2.1',
      '[::2]',
      '[::1:1]',
      'a_b.localhost',
    ]) {
      assertMistake({ [name]: `http://${host}` }, INSECURE(name));
    }
  }
});

test('one slash at the end of the public address is dropped: paths begin with their own', () => {
  for (const [publicURL, kept] of [
    ['https://api.example.com/', 'https://api.example.com'],
    ['https://api.example.com/v1/', 'https://api.example.com/v1'],
    ['https://api.example.com/v1', 'https://api.example.com/v1'],
    ['https://api.example.com/v1//', 'https://api.example.com/v1/'],
  ] as const) {
    assert.equal(settingsOf({ publicURL }).publicURL, kept);
  }
});

test('the audience and the credentials are texts that say something; a mistake in them repeats no secret', () => {
  assert.equal(settingsOf({ audience: 'accounts' }).audience, 'accounts');
  for (const audience of ['', undefined, null, 7, ['accounts']]) {
    assertMistake({ audience }, 'audience must name this API.');
  }
  const { clientId, clientSecret } = GOOD.credentials;
  for (const credentials of [
    undefined,
    null,
    'api-key:not-for-any-log',
    {},
    { clientId },
    { clientSecret },
    { clientId, clientSecret: '' },
    { clientId: '', clientSecret },
    { clientId, clientSecret: 7 },
    { clientId: 7, clientSecret },
  ]) {
    assertMistake({ credentials }, 'credentials must hold the clientId and the clientSecret of a resource-server key.');
  }
});

test('a choice is one of those that there are', () => {
  for (const whenStale of ['refuse', 'introspect', 'allow']) {
    assert.equal(settingsOf({ whenStale }).whenStale, whenStale);
  }
  for (const whenStale of ['', 'Refuse', 'ask', 1, true]) {
    assertMistake({ whenStale }, 'whenStale must be one of refuse, introspect, allow.');
  }
  for (const algorithms of [['ES256'], ['RS256', 'EdDSA']]) {
    assert.deepEqual(settingsOf({ algorithms }).algorithms, algorithms);
  }
  for (const algorithms of [[], [''], ['none'], ['HS256'], ['ES256', 'HS256'], ['HS256', 'ES256'], ['es256']]) {
    assertMistake({ algorithms }, 'algorithms must be some of ES256, EdDSA, RS256.');
  }
  for (const rememberProof of [true, {}, null, 'rememberProof']) {
    assertMistake({ rememberProof }, 'rememberProof must be a function.');
  }
});

test('each scope of the catalogue is a scope', () => {
  assert.deepEqual(settingsOf({ scopes: [] }).scopes, []);
  assertMistake({ scopes: ['accounts.read'] }, "scopes: 'accounts.read' is not a scope.");
  assertMistake({ scopes: ['/accounts.read', '/accounts'] }, "scopes: '/accounts' is not a scope.");
});

test('a realm is what a quoted string holds as it is (RFC 9110 §5.6.4), the audience too where it is the realm', () => {
  const message = 'realm (the audience, if there is none) must be printable ASCII without quotes and backslashes.';
  for (const realm of [' !', '#[', ']~', 'accounts', 'a\u0020b']) {
    assert.equal(settingsOf({ realm }).realm, realm);
  }
  for (const realm of ['', '"', 'a"b', '\\', 'a\\b', '\u001f', '\u007f', 'ä', 'a\nb', 'a\r', '\na']) {
    assertMistake({ realm }, message);
  }
  assertMistake({ audience: 'ä' }, message);
  assert.equal(settingsOf({ audience: 'ä', realm: 'a' }).audience, 'ä');
});

test('metadata is served under an audience that is an address, and a secure one', () => {
  for (const audience of ['https://api.example.com', 'https://api.example.com/v1', 'http://localhost:3000']) {
    assert.ok(settingsOf({ audience, resourceMetadata: true }).resourceMetadata);
  }
  assertMistake({ audience: 'accounts', resourceMetadata: true }, /^resourceMetadata needs an audience like /);
  assertMistake({ audience: 'http://api.example.com', resourceMetadata: true }, INSECURE('audience'));
  for (const audience of ['accounts', 'http://api.example.com']) {
    assert.ok(!settingsOf({ audience, resourceMetadata: false }).resourceMetadata);
  }
});

test('nonces are made with a key of 32 bytes or more, or with a random one of their own', () => {
  assert.equal(settingsOf({ dpopNonces: false }).nonceKey, undefined);
  const [one, other] = [0, 1].map(() => settingsOf({ dpopNonces: true }).nonceKey);
  assert.equal(one?.length, 32);
  assert.notDeepEqual(one, other);
  const given = settingsOf({ dpopNonces: true, nonceKey: 'k'.repeat(32) }).nonceKey;
  assert.deepEqual(given, new TextEncoder().encode('k'.repeat(32)));
  // 16 letters of two bytes.
  assert.equal(settingsOf({ dpopNonces: true, nonceKey: 'ä'.repeat(16) }).nonceKey?.length, 32);
  for (const nonceKey of ['', 'k'.repeat(31), 7, null, new Uint8Array(32), ['k'.repeat(32)]]) {
    assertMistake({ dpopNonces: true, nonceKey }, 'nonceKey must be a secret text of at least 32 bytes.');
  }
  for (const dpopNonces of [false, undefined]) {
    assertMistake({ dpopNonces, nonceKey: 'k'.repeat(32) }, 'nonceKey is of no use without dpopNonces.');
  }
  for (const dpopNonces of ['yes', 1, null]) {
    assertMistake({ dpopNonces }, 'dpopNonces must be true or false.');
  }
});
