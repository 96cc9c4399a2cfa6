/** What is published, on each runtime that it is for: a real process, a real socket, an issuer of the test. */
import { PATHS } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openIssuer } from './harness.ts';
import { answerWith, makeId } from './issuer.ts';
import { installPublished } from './published.ts';
import { installRuntimes } from '../../../testing/runtimes/installed.ts';

/** For a process that has to start on a machine that is busy, in milliseconds. */
const PATIENCE_MS = 120_000;
const BEAT_MS = 500;

const binaryOf = installRuntimes();
const app = installPublished();
cpSync(fileURLToPath(new URL('../../../testing/runtimes/app/', import.meta.url)), app, {
  recursive: true,
  filter: (source) => !source.endsWith('package.json') && !source.endsWith('package-lock.json'),
});

const issuer = await openIssuer();
const beat = setInterval(() => issuer.heartbeat(), BEAT_MS);
after(() => clearInterval(beat));

/** A token of this moment: the clock of another process cannot be set. */
async function tokenOf(jti: string): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const token = await issuer.token({ scope: '/accounts/a1.read', jti, iat: now, exp: now + 900 });
  issuer.active.add(token);
  return token;
}

interface Program {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What it says when it listens, with the port. */
  readonly ready?: RegExp;
}

/** Starts a program; gives the port on which it listens. It is ended after the test. */
async function start({ file, args, env = {}, ready = /^(\d+)\n/ }: Program): Promise<string> {
  const child = spawn(file, args, { cwd: app, env: { ISSUER: issuer.url, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  after(() => child.kill('SIGKILL'));
  let said = '';
  let complained = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (complained += piece));
  return await new Promise((resolve, reject) => {
    child.on('error', reject).on('exit', (code) => reject(new Error(`${file} ended with ${code}: ${complained}`)));
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      said += piece;
      const port = ready.exec(said)?.[1];
      if (port !== undefined) resolve(port);
    });
  });
}

interface Place {
  /** What it has to call itself. */
  readonly calls: RegExp;
  /** Starts the API; gives its port. */
  readonly open: () => Promise<string>;
}

function onNode(file: string): Promise<string> {
  return start({ file, args: ['on_node.mjs'] });
}

function onDeno(): Promise<string> {
  const permissions = ['--no-remote', '--allow-net=127.0.0.1', '--allow-env=ISSUER'];
  const args = ['run', '--quiet', ...permissions, 'on_deno.mjs'];
  return start({ file: binaryOf('deno'), args, env: { DENO_DIR: join(app, '.deno') } });
}

function onBun(): Promise<string> {
  return start({ file: binaryOf('bun'), args: ['--no-install', 'on_bun.mjs'] });
}

/** One file is what workers are made of. */
async function onWorkerd(socket: string): Promise<string> {
  const bundling = ['build', 'on_workerd.mjs', '--outfile=worker.mjs', '--format=esm', '--target=browser'];
  const { status, stderr } = spawnSync(binaryOf('bun'), bundling, { cwd: app, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const args = ['serve', 'workerd.capnp', '--control-fd=1'];
  return await start({ file: binaryOf('workerd'), args, ready: new RegExp(`"socket":"${socket}","port":(\\d+)`) });
}

const WORKERD = /^Cloudflare-Workers$/;

const PLACES: Readonly<Record<string, Place>> = {
  'Node 20': { calls: /^Node\.js\/20\./, open: () => onNode(binaryOf('node20')) },
  'Node 22': { calls: /^Node\.js\/22\./, open: () => onNode(binaryOf('node22')) },
  'Node 24': { calls: /^Node\.js\/24\./, open: () => onNode(binaryOf('node24')) },
  'Node 26': { calls: /^Node\.js\/26\./, open: () => onNode(process.execPath) },
  Deno: { calls: /^Deno\/2\./, open: onDeno },
  Bun: { calls: /^Bun\/1\./, open: onBun },
  'workerd, in a durable object': { calls: WORKERD, open: () => onWorkerd('durable') },
  'workerd, in a worker that introspects': { calls: WORKERD, open: () => onWorkerd('plain') },
};

for (const [name, { calls, open }] of Object.entries(PLACES)) {
  test(
    `${name}: the published guard allows, refuses, and hears of a revocation`,
    { timeout: PATIENCE_MS },
    async () => {
      const base = `http://127.0.0.1:${await open()}`;
      const ask = (path: string, token?: string): Promise<Response> =>
        fetch(base + path, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
      assert.match(await (await ask('/runtime')).text(), calls);
      const [jti, kept] = [makeId(), await tokenOf(makeId())];
      const token = await tokenOf(jti);

      const allowed = await ask('/accounts/a1', token);
      assert.equal(allowed.status, 200, await allowed.clone().text());
      assert.deepEqual(await allowed.json(), { client: 'client-1', accountID: 'a1' });
      assert.equal((await ask('/accounts/a2', token)).status, 403);
      assert.equal((await ask('/elsewhere', token)).status, 403);
      assert.equal((await ask('/accounts/a1')).status, 401);
      assert.equal((await ask('/accounts/a1', `${token.slice(0, -4)}AAAA`)).status, 401);

      issuer.active.delete(token);
      issuer.revoke({ kind: 'token', id: jti });
      // As soon as the entry has arrived there.
      while ((await ask('/accounts/a1', token)).status !== 401) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal((await ask('/accounts/a1', kept)).status, 200);

      // The SDK, there.
      const answer = JSON.stringify({ access_token: kept, token_type: 'Bearer', expires_in: 900 });
      issuer.instead.set(PATHS.token, answerWith(200, answer));
      assert.equal(await (await ask('/token')).text(), kept);
    },
  );
}
