/** The published guard on a runtime: a real process, a real socket, and an issuer of the test. */
import { PATHS } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openIssuer } from './harness.ts';
import { answerWith, makeId } from './issuer.ts';
import { installPublished } from './published.ts';

/** How long a process may take to start on a busy machine, in milliseconds. */
export const PATIENCE_MS = 120_000;
const HEARTBEAT_MS = 500;

const app = installPublished();
cpSync(fileURLToPath(new URL('../../../testing/runtimes/app/', import.meta.url)), app, {
  recursive: true,
  filter: (source) => !source.endsWith('package.json') && !source.endsWith('package-lock.json'),
});

const issuer = await openIssuer();
const heartbeat = setInterval(() => issuer.heartbeat(), HEARTBEAT_MS);
after(() => clearInterval(heartbeat));

/** Starts the API on the Node in `file`. Like its siblings, it resolves with the port and ends the process after the tests. */
export function startOnNode(file: string): Promise<string> {
  return start({ file, args: ['on_node.mjs'] });
}

export function startOnDeno(file: string): Promise<string> {
  const permissions = ['--no-remote', '--allow-net=127.0.0.1', '--allow-env=ISSUER'];
  const args = ['run', '--quiet', ...permissions, 'on_deno.mjs'];
  return start({ file, args, env: { DENO_DIR: join(app, '.deno') } });
}

export function startOnBun(file: string): Promise<string> {
  return start({ file, args: ['--no-install', 'on_bun.mjs'] });
}

/** Starts Cloudflare's runtime. `socket` is the one in `workerd.capnp` to call; Bun bundles the API into one file. */
export async function startOnWorkerd({
  file,
  bun,
  socket,
}: {
  readonly file: string;
  readonly bun: string;
  readonly socket: 'durable' | 'plain';
}): Promise<string> {
  const bundling = ['build', 'on_workerd.mjs', '--outfile=worker.mjs', '--format=esm', '--target=browser'];
  const { status, stderr } = spawnSync(bun, bundling, { cwd: app, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const args = ['serve', 'workerd.capnp', '--control-fd=1'];
  return await start({ file, args, ready: new RegExp(`"socket":"${socket}","port":(\\d+)`) });
}

/** Calls the API at a port: the guard allows, refuses and learns of a revocation, and the SDK gets a token. */
export async function assertGuards(port: string, userAgent: RegExp): Promise<void> {
  const base = `http://127.0.0.1:${port}`;
  const ask = (path: string, token?: string): Promise<Response> =>
    fetch(base + path, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
  assert.match(await (await ask('/runtime')).text(), userAgent);
  const [jti, kept] = [makeId(), await makeToken(makeId())];
  const token = await makeToken(jti);

  const allowed = await ask('/accounts/a1', token);
  assert.equal(allowed.status, 200, await allowed.clone().text());
  assert.deepEqual(await allowed.json(), { client: 'client-1', accountID: 'a1' });
  assert.equal((await ask('/accounts/a2', token)).status, 403);
  assert.equal((await ask('/elsewhere', token)).status, 403);
  assert.equal((await ask('/accounts/a1')).status, 401);
  assert.equal((await ask('/accounts/a1', `${token.slice(0, -4)}AAAA`)).status, 401);

  issuer.active.delete(token);
  issuer.revoke({ kind: 'token', id: jti });
  // The entry takes a moment to reach the other process.
  while ((await ask('/accounts/a1', token)).status !== 401) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal((await ask('/accounts/a1', kept)).status, 200);

  const answer = JSON.stringify({ access_token: kept, token_type: 'Bearer', expires_in: 900 });
  issuer.instead.set(PATHS.token, answerWith(200, answer));
  assert.equal(await (await ask('/token')).text(), kept);
}

/** A token issued now: a test cannot set the clock of another process. */
async function makeToken(jti: string): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const token = await issuer.token({ scope: '/accounts/a1.read', jti, iat: now, exp: now + 900 });
  issuer.active.add(token);
  return token;
}

interface Program {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What it prints when it listens, with the port. */
  readonly ready?: RegExp;
}

async function start({ file, args, env = {}, ready = /^(\d+)\n/ }: Program): Promise<string> {
  const child = spawn(file, args, { cwd: app, env: { ISSUER: issuer.url, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  after(() => child.kill('SIGKILL'));
  let output = '';
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (errors += piece));
  return await new Promise((resolve, reject) => {
    child.on('error', reject).on('exit', (code) => reject(new Error(`${file} ended with ${code}: ${errors}`)));
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
      const port = ready.exec(output)?.[1];
      if (port !== undefined) resolve(port);
    });
  });
}
