/** A real Hallpass in a process of its own, and its command line: for tests, rigs, measurements and the demonstration. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../packages/server/bin/hallpass.js', import.meta.url));

export type Environment = Readonly<Record<string, string>>;

export interface HallpassProcess {
  /** The issuer, which is also where it listens. */
  readonly url: string;
  readonly operatorUrl: string;
  readonly pid: number;
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

/** Starts a server on ports that are free and resolves when it says that it is ready. */
export async function startHallpass(dataDir: string, environment: Environment = {}): Promise<HallpassProcess> {
  const env = { HALLPASS_PORT: '0', HALLPASS_OPERATOR_PORT: '0', HALLPASS_LOG_LEVEL: 'error', ...environment };
  const child = spawnHallpass(['serve'], dataDir, env);
  let output = '';
  const lines = createInterface({ input: child.stdout });
  const addresses = new Promise<readonly [url: string, operatorUrl: string]>((resolve, reject) => {
    lines.on('line', (line) => {
      output += `${line}\n`;
      const url = /^Hallpass is ready: (\S+)$/m.exec(output)?.[1];
      const operatorUrl = /^ {2}for operators on (\S+)\/metrics$/m.exec(output)?.[1];
      if (url !== undefined && operatorUrl !== undefined) resolve([url, operatorUrl]);
    });
    child.once('exit', (code) => reject(new Error(`hallpass serve ended with ${code}: ${output}`)));
  });
  child.stderr.pipe(process.stderr);
  const [url, operatorUrl] = await addresses;
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> => {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
    return child.exitCode;
  };
  return {
    url,
    operatorUrl,
    pid: child.pid ?? 0,
    output: () => output,
    stop: () => end('SIGTERM'),
    kill: async () => {
      await end('SIGKILL');
    },
  };
}

/** Runs one command to its end. */
export async function runHallpass(
  dataDir: string,
  words: readonly string[],
  environment: Environment = {},
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawnHallpass(words, dataDir, environment);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

/** The credentials of a key, as its owner gets them. */
export interface Credentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

/** Makes an API key on the command line. */
export async function createKey(dataDir: string, words: readonly string[]): Promise<Credentials> {
  const { code, stdout, stderr } = await runHallpass(dataDir, ['keys', 'create', ...words, '--json']);
  if (code !== 0) throw new Error(`hallpass keys create ended with ${code}: ${stderr}`);
  const made: unknown = JSON.parse(stdout);
  const members = new Map<string, unknown>(Object.entries(typeof made === 'object' && made !== null ? made : {}));
  return { clientId: String(members.get('client_id')), clientSecret: String(members.get('client_secret')) };
}

function spawnHallpass(
  words: readonly string[],
  dataDir: string,
  environment: Environment,
): ChildProcess & { stdout: NonNullable<ChildProcess['stdout']>; stderr: NonNullable<ChildProcess['stderr']> } {
  // Of this process's environment only what a program needs: a HALLPASS_ variable of a developer must not steer a test.
  const env = { PATH: process.env['PATH'], HALLPASS_DATA_DIR: dataDir, ...environment };
  return spawn(process.execPath, [BIN, ...words], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}
