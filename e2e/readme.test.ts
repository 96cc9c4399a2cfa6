/** The examples of the README, as they stand there, against a real server. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Hallpass, type AccessTokenResponse } from '@hallpass/client';
import {
  createKey,
  importKey,
  makeDataDir,
  startHallpass,
  type Credentials,
  type HallpassProcess,
} from './hallpass_process.ts';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const blocks = (language: string): readonly string[] =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, code = '']) => code);

// Inside the project, so that the examples find the packages by their names.
const folder = fileURLToPath(new URL('../.cache/readme/', import.meta.url));
const { dataDir, remove } = makeDataDir();
const SEED = { clientId: '5clTR_MdVrrkgxw2', clientSecret: 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-' };
const API = 'https://api.example.com';
let server: HallpassProcess;
let resourceServer: Credentials;

before(async () => {
  const scopes = ['--scope', '/accounts.write', '--scope', '/accounts/{accountID}/transfers.read', '--audience', API];
  await importKey(dataDir, SEED, ['Partner', ...scopes]);
  resourceServer = await createKey(dataDir, ['My API', '--resource-server', API]);
  server = await startHallpass(dataDir);
  mkdirSync(folder, { recursive: true });
});
after(async () => {
  await server.stop();
  remove();
  rmSync(folder, { recursive: true });
});

async function getTokens(scope: string): Promise<AccessTokenResponse> {
  const { accessToken } = new Hallpass({ serverURL: server.url });
  const { accessTokenResponse } = await accessToken.create({ ...SEED, grantType: 'client_credentials', scope });
  assert.ok(accessTokenResponse !== undefined);
  return accessTokenResponse;
}

/** An example with only what every reader has to put in their own of replaced, run as a program. */
async function run(name: string, code: string, replacements: Readonly<Record<string, string>>): Promise<string> {
  let program = code;
  for (const [text, own] of Object.entries({ 'http://localhost:8080': server.url, ...replacements })) {
    assert.ok(program.includes(text), `the example no longer has ${text}`);
    program = program.replaceAll(text, own);
  }
  const file = `${folder}${name}.ts`;
  writeFileSync(file, program);
  const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=hallpass-source', file]);
  return stdout;
}

const SAMPLE_TOKEN = 'i1qxz68gu50zp4i8ceyxqogmq7y0yienm52351c6...';

test('create: the first example gets a token with the key that was printed', async () => {
  const said = await run('first', blocks('ts')[0] ?? '', {
    CLIENT_ID: SEED.clientId,
    CLIENT_SECRET: SEED.clientSecret,
  });
  assert.equal(said, '/accounts.write 900\n');
});

test('create: the example of the first page refreshes a token', async () => {
  const { refreshToken = '' } = await getTokens('/accounts.write');
  const said = await run('create', blocks('ts')[1] ?? '', {
    [SAMPLE_TOKEN]: refreshToken,
    '// handle response': 'console.log(res.statusCode, res.contentType, res.accessTokenResponse.scope);',
  });
  assert.equal(said, '200 application/json /accounts.write\n');
});

test('revoke: the example of the first page takes a token back', async () => {
  const { refreshToken = '' } = await getTokens('/accounts.write');
  const said = await run('revoke', blocks('ts')[2] ?? '', {
    [SAMPLE_TOKEN]: refreshToken,
    '// handle response': 'console.log(res.statusCode, await res.rawResponse.text());',
  });
  assert.equal(said, '200 {}\n');
});

const OPENAPI = `openapi: 3.1.0
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

/** A file beside the examples; gives its path. */
function save(name: string, text: string): string {
  const file = folder + name;
  writeFileSync(file, text);
  return file;
}

test('the guard of the README lets in what its scope opens, and nothing else', async () => {
  const { accessToken } = await getTokens('/accounts/a1/transfers.read');
  const ask = (path: string): string =>
    `console.log(await (await fetch(\`http://127.0.0.1:\${port}${path}\`, { headers: { authorization: 'Bearer ${accessToken}' } })).text());`;
  const said = await run('guard', blocks('ts')[3] ?? '', {
    CLIENT_ID: resourceServer.clientId,
    CLIENT_SECRET: resourceServer.clientSecret,
    'openapi.yaml': save('openapi.yaml', OPENAPI),
    'app.listen(8090);': `
      const api = app.listen(0, '127.0.0.1');
      await new Promise((resolve) => api.once('listening', resolve));
      const { port } = api.address() as { port: number };
      ${ask('/accounts/a1/transfers')}
      ${ask('/accounts/a2/transfers')}
      guard.close();
      api.close();
      api.closeAllConnections();`,
  });
  const [allowed = '', refused = ''] = said.split('\n');
  assert.equal(allowed, `${SEED.clientId} reads the transfers of a1`);
  assert.match(refused, /insufficient_scope.*\/accounts\/a2\/transfers\.read/);
});

test('each hallpass command of the README is one that exists', async () => {
  const commands = blocks('sh')
    .flatMap((code) => [...code.matchAll(/^npx hallpass ((?:keys|policy|store) [a-z-]+|[a-z-]+)/gm)])
    .map(([, words = '']) => words);
  assert.ok(commands.length > 0);
  const documented = readFileSync(new URL('../docs/cli.md', import.meta.url), 'utf8');
  for (const words of commands) assert.ok(documented.includes(`## hallpass ${words}\n`), words);
});
