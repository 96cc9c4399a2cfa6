/** A real PgBouncer, installed on this machine, in front of a cluster, with no settings that would help Hallpass. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unprivilegedUser, type PostgresCluster } from '../testing/postgres/cluster.ts';
import { freePort } from '../testing/process/free_port.ts';

const READY_MS_MAX = 10_000;
const POLL_MS = 20;

/** See `pool_mode` in PgBouncer's manual. */
export type PoolMode = 'session' | 'transaction' | 'statement';

/** A running PgBouncer. */
export interface PgBouncer {
  /** The address of a database through the pooler. */
  readonly through: (url: string) => string;
  readonly stop: () => Promise<void>;
}

/** Starts a pooler. Throws an error that names the package to install when there is no PgBouncer. */
export async function startPgBouncer(cluster: PostgresCluster, mode: PoolMode): Promise<PgBouncer> {
  const program = findProgram();
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-pgbouncer-'));
  const user = unprivilegedUser();
  const port = await freePort();
  const [settings, log] = [join(folder, 'pgbouncer.ini'), join(folder, 'log')];
  writeFileSync(join(folder, 'users.txt'), '"postgres" ""\n"poor" ""\n');
  writeFileSync(settings, settingsOf({ mode, port, folder, log, serverPort: cluster.port }));
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const child = spawn(program, [settings], { ...user, cwd: folder, stdio: 'ignore' });
  const through = (url: string): string => url.replace(/:\d+\//, `:${port}/`);
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  const end = performance.now() + READY_MS_MAX;
  while (!(await isListening(port))) {
    assert(performance.now() < end, `PgBouncer does not start:\n${existsSync(log) ? readFileSync(log, 'utf8') : ''}`);
    await sleep(POLL_MS);
  }
  return { through, stop };
}

function findProgram(): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  const found = folders.map((folder) => join(folder, 'pgbouncer')).find((file) => existsSync(file));
  if (found !== undefined) return found;
  throw new Error('These tests need PgBouncer, which is not installed. On Debian: apt-get install pgbouncer');
}

/**
 * In transaction mode there are fewer server connections than client connections, and each transaction gets another one.
 * `ignore_startup_parameters` is not set, so a client that sends its own parameter is refused.
 */
function settingsOf(to: {
  readonly mode: PoolMode;
  readonly port: number;
  readonly folder: string;
  readonly log: string;
  readonly serverPort: number;
}): string {
  return [
    '[databases]',
    `* = host=127.0.0.1 port=${to.serverPort}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${to.port}`,
    'unix_socket_dir =',
    `logfile = ${to.log}`,
    'auth_type = trust',
    `auth_file = ${join(to.folder, 'users.txt')}`,
    'admin_users = postgres',
    `pool_mode = ${to.mode}`,
    `default_pool_size = ${to.mode === 'session' ? 40 : 3}`,
    'server_round_robin = 1',
    // Seconds until it tries a failed server again; the default is 15.
    'server_login_retry = 1',
    '',
  ].join('\n');
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
