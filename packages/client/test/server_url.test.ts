import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hallpass, HallpassError } from '@hallpass/client';
import { hallpassOf, KEY, startServer } from './server.ts';

const GOOD = [
  'https://auth.example.com',
  'https://auth.example.com:8443/oauth',
  'HTTPS://AUTH.EXAMPLE.COM/',
  'http://localhost:8080',
  'http://LOCALHOST',
  'http://hallpass.localhost:8080',
  'http://127.0.0.1:8080',
  'http://[::1]:8080',
];

// Each is the neighbour of a good one.
const BAD = [
  'http://auth.example.com',
  'http://localhost.example.com',
  'http://notlocalhost',
  'http://127.0.0.1.example.com',
  'http://127.0.0.2',
  'http://128.0.0.1',
  'http://10.0.0.1',
  'http://[::2]',
  'ftp://localhost',
  'javascript:alert(1)',
  'auth.example.com',
  '//auth.example.com',
  'https:auth.example.com',
  'https:/auth.example.com',
  'https://',
  'https://auth.example.com?',
  'https://auth.example.com/?tenant=1',
  'https://auth.example.com/#',
  'https://user:hunter2@auth.example.com',
  'https://user@auth.example.com',
  'https://@auth.example.com',
  'https://localhost\\@auth.example.com',
  ' https://auth.example.com',
  'https://auth.example.com\n',
  'https://auth.exa mple.com',
  'https://auth.example.com:99999',
  '',
];

for (const serverURL of GOOD) {
  test(`serverURL may be ${serverURL}`, () => {
    assert.ok(new Hallpass({ serverURL }));
  });
}

for (const serverURL of BAD) {
  test(`serverURL may not be ${JSON.stringify(serverURL)} (RFC 6749 §2.3.1)`, () => {
    assert.throws(
      () => new Hallpass({ serverURL }),
      (error) => error instanceof HallpassError && error.code === 'bad_argument' && !error.message.includes('hunter2'),
    );
  });
}

test('a value that is not a string is refused as serverURL', () => {
  for (const options of [undefined, null, {}, { serverURL: undefined }, { serverURL: 7 }, { serverURL: {} }]) {
    assert.throws(() => Reflect.construct(Hallpass, [options]), { name: 'HallpassError', code: 'bad_argument' });
  }
});

for (const [prefix, path] of [
  ['', '/oauth2/revoke'],
  ['/', '/oauth2/revoke'],
  ['/tenants/a', '/tenants/a/oauth2/revoke'],
  ['/tenants/a//', '/tenants/a/oauth2/revoke'],
]) {
  test(`a serverURL that ends in "${prefix}" leads to ${path}`, async (t) => {
    const server = await startServer(t, { status: 200 });
    await hallpassOf({ ...server, url: server.url + prefix }).accessToken.revoke({ ...KEY, token: 'x' });
    assert.equal(server.asked[0]?.path, path);
  });
}

test('limits must be positive and small enough for a timer', () => {
  const serverURL = 'https://auth.example.com';
  for (const timeoutSeconds of [0, -1, Number.NaN, Infinity, 601, 2 ** 31]) {
    assert.throws(() => new Hallpass({ serverURL, timeoutSeconds }), {
      code: 'bad_argument',
      message: /^timeoutSeconds/,
    });
  }
  for (const attempts of [0, -1, 1.5, Number.NaN, 11, Infinity]) {
    assert.throws(() => new Hallpass({ serverURL, retry: { attempts } }), { code: 'bad_argument', message: /^retry/ });
  }
  for (const timeoutSeconds of [0.001, 600]) assert.ok(new Hallpass({ serverURL, timeoutSeconds }));
  for (const attempts of [1, 10]) assert.ok(new Hallpass({ serverURL, retry: { attempts } }));
});
