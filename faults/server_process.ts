/** A real server process on a data folder, for everything that starts, loads, kills or times one. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const HALLPASS = fileURLToPath(new URL('../packages/server/bin/hallpass.js', import.meta.url));
/** How long a server may take to be ready, in milliseconds. */
const START_TIMEOUT_MS = 30_000;

/**
 * The issuer of every server that a rig starts. A development issuer would follow the port, and tokens from before a
 * restart would be another issuer's afterwards: refused for a reason that has nothing to do with the fault.
 */
const ISSUER = 'http://localhost:8080';

export interface ServerProcess {
  /** Of the public listener. */
  readonly url: string;
  readonly operatorUrl: string;
  /** From its start until it said that it was ready, in milliseconds. */
  readonly readyMs: number;
  /** Ends it at once (SIGKILL), as a crash would; resolves when it is gone. */
  readonly kill: () => Promise<void>;
  /** Ends it in order (SIGTERM); resolves when it is gone. */
  readonly stop: () => Promise<void>;
}

/** An API key, as `hallpass keys create --json` shows it. */
export interface ApiKey {
  readonly client_id: string;
  readonly client_secret: string;
}

export type Settings = Readonly<Record<`HALLPASS_${string}`, string>>;

/** Starts a server on free ports of this machine and waits until it is ready. */
export async function startServerProcess(dataDir: string, settings: Settings = {}): Promise<ServerProcess> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [HALLPASS, 'serve'], {
    env: environmentFor(dataDir, settings),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [url, operatorUrl] = await findAddresses(child);
  const readyMs = performance.now() - startedAt;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };
  return { url, operatorUrl, readyMs, kill: () => end('SIGKILL'), stop: () => end('SIGTERM') };
}

/** Makes an API key by the command line. */
export async function createApiKey(dataDir: string, options: readonly string[]): Promise<ApiKey> {
  const run = promisify(execFile);
  const given = [HALLPASS, 'keys', 'create', 'rig', ...options, '--json'];
  const { stdout } = await run(process.execPath, given, { env: environmentFor(dataDir, {}) });
  const key: ApiKey = JSON.parse(stdout);
  return key;
}

/** What this process was started with, without settings of ours that its user may have. */
function environmentFor(dataDir: string, settings: Settings): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(HALLPASS_|NODE_|FORCE_COLOR)/.test(name));
  return {
    ...Object.fromEntries(inherited),
    HALLPASS_DATA_DIR: dataDir,
    HALLPASS_ISSUER: ISSUER,
    HALLPASS_HOST: '127.0.0.1',
    HALLPASS_PORT: '0',
    HALLPASS_OPERATOR_PORT: '0',
    HALLPASS_LOG_LEVEL: 'silent',
    ...settings,
  };
}

/** The addresses that a server prints once it listens; rejects with what it said when it ends instead. */
async function findAddresses(child: ChildProcess): Promise<readonly [url: string, operatorUrl: string]> {
  let out = '';
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-4_000);
  });
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`The server was not ready within ${START_TIMEOUT_MS} ms. ${complaint}`));
    }, START_TIMEOUT_MS);
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`The server ended with exit code ${code} before it was ready. ${complaint}`));
    });
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      const url = /listening on (http:\S+)/.exec(out)?.[1];
      const operatorUrl = /for operators on (http:\S+)\/metrics/.exec(out)?.[1];
      if (url === undefined || operatorUrl === undefined) return;
      clearTimeout(timer);
      resolve([url, operatorUrl]);
    });
  });
}
