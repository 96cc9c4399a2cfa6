import { canonicalIssuer } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

for (const [typed, canonical] of [
  ['https://auth.example.com', 'https://auth.example.com'],
  ['HTTPS://Auth.EXAMPLE.com', 'https://auth.example.com'],
  ['https://auth.example.com:443', 'https://auth.example.com'],
  ['https://auth.example.com:0443', 'https://auth.example.com'],
  ['https://auth.example.com:80', 'https://auth.example.com:80'],
  ['HTTP://LOCALHOST:80', 'http://localhost'],
  ['http://[::1]:8080', 'http://[::1]:8080'],
  ['https://A.example/Tenant-A', 'https://a.example/Tenant-A'],
  ['https://a.example/', 'https://a.example/'],
] as const) {
  test(`the canonical spelling of ${typed} is ${canonical} (RFC 3986 §6.2)`, () => {
    assert.equal(canonicalIssuer(typed), canonical);
    assert.equal(canonicalIssuer(canonical), canonical);
  });
}

for (const bad of [
  '',
  'auth.example.com',
  'ftp://a.example',
  'https:/a.example',
  'https://',
  'https://a.example:99999',
  'https://user@a.example',
  'https://a.example?x',
  'https://a.example/#',
  'https://a.example\\b',
  ' https://a.example',
  'https://b\u00fccher.example',
]) {
  test(`${JSON.stringify(bad)} is not an issuer`, () => {
    assert.equal(canonicalIssuer(bad), undefined);
  });
}

test('an issuer is spelled like the origin of a URL parser, and no text throws', () => {
  fc.assert(
    fc.property(fc.webUrl(), fc.string(), (url, text) => {
      canonicalIssuer(text);
      const canonical = canonicalIssuer(url);
      if (canonical !== undefined) assert.equal(new URL(canonical).origin, new URL(url).origin);
      if (canonical !== undefined) assert.ok(canonical.startsWith(new URL(url).origin));
    }),
  );
});
