/** Every character of a path by itself, raw and escaped; what of a URL is path; and the address that a client called. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePath, pathOf, publicAddress } from '../../src/policy/path.ts';

const UNRESERVED = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~';
/** RFC 3986 §3.3 has these beside them; the semicolon is a parameter to some. */
const BESIDE = "!$&'()*+,=:@";

function escape(byte: number): string {
  return `%${byte.toString(16).padStart(2, '0')}`;
}

test('a raw segment may have the 78 characters of RFC 3986 §3.3 without the semicolon, of all 256', () => {
  let accepted = 0;
  for (let code = 0; code < 256; code++) {
    const character = String.fromCharCode(code);
    if (character === '/' || character === '?') continue;
    const isPlain = UNRESERVED.includes(character) || BESIDE.includes(character);
    for (const [url, segments] of [
      [`/a${character}b`, [`a${character}b`]],
      [`/x/a${character}`, ['x', `a${character}`]],
    ] as const) {
      assert.deepEqual(parsePath(url), isPlain ? segments : undefined, JSON.stringify(url));
    }
    accepted += isPlain ? 1 : 0;
  }
  assert.equal(accepted, 66 + 12);
  assert.deepEqual(parsePath('/a/b'), ['a', 'b']);
  assert.deepEqual(parsePath('/a?b'), ['a']);
});

test('of all 256 escapes, the 25 of printable, harmless characters that need one are accepted, in either case (RFC 3986 §2.3)', () => {
  let accepted = 0;
  for (let byte = 0; byte < 256; byte++) {
    const character = String.fromCharCode(byte);
    const isPrintable = byte >= 0x20 && byte < 0x7f;
    const isTaken = isPrintable && !UNRESERVED.includes(character) && !'/\\%;'.includes(character);
    for (const url of [`/a${escape(byte)}b`, `/a${escape(byte).toUpperCase()}b`, `/${escape(byte)}`]) {
      const expected = url.startsWith('/a') ? [`a${character}b`] : [character];
      assert.deepEqual(parsePath(url), isTaken ? expected : undefined, url);
    }
    accepted += isTaken ? 1 : 0;
  }
  assert.equal(accepted, 95 - 66 - 4);
});

test('beyond ASCII, everything except control characters is accepted, escaped as UTF-8 (RFC 3629 §3)', () => {
  for (let code = 0x80; code <= 0x17f; code++) {
    const character = String.fromCharCode(code);
    const expected = code < 0xa0 ? undefined : [`a${character}`];
    assert.deepEqual(parsePath(`/a${encodeURIComponent(character)}`), expected, code.toString(16));
  }
  assert.deepEqual(parsePath('/%E2%82%AC/%f0%9f%98%80'), ['€', '😀']);
});

test('a path has at most 8192 characters, not counting origin and query', () => {
  const longest = `/${'a'.repeat(8_191)}`;
  assert.deepEqual(parsePath(longest), [longest.slice(1)]);
  assert.deepEqual(parsePath(`https://api.example.com${longest}?${'x'.repeat(9_000)}`), [longest.slice(1)]);
  assert.equal(parsePath(`${longest}a`), undefined);
});

test('dot segments are refused anywhere, and dots within a segment are accepted', () => {
  for (const path of ['/.', '/..', '/a/.', '/a/..', '/./a', '/../a', '/%41/..', '/%20/.', '/%20/..'])
    assert.equal(parsePath(path), undefined, path);
  for (const path of ['/...', '/.a', '/a.', '/a..b', '/..a']) assert.deepEqual(parsePath(path), [path.slice(1)]);
  assert.deepEqual(parsePath('/a.b/%20'), ['a.b', ' ']);
});

test('the root has no segments; paths with a missing or extra slash are refused', () => {
  assert.deepEqual(parsePath('/'), []);
  assert.deepEqual(parsePath('/?/a'), []);
  assert.deepEqual(parsePath('http://api/'), []);
  for (const url of [
    '',
    'a',
    '?',
    '?/',
    '//',
    '/a/',
    '/a//b',
    'http://api',
    'http://api?/a',
    'http:/a',
    '*',
    ' /a',
    '/a ',
  ])
    assert.equal(parsePath(url), undefined, url);
});

test('only an http or https origin is removed before the path, in either case', () => {
  for (const [url, path] of [
    ['http://api/a', '/a'],
    ['https://api/a', '/a'],
    ['HTTPS://API:8443/a?b', '/a?b'],
    ['http://u:p@api/a', '/a'],
    ['http://api', ''],
    ['http://api?a', '?a'],
    ['http://api#a', '#a'],
    ['http://api\\a', '\\a'],
    ['http:///a', '/a'],
    ['/a', '/a'],
    ['/http://api/a', '/http://api/a'],
    ['/a?http://api/b', '/a?http://api/b'],
    ['httpss://api/a', 'httpss://api/a'],
    ['http:/api/a', 'http:/api/a'],
    ['ftp://api/a', 'ftp://api/a'],
    ['xhttp://api/a', 'xhttp://api/a'],
    ['', ''],
  ] as const) {
    assert.equal(pathOf(url), path, url);
  }
  assert.deepEqual(parsePath('HTTP://api/a'), ['a']);
  assert.equal(parsePath('/http://api/a'), undefined);
});

test('the address that a client called is publicURL with the path, and nothing can become part of the host', () => {
  const publicURL = 'https://api.example.com';
  for (const [url, address] of [
    ['/a?b=1', 'https://api.example.com/a?b=1'],
    ['http://other/a', 'https://api.example.com/a'],
    ['http://other', 'https://api.example.com'],
    ['', 'https://api.example.com'],
    ['?b', 'https://api.example.com?b'],
    ['/', 'https://api.example.com/'],
    ['a', undefined],
    ['.evil.example/a', undefined],
    ['@evil.example/', undefined],
    [':443/a?', undefined],
    ['evil/', undefined],
    ['#a', undefined],
    ['\\a', undefined],
    ['http://other\\a', undefined],
  ] as const) {
    assert.equal(publicAddress(url, publicURL), address, url);
    assert.equal(publicAddress(url, undefined), undefined);
  }
});
