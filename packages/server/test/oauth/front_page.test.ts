/** The page that a browser gets at the address of the issuer. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { readVersion } from '../../src/serving/version.ts';
import { startHallpass, type Answer } from '../../../../testing/server/server.ts';

const CHROMIUM = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8';
const hallpass = await startHallpass();
const browse = (path: string, accept = CHROMIUM): Promise<Answer> => hallpass.request(path, { headers: { accept } });
const page = await browse('/');

test('a browser gets one page with the issuer, and every link on it leads to a document', async () => {
  assert.equal(page.status, 200);
  assert.equal(page.header('content-type'), 'text/html; charset=utf-8');
  assert.ok(page.text.includes(`<dd>${hallpass.issuer}</dd>`));
  const links = [...page.text.matchAll(/href="([^"]*)"/g)].map(([, link = '']) => link);
  assert.equal(links.length, 3);
  for (const link of links) {
    assert.ok(link.startsWith(`${hallpass.issuer}/`), link);
    assert.equal((await hallpass.request(link.slice(hallpass.issuer.length))).status, 200, link);
  }
});

test('the page runs no script and loads nothing, and its policy allows no style but its own', () => {
  const style = /<style>([^]*)<\/style>/.exec(page.text)?.[1] ?? '';
  const hash = createHash('sha256').update(style).digest('base64');
  assert.equal(
    page.header('content-security-policy'),
    `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  );
  assert.doesNotMatch(page.text, /<(?:script|link|img|iframe|form)|\son\w+=|style=|url\(|@import/i);
  assert.match(style, /color-scheme: light dark/);
  assert.equal(page.header('x-content-type-options'), 'nosniff');
  assert.equal(page.header('referrer-policy'), 'no-referrer');
  assert.equal(page.header('cache-control'), 'no-store');
});

test('it tells strangers neither the version of anything nor what keys there are', async () => {
  const { clientId } = await hallpass.makeKey({ name: 'of a partner' });
  for (const { text, headers } of [await browse('/'), await browse('/', '*/*')]) {
    assert.ok(!text.includes(readVersion()) && !text.includes(process.versions.node));
    assert.ok(!text.includes(clientId) && !text.includes('of a partner'));
    assert.equal(headers.get('server'), null);
    assert.equal(headers.get('x-powered-by'), null);
  }
});

for (const accept of ['*/*', 'application/json', '', 'text/html;q=0', 'text/html; q=0.000, */*', 'text/*']) {
  test(`a program that accepts '${accept}' gets the same as plain text`, async () => {
    const { status, headers, text } = await browse('/', accept);
    assert.equal(status, 200);
    assert.equal(headers.get('content-type'), 'text/plain; charset=utf-8');
    assert.equal(headers.get('vary'), 'Accept');
    assert.ok(text.includes(`Issuer:       ${hallpass.issuer}\n`), text);
    assert.ok(text.includes(`${hallpass.issuer}/.well-known/oauth-authorization-server\n`), text);
  });
}

for (const accept of ['text/html', 'TEXT/HTML;q=0.5', 'application/json, text/html;level=1']) {
  test(`a program that accepts '${accept}' gets the page`, async () => {
    assert.equal((await browse('/', accept)).text, page.text);
  });
}

test('HEAD is answered like GET without a body, and every other method is refused', async () => {
  const head = await hallpass.request('/', { method: 'HEAD', headers: { accept: CHROMIUM } });
  assert.equal(head.status, 200);
  assert.equal(head.header('content-length'), String(Buffer.byteLength(page.text)));
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const answer = await hallpass.request('/', { method });
    assert.equal(answer.status, 405, method);
    assert.equal(answer.header('allow'), 'GET, HEAD', method);
  }
});

test('below an issuer with a path the page is at that path, with and without a slash; what it holds is escaped', async () => {
  const issuer = `http://localhost:8080/a'b&amp;c`;
  const other = await startHallpass({ environment: { HALLPASS_ISSUER: issuer } });
  const path = issuer.slice('http://localhost:8080'.length);
  for (const at of [path, `${path}/`]) {
    const { status, text } = await other.request(at, { headers: { accept: CHROMIUM } });
    assert.equal(status, 200, at);
    assert.ok(text.includes('<dd>http://localhost:8080/a&#39;b&#38;amp;c</dd>'), text);
    assert.ok(text.includes('href="http://localhost:8080/a&#39;b&#38;amp;c/openapi.json"'), text);
    assert.ok(!text.includes(issuer), text);
  }
  assert.equal((await other.request('/')).outcome, '404 not_found');
  assert.equal((await other.request(`${path}//`)).outcome, '404 not_found');
});
