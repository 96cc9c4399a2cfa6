/** The client on a web page, in a real browser. The key's list of origins decides what a page may do with it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { stripTypeScriptTypes } from 'node:module';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { launchBrowser } from './browser.ts';
import {
  createKey,
  makeDataDir,
  startHallpass,
  type Credentials,
  type HallpassProcess,
} from '../testing/process/process.ts';

const { dataDir, remove } = makeDataDir();
let hallpass: HallpassProcess;
let browser: Browser;
let site: Server;
let pageKey: Credentials;
let port: number;
/** What was asked for at the place that a redirect of the site names. */
const followed: string[] = [];

const PAGE = `<!doctype html><title>A page</title>
<script type="importmap">{"imports": {"@hallpass/protocol": "/packages/protocol/src/index.ts"}}</script>`;

/** A site that serves a page, the sources of client and protocol as a browser takes them, and one redirect. */
function serveSite(): Server {
  return createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://site').pathname;
    if (path.startsWith('/elsewhere')) followed.push(path);
    if (path.startsWith('/moved/')) {
      response.writeHead(307, { location: '/elsewhere' }).end();
      return;
    }
    if (!/^\/packages\/(?:client|protocol)\/src\/[a-z_]+\.ts$/.test(path)) {
      response.writeHead(200, { 'content-type': 'text/html' }).end(PAGE);
      return;
    }
    const source = readFileSync(fileURLToPath(new URL(`..${path}`, import.meta.url)), 'utf8');
    response.writeHead(200, { 'content-type': 'text/javascript' }).end(stripTypeScriptTypes(source));
  });
}

before(async () => {
  site = serveSite();
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  const address = site.address();
  assert.ok(typeof address === 'object' && address !== null);
  port = address.port;
  const origin = `http://127.0.0.1:${port}`;
  pageKey = await createKey(dataDir, [
    'A web page',
    '--scope',
    '/accounts.read',
    '--scope',
    '/ping.read',
    '--origin',
    origin,
  ]);
  hallpass = await startHallpass(dataDir);
  browser = await launchBrowser();
});
after(async () => {
  await browser.close();
  site.close();
  await hallpass.stop();
  remove();
});

/** Opens the page on a host and lets it get a token and take it back; the outcome as the page saw it. */
async function tryOnPage(
  host: string,
  clientSecret: string,
  serverURL: string = hallpass.url,
): Promise<readonly unknown[]> {
  const page = await browser.newPage();
  try {
    await page.goto(`http://${host}:${port}/`);
    return await page.evaluate(
      async ({ serverURL: url, clientId, clientSecret: secret }) => {
        // A name that only the page can resolve; the compiler of this file must not try.
        const source: string = '/packages/client/src/index.ts';
        const { Hallpass } = await import(source);
        const { accessToken } = new Hallpass({ serverURL: url, retry: { attempts: 1 } });
        try {
          const created = await accessToken.create({
            clientId,
            clientSecret: secret,
            grantType: 'client_credentials',
            scope: '/accounts.read',
          });
          const revoked = await accessToken.revoke({
            clientId,
            clientSecret: secret,
            token: created.accessTokenResponse.accessToken,
          });
          return [created.statusCode, created.accessTokenResponse.scope, revoked.statusCode, localStorage.length];
        } catch (error) {
          return [error instanceof Error && 'code' in error ? error.code : String(error)];
        }
      },
      { serverURL, clientId: pageKey.clientId, clientSecret },
    );
  } finally {
    await page.close();
  }
}

test('a page from a listed origin gets a token, reads the response and revokes the token, and stores nothing', async () => {
  assert.deepEqual(await tryOnPage('127.0.0.1', pageKey.clientSecret), [200, '/accounts.read', 200, 0]);
});

test('a page from a listed origin can read why it was refused', async () => {
  assert.deepEqual(await tryOnPage('127.0.0.1', 'wrong'), ['invalid_client']);
});

test('the same page under another host is refused, and cannot even read the refusal (contract §6)', async () => {
  assert.deepEqual(await tryOnPage('localhost', pageKey.clientSecret), ['connection_failed']);
});

test('a redirect is not followed, and is reported differently from a server that is down (SDK-05)', async () => {
  const base = `http://127.0.0.1:${port}`;
  assert.deepEqual(await tryOnPage('127.0.0.1', pageKey.clientSecret, `${base}/moved`), ['unexpected_answer']);
  assert.deepEqual(followed, []);
});
