/** Hallpass in a process of its own: the one place that spawns the command, for tests, rigs and measurements alike. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openInstance } from '../../packages/server/src/serving/instance.ts';
import { readSettings } from '../../packages/server/src/serving/settings/settings.ts';
import { systemClock, systemRandom } from '../../packages/server/src/serving/system.ts';
import { runCommand, type Done, type Environment } from './run_command.ts';

export type { Done, Environment } from './run_command.ts';

const BIN = fileURLToPath(new URL('../../node_modules/.bin/', import.meta.url));
const HALLPASS = join(BIN, 'hallpass');
/** How long a server may take to be ready, in milliseconds. */
const START_TIMEOUT_MS = 60_000;

/** Starts `hallpass WORDS`. `under` is a command that runs it, such as strace, and that keeps its process id. */
export function spawnHallpass(
  words: readonly string[],
  environment: Environment,
  under: readonly string[] = [],
): ChildProcessWithoutNullStreams {
  const [command = HALLPASS, ...args] = [...under, HALLPASS, ...words];
  return spawnCommand(command, args, environment);
}

/** Starts any command in the environment of the tests, which has `hallpass` and the checkout's Node in its PATH. */
export function spawnCommand(
  command: string,
  args: readonly string[],
  environment: Environment,
): ChildProcessWithoutNullStreams {
  // The settings of whoever runs the tests must not reach the command; the cache of compiled sources may.
  const inherited = Object.entries(process.env).filter(
    ([name]) => name === 'NODE_COMPILE_CACHE' || !/^(?:HALLPASS_|NODE_|FORCE_COLOR)/.test(name),
  );
  const path = `${BIN}${delimiter}${process.env['PATH'] ?? ''}`;
  return spawn(command, args, {
    env: { ...Object.fromEntries(inherited), PATH: path, NO_COLOR: '1', ...environment },
    stdio: 'pipe',
  });
}

/** Collects what a process prints, from now on. */
export function collectOutput(child: ChildProcessWithoutNullStreams): {
  readonly stdout: () => string;
  readonly stderr: () => string;
} {
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  return { stdout: () => stdout, stderr: () => stderr };
}

/** Gives a process its input and waits for its end. Rejects if the command does not exist. */
export async function runToEnd(child: ChildProcessWithoutNullStreams, input = ''): Promise<Done> {
  const { stdout, stderr } = collectOutput(child);
  // A command that ends before it has read its input closes the pipe.
  child.stdin.on('error', () => undefined).end(input);
  await once(child, 'close');
  return { code: child.exitCode, stdout: stdout(), stderr: stderr() };
}

/** Where a server listens, as it prints when it is ready. */
export interface Addresses {
  readonly issuer: string;
  readonly url: string;
  readonly operatorUrl: string;
}

/** Waits until a server says that it is ready. Rejects, after killing it, if it ends first or takes too long. */
export async function untilReady(
  child: ChildProcessWithoutNullStreams,
  output: { readonly stdout: () => string; readonly stderr: () => string },
  isReady = (stdout: string): boolean => OPERATOR.test(stdout),
): Promise<Addresses> {
  await new Promise<void>((resolve, reject) => {
    const fail = (what: string): void => reject(new Error(`hallpass ${what}: ${output.stdout()}${output.stderr()}`));
    const timer = setTimeout(() => fail('was not ready in time'), START_TIMEOUT_MS);
    child.stdout.on('data', () => {
      if (!isReady(output.stdout())) return;
      clearTimeout(timer);
      resolve();
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      fail(`ended with ${code}`);
    });
  }).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw error;
  });
  const stdout = output.stdout();
  const issuer = /^Hallpass is ready: (\S+)$/m.exec(stdout)?.[1] ?? '';
  const url = /^ {2}listening on (\S+)$/m.exec(stdout)?.[1] ?? issuer;
  return { issuer, url, operatorUrl: OPERATOR.exec(stdout)?.[1] ?? '' };
}

const OPERATOR = /^ {2}for operators on (\S+)\/metrics$/m;

/**
 * Settings for a server that is restarted on the same store. The issuer is fixed, because a development issuer follows the
 * port, and tokens from before the restart would be another issuer's. One key does the work of many, so limits are off.
 */
export const RIG = {
  HALLPASS_ISSUER: 'http://localhost:8080',
  HALLPASS_KEY_REQUESTS_PER_SECOND: '0',
  HALLPASS_KEY_REVOCATIONS_PER_HOUR: '0',
  HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '0',
} as const;

/** A running server. */
export interface HallpassProcess extends Addresses {
  readonly pid: number;
  /** From its start until it said that it was ready, in milliseconds. */
  readonly readyMs: number;
  /** What it has printed on standard output so far. */
  readonly output: () => string;
  /** Sends SIGTERM, waits for the end, and returns the exit code. */
  readonly stop: () => Promise<number | null>;
  /** Ends it as a power cut would: SIGKILL. */
  readonly kill: () => Promise<void>;
}

/** A new folder for a store, and a function that removes it. */
export function makeDataDir(): { readonly dataDir: string; readonly remove: () => void } {
  const dataDir = mkdtempSync(join(tmpdir(), 'hallpass-'));
  return { dataDir, remove: () => rmSync(dataDir, { recursive: true, force: true }) };
}

/**
 * Starts a server on free ports and resolves when it is ready. `words` follow `hallpass serve`. `under` is a command that
 * runs it, and that keeps its process id.
 */
export async function startHallpass(
  dataDir: string,
  environment: Environment = {},
  words: readonly string[] = [],
  under: readonly string[] = [],
): Promise<HallpassProcess> {
  const startedAt = performance.now();
  const settings = {
    HALLPASS_DATA_DIR: dataDir,
    HALLPASS_HOST: '127.0.0.1',
    HALLPASS_PORT: '0',
    HALLPASS_OPERATOR_PORT: '0',
    HALLPASS_LOG_LEVEL: 'error',
    ...environment,
  };
  const child = spawnHallpass(['serve', ...words], settings, under);
  child.stdin.end();
  child.stderr.pipe(process.stderr);
  const output = collectOutput(child);
  const addresses = await untilReady(child, output);
  const readyMs = performance.now() - startedAt;
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
    }
    return child.exitCode;
  };
  return {
    ...addresses,
    pid: child.pid ?? 0,
    readyMs,
    output: output.stdout,
    stop: () => end('SIGTERM'),
    kill: async () => {
      await end('SIGKILL');
    },
  };
}

/** What a client authenticates with. */
export interface Credentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

/** Creates an API key, and the store if there is none: `words` follow `hallpass keys create`. */
export async function createKey(
  dataDir: string,
  words: readonly string[],
  environment: Environment = {},
): Promise<Credentials> {
  await beginStore(dataDir, environment);
  const stdout = await mustRun(dataDir, ['keys', 'create', ...words, '--json'], environment);
  const made: { readonly client_id: string; readonly client_secret: string } = JSON.parse(stdout);
  return { clientId: made.client_id, clientSecret: made.client_secret };
}

/** Imports an API key with these credentials, and creates the store if there is none: `words` follow `hallpass keys create`. */
export async function importKey(dataDir: string, key: Credentials, words: readonly string[]): Promise<void> {
  await beginStore(dataDir, {});
  const imported = ['--client-id', key.clientId, '--client-secret', '-'];
  await mustRun(dataDir, ['keys', 'create', ...words, ...imported], {}, key.clientSecret);
}

/** The stores that exist, by folder and database. */
const begun = new Set<string>();

/** Creates the store where there is none yet: a rig makes its keys before it starts a server. */
async function beginStore(dataDir: string, environment: Environment): Promise<void> {
  const place = `${dataDir} ${environment['HALLPASS_DATABASE_URL'] ?? ''}`;
  if (begun.has(place)) return;
  const settings = readSettings({ ...environment, HALLPASS_DATA_DIR: dataDir });
  const instance = await openInstance(settings, { clock: systemClock, random: systemRandom });
  await instance.store.close();
  begun.add(place);
}

/** Runs a command in this process, and returns what it printed on standard output. Rejects unless it succeeds. */
export async function mustRun(
  dataDir: string,
  words: readonly string[],
  environment: Environment = {},
  input = '',
): Promise<string> {
  const done = await runCommand(words, { HALLPASS_DATA_DIR: dataDir, ...environment }, input);
  return outputOf(words, done);
}

/** What a command printed on standard output. Throws unless it succeeded. */
export function outputOf(words: readonly string[], { code, stdout, stderr }: Done): string {
  if (code !== 0) throw new Error(`hallpass ${words.join(' ')} ended with ${code}: ${stderr}`);
  return stdout;
}
