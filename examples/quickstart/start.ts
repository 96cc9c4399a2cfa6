/** Starts Hallpass, makes two API keys, and starts the API: `npm run quickstart`. Ctrl-C stops both servers. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DATA_DIR, readSetting, saveSetting, type Credentials, type Setting } from './setting.ts';

/** The name of the API in tokens (`aud`). It need not be where the API is. */
const AUDIENCE = 'https://accounts.example.com';

const HALLPASS = fileURLToPath(import.meta.resolve('hallpass/bin/hallpass.js'));
const { HALLPASS_PORT = '8080', PORT = '8090' } = process.env;
const issuer = `http://localhost:${HALLPASS_PORT}`;
const api = `http://localhost:${PORT}`;
const env = { HALLPASS_LOG_LEVEL: 'warn', ...process.env, HALLPASS_PORT, HALLPASS_DATA_DIR: DATA_DIR };

const children: ChildProcess[] = [];
process.once('SIGINT', stop).once('SIGTERM', stop);

try {
  // The operator: a server, and a key for each of the two who need one.
  await start([HALLPASS, 'serve'], env, /ready/);
  const { guard, partner } = readSetting() ?? (await createKeys());

  // The API, which knows the issuer, its own name, and its key.
  const credentials = { CLIENT_ID: guard.clientId, CLIENT_SECRET: guard.clientSecret };
  const file = fileURLToPath(new URL('api.ts', import.meta.url));
  const knows = { ...process.env, ...credentials, ISSUER: issuer, AUDIENCE, PORT };
  await start([...process.execArgv, file], knows, /listening/);

  saveSetting({ issuer, api, guard, partner });
  welcome(partner);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
  stop();
}

function welcome({ clientId, clientSecret }: Credentials): void {
  process.stdout.write(`
Hallpass is at ${issuer}, and the API at ${api}.

Make the partner's calls, in another terminal:
  npm run quickstart:calls

Or by hand, with the access token of the first response in place of TOKEN:
  curl ${issuer}/oauth2/token -u ${clientId}:${clientSecret} \\
    -d grant_type=client_credentials -d scope=/accounts/a1/transfers.read
  curl ${api}/accounts/a1/transfers -H 'Authorization: Bearer TOKEN'
`);
}

async function createKeys(): Promise<Pick<Setting, 'guard' | 'partner'>> {
  const scopes = ['--scope', '/accounts/{accountID}/transfers.read', '--scope', '/accounts/a1/transfers.write'];
  return {
    guard: await createKey('Accounts API', '--resource-server', AUDIENCE),
    partner: await createKey('Partner', '--audience', AUDIENCE, ...scopes),
  };
}

/** Runs `hallpass keys create`. */
async function createKey(...words: readonly string[]): Promise<Credentials> {
  const args = [HALLPASS, 'keys', 'create', ...words, '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  const key: { readonly client_id: string; readonly client_secret: string } = JSON.parse(stdout);
  return { clientId: key.client_id, clientSecret: key.client_secret };
}

/** Starts a program, and waits until it says that it is there. When one program ends, all of them do. */
function start(args: readonly string[], environment: NodeJS.ProcessEnv, ready: RegExp): Promise<void> {
  const child = spawn(process.execPath, args, { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (ready.test(output)) resolve();
    });
    child.once('error', reject).once('exit', (code) => {
      process.exitCode ??= code ?? 1;
      reject(new Error(`${args.join(' ')} has ended.`));
      stop();
    });
  });
}

function stop(): void {
  process.exitCode ??= 0;
  for (const child of children) child.kill('SIGTERM');
}
