/** What a partner does with its key: `npm run quickstart:calls`. Ends with 1 when a call does not come out as expected. */
import { Hallpass } from '@hallpass/client';
import { readSetting } from './setting.ts';

const setting = readSetting();
if (setting === undefined) {
  process.stderr.write('Start the example first: npm run quickstart\n');
  process.exit(1);
}
const { issuer, api, partner } = setting;
const hallpass = new Hallpass({ serverURL: issuer });

say('The partner asks for a token for the transfers of account a1, to read them.');
const scope = '/accounts/a1/transfers.read';
const first = await hallpass.accessToken.create({ ...partner, grantType: 'client_credentials', scope });
const token = first.accessTokenResponse?.accessToken ?? '';
await call('GET /accounts/a1/transfers', { token, expected: 200 });

say('What the token was not issued for is refused, and the refusal names the scope that is missing.');
await call('GET /accounts/a2/transfers', { token, expected: 403 });
await call('POST /accounts/a1/transfers', { token, expected: 403 });
await call('GET /accounts/a1/transfers', { token: undefined, expected: 401 });

say('Another token, to write. The key may do so for account a1 alone.');
const second = await hallpass.accessToken.create({
  ...partner,
  grantType: 'client_credentials',
  scope: '/accounts/a1/transfers.write',
});
const writing = second.accessTokenResponse?.accessToken;
await call('POST /accounts/a1/transfers', { token: writing, expected: 201 });

say('The first token is refreshed.');
const refreshToken = first.accessTokenResponse?.refreshToken ?? '';
const third = await hallpass.accessToken.create({ ...partner, grantType: 'refresh_token', refreshToken, scope });
const fresh = third.accessTokenResponse?.accessToken;
await call('GET /accounts/a1/transfers', { token: fresh, expected: 200 });

say('The partner revokes the refresh token, and with it every token of that grant.');
await hallpass.accessToken.revoke({ ...partner, token: third.accessTokenResponse?.refreshToken ?? '' });
const revokedAt = performance.now();
while ((await ask('GET /accounts/a1/transfers', fresh)).status !== 401 && performance.now() - revokedAt < 1000);
say(`The API heard of it ${(performance.now() - revokedAt).toFixed(1)} ms after the response.`);
await call('GET /accounts/a1/transfers', { token: fresh, expected: 401 });
await call('POST /accounts/a1/transfers', { token: writing, expected: 201 });

say(process.exitCode === undefined ? 'All calls came out as expected.' : 'Not all calls came out as expected.');

/** Makes a call and prints it, with what the API answers. */
async function call(
  route: string,
  { token: bearer, expected }: { readonly token: string | undefined; readonly expected: number },
): Promise<void> {
  const response = await ask(route, bearer);
  const detail = response.ok ? await response.text() : (response.headers.get('www-authenticate') ?? '');
  process.stdout.write(`  ${route}  ${response.status}  ${detail}\n`);
  if (response.status !== expected) process.exitCode = 1;
}

async function ask(route: string, bearer: string | undefined): Promise<Response> {
  const [method = '', path = ''] = route.split(' ');
  return await fetch(api + path, {
    method,
    headers: {
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
      ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
    },
    ...(method === 'POST' ? { body: JSON.stringify({ to: 'a2', cents: 100 }) } : {}),
  });
}

function say(sentence: string): void {
  process.stdout.write(`\n${sentence}\n`);
}
