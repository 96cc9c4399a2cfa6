/** The whole story, once through, for real: `npm run demo`. Exits with 0 only if every step came out as it is told. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { Hallpass, HallpassError } from '@hallpass/client';
import { createGuard } from '@hallpass/guard';
import { createKey, importKey, makeDataDir, startHallpass } from '../../e2e/hallpass_process.ts';
import { paymentsApi } from './api.ts';

// The credentials and scopes of the page that this project grew from.
const KEY = { clientId: '5clTR_MdVrrkgxw2', clientSecret: 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-' };
const API = 'https://payments.example.com';

const { dataDir, remove } = makeDataDir();
try {
  await tellStory();
  say(styleText(['bold', 'green'], '\nEvery step came out as told.'));
} catch (error) {
  say(
    styleText(
      ['bold', 'red'],
      `\nThis step did not come out as told: ${error instanceof Error ? error.message : String(error)}`,
    ),
  );
  process.exitCode = 1;
} finally {
  remove();
}

async function tellStory(): Promise<void> {
  step('An operator makes two API keys: one for a partner, one for the payments API itself');
  await importKey(dataDir, KEY, [
    'A partner',
    '--audience',
    API,
    '--scope',
    '/accounts.write',
    '--scope',
    '/accounts/{accountID}/transfers.read',
  ]);
  const credentials = await createKey(dataDir, ['Payments API', '--resource-server', API]);
  const server = await startHallpass(dataDir);
  const guard = createGuard({ issuer: server.url, audience: API, credentials });
  const api = paymentsApi(guard, join(dataDir, 'payments.db')).listen(0, '127.0.0.1');
  try {
    await Promise.all([once(api, 'listening'), guard.ready()]);
    const address = api.address();
    assert.ok(typeof address === 'object' && address !== null);
    say(styleText('dim', `  Hallpass at ${server.url}, the payments API at http://127.0.0.1:${address.port}`));
    await playPartner(server.url, `http://127.0.0.1:${address.port}`);
  } finally {
    guard.close();
    api.close();
    api.closeAllConnections();
    await server.stop();
  }
}

async function playPartner(serverURL: string, apiURL: string): Promise<void> {
  const { accessToken } = new Hallpass({ serverURL, security: { accessToken: '' }, fetch: showing });
  const call = async (method: string, path: string, token: string, body?: object): Promise<Response> =>
    await showing(apiURL + path, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  step('The partner exchanges its key for a token that may create accounts, and creates one');
  const first = await accessToken.create({ ...KEY, grantType: 'client_credentials', scope: '/accounts.write' });
  const created = await call('POST', '/accounts', tokenOf(first.accessTokenResponse), { cents: 125_000 });
  assert.equal(created.status, 201);
  const account: unknown = await created.json();
  assert.ok(typeof account === 'object' && account !== null && 'id' in account);
  const transfers = `/accounts/${String(account.id)}/transfers`;

  step("A token for that account's transfers, and for nothing else");
  const second = await accessToken.create({ ...KEY, grantType: 'client_credentials', scope: `${transfers}.read` });
  const token = tokenOf(second.accessTokenResponse);
  assert.equal((await call('GET', transfers, token)).status, 200);

  step('Where the scope ends, the call is refused, and the refusal names the scope that is missing');
  const refused = await call('POST', transfers, token, { target: 'elsewhere', cents: 1 });
  assert.equal(refused.status, 403);
  assert.match(refused.headers.get('www-authenticate') ?? '', new RegExp(`scope="${transfers}.write"`));
  assert.equal((await call('GET', '/accounts/another/transfers', token)).status, 403);

  step('A scope that the key does not have is not issued either');
  await assert.rejects(
    accessToken.create({ ...KEY, grantType: 'client_credentials', scope: `${transfers}.write` }),
    (error) => error instanceof HallpassError && error.code === 'invalid_scope',
  );

  step('The token is refreshed');
  const refreshToken = second.accessTokenResponse?.refreshToken ?? '';
  const third = await accessToken.create({
    ...KEY,
    grantType: 'refresh_token',
    refreshToken,
    scope: `${transfers}.read`,
  });
  const fresh = tokenOf(third.accessTokenResponse);
  assert.equal((await call('GET', transfers, fresh)).status, 200);

  step('The partner takes it all back, and the same call is refused');
  const newest = third.accessTokenResponse?.refreshToken ?? '';
  const revoked = await accessToken.revoke({ ...KEY, token: newest, tokenTypeHint: 'refresh_token' });
  assert.equal(revoked.statusCode, 200);
  const milliseconds = await timeUntilRefused(apiURL + transfers, fresh);
  assert.equal((await call('GET', transfers, fresh)).status, 401);
  say(styleText('bold', `  Refused by the API ${milliseconds.toFixed(1)} ms after the answer to the revocation.`));
  assert.ok(milliseconds < 1000);
}

function tokenOf(answer: { readonly accessToken: string } | undefined): string {
  assert.ok(answer !== undefined);
  return answer.accessToken;
}

/** Asks until the API refuses, for at most two seconds; milliseconds. */
async function timeUntilRefused(url: string, token: string): Promise<number> {
  const start = performance.now();
  while (performance.now() - start < 2000) {
    const { status } = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    if (status === 401) break;
  }
  return performance.now() - start;
}

/** `fetch`, with what goes over the wire printed as it happens. */
async function showing(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(input, init);
  const { pathname } = new URL(input instanceof Request ? input.url : input);
  const asked = typeof init.body === 'string' ? ` ${abridge(init.body)}` : '';
  const authorization = new Headers(init.headers).get('authorization');
  say(`  ${styleText('cyan', `${init.method ?? 'GET'} ${pathname}`)}${styleText('dim', asked)}`);
  if (authorization !== null) say(styleText('dim', `    authorization: ${abridge(authorization)}`));
  const colour = response.ok ? 'green' : 'yellow';
  say(`  ${styleText(colour, String(response.status))} ${styleText('dim', abridge(await response.clone().text()))}`);
  const challenge = response.headers.get('www-authenticate');
  if (challenge !== null) say(styleText('dim', `    www-authenticate: ${challenge}`));
  return response;
}

/** Secrets are not for screens, and tokens are long. */
function abridge(text: string): string {
  return decodeURIComponent(text)
    .replace(/(client_secret=)[^&]+/, '$1(not shown)')
    .replaceAll(/(eyJ|hprt_)[\w.-]{20,}/g, (token) => `${token.slice(0, 12)}…${token.slice(-6)}`);
}

function step(sentence: string): void {
  say(`\n${styleText('bold', sentence)}`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
