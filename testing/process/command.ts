/** The command as a user runs it, for a test: what it leaves behind goes with the test. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openInstance } from '../../packages/server/src/serving/instance.ts';
import { readSettings } from '../../packages/server/src/serving/settings/settings.ts';
import { systemClock, systemRandom } from '../../packages/server/src/serving/system.ts';
import {
  collectOutput,
  createKey,
  runToEnd,
  spawnCommand,
  spawnHallpass,
  untilReady,
  type Done,
  type Environment,
} from './process.ts';

export type { Done, Environment } from './process.ts';

/** How long a command that should end by itself may take, in milliseconds, before it is stopped. */
const PATIENCE_MS = 60_000;

/** A folder that is removed when the test is over. */
export function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-command-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Creates a store in its own folder, in this process, and returns the settings that name it. */
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

/** What a command printed on standard error, without the line that names the store. */
export function remarksOf({ stderr }: Pick<Done, 'stderr'>): string {
  return stderr.replace(/^Store: .*\n/m, '');
}

/** Runs `hallpass ARGS` to its end. */
export function startCommand(args: readonly string[], environment: Environment, input = ''): Promise<Done> {
  return run(spawnHallpass(args, environment), input);
}

/** Runs a command line through a shell to its end. */
export function startShell(line: string): Promise<Done> {
  return run(spawnCommand('/bin/sh', ['-c', line], {}));
}

async function run(child: ChildProcessWithoutNullStreams, input = ''): Promise<Done> {
  const patience = setTimeout(() => child.kill('SIGTERM'), PATIENCE_MS);
  return await runToEnd(child, input).finally(() => clearTimeout(patience));
}

/** A command that runs until it is stopped. */
export interface Serving {
  readonly environment: Environment;
  readonly child: ChildProcessWithoutNullStreams;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** The exit code. */
  readonly ended: Promise<number | null>;
}

/** A server that is ready. */
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

/** Starts a command that runs until it is stopped; it is killed when the test is over. */
export function startRunning(t: TestContext, args: readonly string[], environment: Environment): Serving {
  const child = spawnHallpass(args, environment);
  const { stdout, stderr } = collectOutput(child);
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  t.after(() => child.kill('SIGKILL'));
  return { environment, child, stdout, stderr, ended };
}

/**
 * Starts a command on its own terminal, with `script` of util-linux. What the terminal shows arrives on standard output;
 * what you write to standard input is typed.
 */
export function startOnTerminal(t: TestContext, args: readonly string[], environment: Environment): Serving {
  const line = ['hallpass', ...args].map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ');
  // `script` hands the line to $SHELL. Without `exec` a shell may stay in between, and Control-C ends that one with 130.
  const child = spawnCommand('script', ['-qec', `exec ${line}`, '/dev/null'], { ...environment, SHELL: '/bin/sh' });
  const { stdout, stderr } = collectOutput(child);
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', () => reject(new Error('There is no `script` to make a terminal with: install util-linux.')));
    child.once('close', resolve);
  });
  t.after(() => child.kill('SIGKILL'));
  return { environment, child, stdout, stderr, ended };
}

/** Starts `hallpass serve` on free ports and waits until it is ready; it is killed when the test is over. */
export async function serve(t: TestContext, more: Environment = {}): Promise<Running> {
  const serving = startServing(t, more);
  // The last line that a start prints, with or without a first key.
  const { url } = await untilReady(serving.child, serving, (stdout) =>
    /operators on .*\n(.*\n)*.*(keys list|docs\/operating)/.test(stdout),
  );
  return { ...serving, url };
}

/** A guard that is ready, and the server that it follows. */
export interface RunningGuard extends Serving {
  /** Where the proxy sends its questions. */
  readonly url: string;
  /** Where health and metrics are. */
  readonly sideUrl: string;
  readonly server: Running;
}

/** Starts `hallpass guard WORDS` on free ports, and a server for it. Both are killed when the test is over. */
export async function serveGuard(t: TestContext, words: readonly string[]): Promise<RunningGuard> {
  const server = await serve(t);
  const audience = 'https://api.example.com';
  const { HALLPASS_DATA_DIR: dataDir = '' } = server.environment;
  const key = await createKey(dataDir, ['API', '--resource-server', audience], server.environment);
  const policy = join(makeFolder(t), 'policy.json');
  writeFileSync(policy, JSON.stringify({ 'GET /accounts': '/accounts.read' }));
  const where = ['--listen', '127.0.0.1:0', '--side', '127.0.0.1:0'];
  const guard = startRunning(t, ['guard', '--policy', policy, '--audience', audience, ...where, ...words], {
    HALLPASS_ISSUER: server.url,
    HALLPASS_GUARD_CLIENT_ID: key.clientId,
    HALLPASS_GUARD_CLIENT_SECRET: key.clientSecret,
  });
  const said = /asks (\S+)\n(?:.*\n)*.*metadata on (\S+)\n/;
  await untilReady(guard.child, guard, (stdout) => said.test(stdout));
  const [, url = '', sideUrl = ''] = said.exec(guard.stdout()) ?? [];
  return { ...guard, url, sideUrl, server };
}
