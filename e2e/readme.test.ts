/** The README's examples, unchanged, against a real server. */
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
} from '../testing/process/process.ts';
import {
  API,
  blocksOf,
  createExample,
  firstExample,
  guardExample,
  OPENAPI,
  revokeExample,
  SEED,
  SEED_POLICY,
} from './readme_examples.ts';

// Inside the project, so that the examples find the packages by their names.
const folder = fileURLToPath(new URL('../.cache/readme/', import.meta.url));
const { dataDir, remove } = makeDataDir();
let server: HallpassProcess;
let resourceServer: Credentials;

before(async () => {
  await importKey(dataDir, SEED, ['Partner', ...SEED_POLICY]);
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

/** Runs an example as a program; gives what it printed. */
async function run(name: string, code: string): Promise<string> {
  const file = `${folder}${name}.ts`;
  writeFileSync(file, code);
  const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=hallpass-source', file]);
  return stdout;
}

test('create: the first example gets a token with the key that was printed', async () => {
  const said = await run('first', firstExample(server.url, SEED));
  assert.equal(said, '/accounts.write 900\n');
});

test('create: the example on the first page refreshes a token', async () => {
  const { refreshToken = '' } = await getTokens('/accounts.write');
  const said = await run('create', createExample(server.url, refreshToken));
  assert.equal(said, '200 application/json /accounts.write\n');
});

test('revoke: the example on the first page revokes a token', async () => {
  const { refreshToken = '' } = await getTokens('/accounts.write');
  const said = await run('revoke', revokeExample(server.url, refreshToken));
  assert.equal(said, '200 {}\n');
});

test('the guard of the README allows what the scope opens, and nothing else', async () => {
  const { accessToken } = await getTokens('/accounts/a1/transfers.read');
  const openapi = `${folder}openapi.yaml`;
  writeFileSync(openapi, OPENAPI);
  const said = await run('guard', guardExample(server.url, { guard: resourceServer, openapi, accessToken }));
  const [allowed = '', refused = ''] = said.split('\n');
  assert.equal(allowed, `${SEED.clientId} reads the transfers of a1`);
  assert.match(refused, /insufficient_scope.*\/accounts\/a2\/transfers\.read/);
});

test('each hallpass command of the README is one that exists', async () => {
  const commands = blocksOf('sh')
    .flatMap((code) => [...code.matchAll(/^npx hallpass ((?:keys|policy|store) [a-z-]+|[a-z-]+)/gm)])
    .map(([, words = '']) => words);
  assert.ok(commands.length > 0);
  const documented = readFileSync(new URL('../docs/cli.md', import.meta.url), 'utf8');
  for (const words of commands) assert.ok(documented.includes(`## hallpass ${words}\n`), words);
});
