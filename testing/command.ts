/** The command itself, as a user starts it: `node_modules/.bin/hallpass` in a process of its own. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openInstance } from '../packages/server/src/serving/instance.ts';
import { readSettings } from '../packages/server/src/serving/settings/settings.ts';
import { systemClock, systemRandom } from '../packages/server/src/serving/system.ts';

const BIN = fileURLToPath(new URL('../node_modules/.bin/', import.meta.url));

/** How long a command may take that ought to end by itself, in milliseconds; then it is told to stop. */
const PATIENCE_MS = 60_000;

export type Environment = Readonly<Record<string, string>>;

export interface Done {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder that goes with the test. */
export function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-command-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The settings of a new store in a folder of its own, begun as `hallpass store init` would, without a process for it. */
export async function makeStore<More extends Environment>(
  t: TestContext,
  more?: More,
): Promise<{ readonly HALLPASS_DATA_DIR: string } & More> {
  const settings = { HALLPASS_DATA_DIR: join(makeFolder(t), 'data'), ...more };
  const instance = await openInstance(readSettings(settings), { clock: systemClock, random: systemRandom });
  await instance.store.close();
  // oxlint-disable-next-line no-unsafe-type-assertion -- a spread of an absent object adds nothing
  return settings as { readonly HALLPASS_DATA_DIR: string } & More;
}

/** What a command says on standard error, without the line that names the store. */
export function remarksOf({ stderr }: Pick<Done, 'stderr'>): string {
  return stderr.replace(/^Store: .*\n/m, '');
}

function start(command: string, args: readonly string[], environment: Environment): ChildProcessWithoutNullStreams {
  // Nothing of this process's settings, and its own runtime before any other of the machine.
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('HALLPASS_') && !name.startsWith('NODE_')),
  );
  return spawn(command, args, {
    env: { ...inherited, PATH: `${BIN}${delimiter}${process.env['PATH'] ?? ''}`, NO_COLOR: '1', ...environment },
    stdio: 'pipe',
  });
}

function collect(child: ChildProcessWithoutNullStreams): {
  readonly stdout: () => string;
  readonly stderr: () => string;
} {
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  return { stdout: () => stdout, stderr: () => stderr };
}

/** Runs `hallpass ARGS` to its end. */
export function startCommand(args: readonly string[], environment: Environment, input = ''): Promise<Done> {
  return run(join(BIN, 'hallpass'), args, environment, input);
}

/** Runs a command line through a shell to its end. */
export function startShell(line: string): Promise<Done> {
  return run('/bin/sh', ['-c', line], {}, '');
}

async function run(command: string, args: readonly string[], environment: Environment, input: string): Promise<Done> {
  const child = start(command, args, environment);
  const { stdout, stderr } = collect(child);
  // A command that ends before it has read its input closes the pipe.
  child.stdin.on('error', () => undefined).end(input);
  const patience = setTimeout(() => child.kill('SIGTERM'), PATIENCE_MS);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  clearTimeout(patience);
  return { code, stdout: stdout(), stderr: stderr() };
}

export interface Serving {
  readonly environment: Environment;
  readonly child: ChildProcessWithoutNullStreams;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** The exit code. */
  readonly ended: Promise<number | null>;
}

export interface Running extends Serving {
  readonly url: string;
}

/** Starts `hallpass serve` on free ports; it is killed when the test is over. */
export function startServing(t: TestContext, more: Environment = {}): Serving {
  const environment = {
    HALLPASS_DATA_DIR: makeFolder(t),
    HALLPASS_HOST: '127.0.0.1',
    HALLPASS_PORT: '0',
    HALLPASS_OPERATOR_PORT: '0',
    HALLPASS_LOG_LEVEL: 'warn',
    ...more,
  };
  return startRunning(t, ['serve'], environment);
}

/** Starts a command that goes on until it is stopped; it is killed when the test is over. */
export function startRunning(t: TestContext, args: readonly string[], environment: Environment): Serving {
  const child = start(join(BIN, 'hallpass'), args, environment);
  const { stdout, stderr } = collect(child);
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  t.after(() => child.kill('SIGKILL'));
  return { environment, child, stdout, stderr, ended };
}

/**
 * Starts a command on a terminal of its own, by `script` of util-linux; what the terminal shows is on standard output. What
 * is written to its standard input is typed.
 */
export function startOnTerminal(t: TestContext, args: readonly string[], environment: Environment): Serving {
  const line = ['hallpass', ...args].map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ');
  // `script` hands the line to $SHELL. Without `exec` a shell may stay in between, and Control-C ends that one with 130.
  const child = start('script', ['-qec', `exec ${line}`, '/dev/null'], { ...environment, SHELL: '/bin/sh' });
  const { stdout, stderr } = collect(child);
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', () => reject(new Error('There is no `script` to make a terminal with: install util-linux.')));
    child.once('close', resolve);
  });
  t.after(() => child.kill('SIGKILL'));
  return { environment, child, stdout, stderr, ended };
}

/** The same, and waits until it says that it is ready. */
export async function spawnHallpass(t: TestContext, more: Environment = {}): Promise<Running> {
  const serving = startServing(t, more);
  const { child, stdout, stderr } = serving;
  await new Promise<void>((resolve, reject) => {
    const look = (): void => {
      // The last line that a start prints, with or without a first key.
      if (/operators on .*\n(.*\n)*.*(keys list|docs\/operating)/.test(stdout())) resolve();
    };
    child.stdout.on('data', look);
    child.once('close', () => reject(new Error(`it ended before it was ready: ${stderr()}`)));
  });
  const url = /listening on (\S+)/.exec(stdout())?.[1] ?? /ready: (\S+)/.exec(stdout())?.[1];
  assert.ok(url !== undefined);
  return { ...serving, url };
}

export interface RunningGuard extends Serving {
  /** Where the proxy asks. */
  readonly url: string;
  /** Where health and metrics are. */
  readonly sideUrl: string;
  readonly server: Running;
}

/** Starts `hallpass guard` on free ports, with a server for it; `words` is what follows. Both are killed when the test is over. */
export async function spawnGuard(t: TestContext, words: readonly string[]): Promise<RunningGuard> {
  const server = await spawnHallpass(t);
  const audience = 'https://api.example.com';
  const made = await startCommand(
    ['keys', 'create', 'API', '--resource-server', audience, '--json'],
    server.environment,
  );
  const key: { readonly client_id: string; readonly client_secret: string } = JSON.parse(made.stdout);
  const policy = join(makeFolder(t), 'policy.json');
  writeFileSync(policy, JSON.stringify({ 'GET /accounts': '/accounts.read' }));
  const where = ['--listen', '127.0.0.1:0', '--side', '127.0.0.1:0'];
  const guard = startRunning(t, ['guard', '--policy', policy, '--audience', audience, ...where, ...words], {
    HALLPASS_ISSUER: server.url,
    HALLPASS_GUARD_CLIENT_ID: key.client_id,
    HALLPASS_GUARD_CLIENT_SECRET: key.client_secret,
  });
  const said = /asks (\S+)\n(?:.*\n)*.*metadata on (\S+)\n/;
  await new Promise<void>((resolve, reject) => {
    guard.child.stdout.on('data', () => (said.test(guard.stdout()) ? resolve() : undefined));
    guard.child.once('close', () => reject(new Error(`it ended before it was ready: ${guard.stderr()}`)));
  });
  const [, url = '', sideUrl = ''] = said.exec(guard.stdout()) ?? [];
  return { ...guard, url, sideUrl, server };
}
