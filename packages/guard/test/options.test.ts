/** The options of a guard: each at its limits and just beyond. */
import { createGuard, type GuardOptions } from '@hallpass/guard';
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

const GOOD: GuardOptions = {
  issuer: 'https://auth.example.com',
  audience: 'https://api.example.com',
  credentials: { clientId: 'api-key', clientSecret: 'not-for-any-log' },
};

/** Options from JavaScript, of any type. */
type Loose = Readonly<Partial<Record<keyof GuardOptions, unknown>>>;

function create(changes: Loose): void {
  const options: GuardOptions = Object.assign({ ...GOOD }, changes);
  createGuard(options).close();
}

function assertRefused(changes: Loose, message: string | RegExp): void {
  assert.throws(() => create(changes), { name: 'TypeError', message }, JSON.stringify(changes));
}

/** Checks the accepted values, and the nearest ones that are refused with this message. */
function assertOption(
  name: keyof GuardOptions,
  message: string,
  good: readonly unknown[],
  bad: readonly unknown[],
): void {
  for (const value of good) assert.doesNotThrow(() => create({ [name]: value }), JSON.stringify(value));
  for (const value of bad) assertRefused({ [name]: value }, message);
}

test('numbers must lie within their limits', () => {
  const limits = {
    opaqueTokenSeconds: [0, 60],
    apiKeySeconds: [1, 300],
    rememberedTokensMax: [0, 1_000_000],
    proofsPerClientMax: [1, 1_000_000],
    maxStalenessSeconds: [3, 3_600],
    leewaySeconds: [0, 60],
    startWaitSeconds: [0, 60],
  } as const satisfies Loose;
  for (const [name, [min, max]] of Object.entries(limits)) {
    for (const value of [min, max]) create({ [name]: value });
    for (const value of [min - 0.001, max + 0.001, NaN, Infinity, String(max), [max], true]) {
      assertRefused({ [name]: value }, `${name} must be a number from ${min} to ${max}.`);
    }
  }
});

test('the issuer and the public URL are https URLs with nothing that could lead elsewhere', () => {
  const hosts = 'a auth.example.com auth.example.com:8443 auth.example.com/tenants/a-b 192.0.2.1'.split(' ');
  const bad = [
    '',
    7,
    null,
    ['https://auth.example.com'],
    'auth.example.com',
    '//auth.example.com',
    'https:/auth.example.com',
    'https://',
    'ftp://auth.example.com',
    ' https://auth.example.com',
    'https://auth.example.com/a b',
    'https://user@auth.example.com',
    'https://user:secret@auth.example.com',
    'https://auth.example.com?',
    'https://auth.example.com/?a=b',
    'https://auth.example.com#',
    'https://auth.example.com\\@evil.example',
    'https://[::1',
    'https://auth.example.com:port',
  ];
  for (const name of ['issuer', 'publicURL'] as const) {
    const good = hosts.map((host) => `https://${host}`);
    assertOption(
      name,
      `${name} must be like https://auth.example.com: no credentials, no query, no fragment.`,
      good,
      bad,
    );
  }
});

test('plain http is accepted for this machine only', () => {
  const local =
    'localhost LOCALHOST auth.localhost a.b-1.localhost 127.0.0.1 [::1] localhost:8080 127.0.0.1:8080'.split(' ');
  const remote =
    'auth.example.com localhost.example.com notlocalhost evil.notlocalhost localhosts a_b.localhost 127.0.0.2 128.0.0.1 ' +
    '127.0.0.1.example.com 10.127.0.0.1.example 0.0.0.0 192.0.2.1 [::2] [::1:1]';
  for (const name of ['issuer', 'publicURL'] as const) {
    assertOption(
      name,
      `${name} must begin with https://. Plain http is accepted only on localhost, 127.0.0.1 and [::1].`,
      local.map((host) => `http://${host}`),
      remote.split(' ').map((host) => `http://${host}`),
    );
  }
});

test('the audience and the credentials are required, and no error repeats the secret', () => {
  assertOption('audience', 'audience must name this API.', ['accounts'], ['', undefined, null, 7, ['accounts']]);
  const { clientId, clientSecret } = GOOD.credentials;
  assertOption(
    'credentials',
    'credentials must hold the clientId and the clientSecret of a resource-server key.',
    [GOOD.credentials],
    [
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
    ],
  );
});

test('every choice is one of those offered', () => {
  const choices: readonly (readonly [keyof GuardOptions, string, readonly unknown[], readonly unknown[]])[] = [
    [
      'whenStale',
      'whenStale must be one of refuse, introspect, allow.',
      ['refuse', 'introspect', 'allow'],
      ['', 'Refuse', 'ask', 1, true],
    ],
    [
      'algorithms',
      'algorithms must be some of ES256, EdDSA, RS256.',
      [['ES256'], ['RS256', 'EdDSA']],
      [[], [''], ['none'], ['HS256'], ['ES256', 'HS256'], ['es256']],
    ],
    ['rememberProof', 'rememberProof must be a function.', [() => Promise.resolve(true)], [true, {}, null, 'a']],
    ['scopes', "scopes: '/accounts' is not a scope.", [[], ['/accounts.read']], [['/accounts.read', '/accounts']]],
    [
      'realm',
      'realm (by default the audience) must be printable ASCII without quotes and backslashes.',
      [' !', '#[', ']~', 'accounts'],
      ['', '"', 'a"b', '\\', '\u001f', '\u007f', 'ä', 'a\nb', 'a\r'],
    ],
    [
      'passOverrides',
      'passOverrides must be a list of some of x-http-method-override, x-http-method, x-method-override, ' +
        'x-original-url, x-rewrite-url, _method.',
      [[], ['x-http-method', '_method']],
      [['X-HTTP-Method'], ['x_http_method'], ['authorization'], [''], [7], 'x-http-method', {}],
    ],
    ['dpopNonces', 'dpopNonces must be true or false.', [true, false], ['yes', 1, null]],
  ];
  for (const choice of choices) assertOption(...choice);
  assertRefused({ audience: 'ä' }, /^realm \(by default/);
  create({ audience: 'ä', realm: 'a' });
});

test('a nonce key is a string of at least 32 bytes, and needs dpopNonces', () => {
  for (const nonceKey of ['k'.repeat(32), 'ä'.repeat(16)]) create({ dpopNonces: true, nonceKey });
  for (const nonceKey of ['', 'k'.repeat(31), 7, null, new Uint8Array(32)]) {
    assertRefused({ dpopNonces: true, nonceKey }, 'nonceKey must be a secret string of at least 32 bytes.');
  }
  for (const dpopNonces of [false, undefined]) {
    assertRefused({ dpopNonces, nonceKey: 'k'.repeat(32) }, 'nonceKey has no effect without dpopNonces.');
  }
});

test('plain http to an issuer on another machine must be allowed explicitly', () => {
  const issuerAddress = 'http://hallpass:8080';
  create({ issuerAddress, issuerPlaintext: 'allow' });
  create({ issuerAddress: 'http://localhost:8080' });
  for (const issuerPlaintext of [undefined, 'refuse']) {
    assertRefused({ issuerAddress, issuerPlaintext }, /^issuerAddress is plain http to another machine/);
  }
  assertRefused({ issuerAddress, issuerPlaintext: 'yes' }, 'issuerPlaintext must be one of refuse, allow.');
  assertRefused({ issuerPlaintext: 'allow' }, 'issuerPlaintext has no effect without issuerAddress.');
});

test('by default a guard uses the global fetch, looked up at each request', async () => {
  const guard = createGuard(GOOD);
  const global = mock.method(globalThis, 'fetch', () => Promise.reject(new Error('no network')));
  try {
    guard.ready().catch(() => {});
    while (global.mock.callCount() === 0) await new Promise(setImmediate);
    assert.match(new Request(global.mock.calls[0]?.arguments[0] ?? '').url, /^https:\/\/auth\.example\.com\//);
  } finally {
    guard.close();
    global.mock.restore();
  }
});
