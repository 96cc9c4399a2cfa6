/** A real Hallpass in a process of its own, and its command line: for tests, rigs, measurements and the demonstration. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../packages/server/bin/hallpass.js', import.meta.url));
/** How long a server may take to be ready, in milliseconds. */
const START_TIMEOUT_MS = 30_000;

export type Environment = Readonly<Record<`HALLPASS_${string}`, string>>;

/**
 * For a server that is started again on the same store: a development issuer follows the port, and tokens from before the
 * restart would be another issuer's. And one key does in a rig what many do in life, so its budgets are lifted.
 */
export const RIG: Environment = {
  HALLPASS_ISSUER: 'http://localhost:8080',
  HALLPASS_KEY_REQUESTS_PER_SECOND: '0',
  HALLPASS_KEY_REVOCATIONS_PER_HOUR: '0',
  HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '0',
};

export interface HallpassProcess {
  readonly pid: number;
  readonly issuer: string;
  /** Where it listens. */
  readonly url: string;
  readonly operatorUrl: string;
  /** From its start until it said that it was ready, in milliseconds. */
  readonly readyMs: number;
  /** What it has said on standard output so far. */
  readonly output: () => string;
  /** Asks it to end (SIGTERM) and gives its exit code. */
  readonly stop: () => Promise<number | null>;
  /** Ends it as a power cut would (SIGKILL). */
  readonly kill: () => Promise<void>;
}

/** A new folder for a store, and the way to remove it. */
export function makeDataDir(): { readonly dataDir: string; readonly remove: () => void } {
  const dataDir = mkdtempSync(join(tmpdir(), 'hallpass-'));
  return { dataDir, remove: () => rmSync(dataDir, { recursive: true, force: true }) };
}

/**
 * Starts a server on ports that are free and resolves when it says that it is ready. `words` is what follows
 * `hallpass serve`; `under` is a command that it is run by, which must become it, or leave it its process id.
 */
export async function startHallpass(
  dataDir: string,
  environment: Environment = {},
  words: readonly string[] = [],
  under: readonly string[] = [],
): Promise<HallpassProcess> {
  const startedAt = performance.now();
  const ports = { HALLPASS_HOST: '127.0.0.1', HALLPASS_PORT: '0', HALLPASS_OPERATOR_PORT: '0' };
  const settings = { ...ports, HALLPASS_LOG_LEVEL: 'error', ...environment };
  const child = spawnHallpass(['serve', ...words], dataDir, settings, { under });
  child.stderr.pipe(process.stderr);
  let output = '';
  const lines = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`hallpass serve was not ready in time: ${output}`)),
      START_TIMEOUT_MS,
    );
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (!OPERATOR.test(output)) return;
      clearTimeout(timer);
      resolve();
    });
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`hallpass serve ended with ${code}: ${output}`));
    });
  });
  await lines.catch((error: unknown) => {
    child.kill('SIGKILL');
    throw error;
  });
  const readyMs = performance.now() - startedAt;
  const issuer = /^Hallpass is ready: (\S+)$/m.exec(output)?.[1] ?? '';
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
    }
    return child.exitCode;
  };
  return {
    pid: child.pid ?? 0,
    issuer,
    url: /^ {2}listening on (\S+)$/m.exec(output)?.[1] ?? issuer,
    operatorUrl: OPERATOR.exec(output)?.[1] ?? '',
    readyMs,
    output: () => output,
    stop: () => end('SIGTERM'),
    kill: async () => {
      await end('SIGKILL');
    },
  };
}

const OPERATOR = /^ {2}for operators on (\S+)\/metrics$/m;

/** The credentials of a key, as its owner gets them. */
export interface Credentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

/** Makes an API key on the command line: `words` is what follows `hallpass keys create`. */
export async function createKey(
  dataDir: string,
  words: readonly string[],
  environment: Environment = {},
): Promise<Credentials> {
  await beginStore(dataDir, environment);
  const stdout = await runCommand(dataDir, ['keys', 'create', ...words, '--json'], environment);
  const made: { readonly client_id: string; readonly client_secret: string } = JSON.parse(stdout);
  return { clientId: made.client_id, clientSecret: made.client_secret };
}

/** Imports the credentials of a key on the command line: `words` is what else follows `hallpass keys create`. */
export async function importKey(dataDir: string, key: Credentials, words: readonly string[]): Promise<void> {
  await beginStore(dataDir, {});
  const imported = ['--client-id', key.clientId, '--client-secret', '-'];
  await runCommand(dataDir, ['keys', 'create', ...words, ...imported], {}, [], key.clientSecret);
}

/** The stores that are there, by their folder and database. */
const begun = new Set<string>();

/** Begins a store where there is none yet: a rig may make its keys before it starts a server. */
async function beginStore(dataDir: string, environment: Environment): Promise<void> {
  const place = `${dataDir} ${environment.HALLPASS_DATABASE_URL ?? ''}`;
  if (begun.has(place)) return;
  await runCommand(dataDir, ['store', 'init'], environment);
  begun.add(place);
}

/** Runs a command to its end and gives what it said on standard output; rejects when it did not succeed. */
export async function runCommand(
  dataDir: string,
  words: readonly string[],
  environment: Environment = {},
  under: readonly string[] = [],
  input = '',
): Promise<string> {
  const child = spawnHallpass(words, dataDir, environment, { under, input });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  await once(child, 'close');
  if (child.exitCode !== 0) throw new Error(`hallpass ${words.join(' ')} ended with ${child.exitCode}: ${stderr}`);
  return stdout;
}

function spawnHallpass(
  words: readonly string[],
  dataDir: string,
  environment: Environment,
  { under = [], input = '' }: { readonly under?: readonly string[]; readonly input?: string } = {},
): ChildProcessByStdio<Writable, Readable, Readable> {
  // A setting of whoever runs this must not steer it.
  const inherited = Object.entries(process.env).filter(([name]) => !/^(?:HALLPASS_|NODE_|FORCE_COLOR)/.test(name));
  const env = { ...Object.fromEntries(inherited), HALLPASS_DATA_DIR: dataDir, ...environment };
  const [command = process.execPath, ...rest] = [...under, process.execPath, BIN, ...words];
  const child = spawn(command, rest, { env, stdio: 'pipe' });
  // A command that ends before it has read its input closes the pipe.
  child.stdin.on('error', () => undefined).end(input);
  return child;
}
