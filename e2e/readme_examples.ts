/** The README's examples, and the values in them that you replace with your own. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Credentials } from '../testing/process/process.ts';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

/** The blocks of code in a language, in their order. */
export function blocksOf(language: string, text = readme): readonly string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, code = '']) => code);
}

/** The credentials that the README shows, and the name of its API. */
export const SEED: Credentials = {
  clientId: '5clTR_MdVrrkgxw2',
  clientSecret: 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-',
};
export const API = 'https://api.example.com';
/** What the key with the seed's credentials may have, as options of `hallpass keys create`. */
export const SEED_POLICY: readonly string[] = [
  '--scope',
  '/accounts.write',
  '--scope',
  '/accounts/{accountID}/transfers.read',
  '--audience',
  API,
];

const SAMPLE_TOKEN = 'i1qxz68gu50zp4i8ceyxqogmq7y0yienm52351c6...';

/** An example with texts replaced, each of which it must have. */
export function fill(code: string, replacements: Readonly<Record<string, string>>): string {
  let program = code;
  for (const [text, own] of Object.entries(replacements)) {
    assert.ok(program.includes(text), `the example no longer has ${text}`);
    program = program.replaceAll(text, own);
  }
  return program;
}

/** Gets a token. Prints `/accounts.write 900`. */
export function firstExample(server: string, { clientId, clientSecret }: Credentials): string {
  return fill(blocksOf('ts')[0] ?? '', {
    'http://localhost:8080': server,
    CLIENT_ID: clientId,
    CLIENT_SECRET: clientSecret,
  });
}

/** Refreshes a token. Prints `200 application/json /accounts.write`. */
export function createExample(server: string, refreshToken: string): string {
  return fill(blocksOf('ts')[1] ?? '', {
    'http://localhost:8080': server,
    [SAMPLE_TOKEN]: refreshToken,
    '// handle response': 'console.log(res.statusCode, res.contentType, res.accessTokenResponse.scope);',
  });
}

/** Revokes a token. Prints `200 {}`. */
export function revokeExample(server: string, refreshToken: string): string {
  return fill(blocksOf('ts')[2] ?? '', {
    'http://localhost:8080': server,
    [SAMPLE_TOKEN]: refreshToken,
    '// handle response': 'console.log(res.statusCode, await res.rawResponse.text());',
  });
}

/** The description of the API, for the guard's example. */
export const OPENAPI = `openapi: 3.1.0
info: { title: Accounts, version: '1' }
security: [{ Hallpass: [] }]
paths:
  /accounts/{accountID}/transfers:
    get: { security: [{ Hallpass: ['/accounts/{accountID}/transfers.read'] }], responses: {} }
components:
  securitySchemes:
    Hallpass:
      type: oauth2
      flows: { clientCredentials: { tokenUrl: http://localhost:8080/oauth2/token, scopes: {} } }
`;

/** An API behind the guard, which is called twice with a token for account a1: for a1, and for a2. Prints the answers. */
export function guardExample(
  server: string,
  {
    guard,
    openapi,
    accessToken,
  }: { readonly guard: Credentials; readonly openapi: string; readonly accessToken: string },
): string {
  const call = (path: string): string =>
    `console.log(await (await fetch(\`http://127.0.0.1:\${port}${path}\`, { headers: { authorization: 'Bearer ${accessToken}' } })).text());`;
  return fill(blocksOf('ts')[3] ?? '', {
    'http://localhost:8080': server,
    CLIENT_ID: guard.clientId,
    CLIENT_SECRET: guard.clientSecret,
    'openapi.yaml': openapi,
    'app.listen(8090);': `
      const api = app.listen(0, '127.0.0.1');
      await new Promise((resolve) => api.once('listening', resolve));
      const { port } = Object(api.address());
      ${call('/accounts/a1/transfers')}
      ${call('/accounts/a2/transfers')}
      guard.close();
      api.close();
      api.closeAllConnections();`,
  });
}
