/** A PostgreSQL that fails as databases do, behind one address that always leads to the primary. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPostgres, type PostgresCluster } from '../../testing/postgres/cluster.ts';
import { Forwarder } from '../../testing/proxies/forwarder.ts';

const POLL_MS = 20;
/** How long a standby may take to catch up, and a server to end, in milliseconds. */
const PATIENCE_MS = 120_000;

/** A primary, at times with a standby, and the faults that a rig can cause. */
export class FailingDatabase {
  readonly #forwarder: Forwarder;
  readonly #name: string;
  #primary: PostgresCluster;
  #standby: PostgresCluster | undefined;

  static async start(): Promise<FailingDatabase> {
    const primary = await startPostgres();
    const url = await primary.createDatabase();
    return new FailingDatabase(primary, url, await Forwarder.start(primary.port));
  }

  private constructor(primary: PostgresCluster, url: string, forwarder: Forwarder) {
    this.#primary = primary;
    this.#name = new URL(url).pathname.slice(1);
    this.#forwarder = forwarder;
  }

  /** The address for the instances, through the forwarder. */
  get url(): string {
    return this.#forwarder.through(this.#primary.url(this.#name));
  }

  /** Runs a statement directly on the primary, behind the servers' back. */
  async tamper(statement: string): Promise<void> {
    await this.#primary.query(statement, { url: this.#primary.url(this.#name) });
  }

  /** Kills every process of the database with `kill -9`, and starts it again. */
  async killAndRestart(): Promise<void> {
    await this.#primary.kill();
    await this.#primary.start();
  }

  /** Restarts as `pg_ctl restart -m immediate` does: without closing connections, and with recovery at the start. */
  async restartImmediately(): Promise<void> {
    const [shown] = await this.#primary.query('SHOW data_directory');
    const [pid] = readFileSync(join(String(shown?.['data_directory']), 'postmaster.pid'), 'utf8').split('\n');
    process.kill(Number(pid), 'SIGQUIT');
    await until(async () => !isRunning(Number(pid)), 'the database ends');
    await this.#primary.start();
  }

  /** Kills one connection's process with `kill -9`. The server then ends all of them and recovers by itself. */
  async killOneProcess(): Promise<void> {
    const [found] = await this.#primary.query(
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'hallpass' LIMIT 1",
    );
    if (found === undefined) return;
    process.kill(Number(found['pid']), 'SIGKILL');
    await sleep(POLL_MS);
    await until(() => this.#answers(this.#primary), 'the database recovers');
  }

  /** Lets nothing through for this long. */
  async cutNetwork(milliseconds: number): Promise<void> {
    this.#forwarder.silence();
    await sleep(milliseconds);
    this.#forwarder.heal();
  }

  /**
   * Starts a standby that follows the primary; call it while nobody writes. A synchronous standby has everything that is
   * acknowledged. The other one is the planted defect: it is cut off at once.
   */
  async follow({ synchronous }: { readonly synchronous: boolean }): Promise<void> {
    const primary = this.#primary;
    await primary.configure({
      primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres`,
      wal_retrieve_retry_interval: '50ms',
    });
    this.#standby = await primary.startStandby();
    await until(() => this.#isFollowed('streaming'), 'the standby follows');
    if (synchronous) {
      await primary.configure({ synchronous_standby_names: '*' });
      await until(() => this.#isFollowed('streaming', 'sync'), 'the standby is synchronous');
    } else {
      await this.#standby.configure({ primary_conninfo: '' });
      await until(async () => !(await this.#isFollowed('streaming')), 'the standby is cut off');
    }
  }

  /** Kills the primary, promotes the standby, and leads the address to it. Throws if there is no standby. */
  async failOver(): Promise<void> {
    const [lost, standby] = [this.#primary, this.#standby];
    if (standby === undefined) throw new Error('a failover needs a standby');
    await lost.kill();
    await standby.query(`SELECT pg_promote(true, ${PATIENCE_MS / 1000})`);
    await until(() => this.#answers(standby), 'the standby is promoted');
    this.#primary = standby;
    this.#standby = undefined;
    this.#forwarder.leadTo(standby.port);
    await lost.remove();
  }

  async remove(): Promise<void> {
    this.#forwarder.close();
    await this.#standby?.remove();
    await this.#primary.remove();
  }

  async #isFollowed(state: string, syncState?: string): Promise<boolean> {
    const rows = await this.#primary.query('SELECT state, sync_state FROM pg_stat_replication');
    return rows.some((row) => row['state'] === state && (syncState === undefined || row['sync_state'] === syncState));
  }

  /** Whether it accepts writes. */
  async #answers(cluster: PostgresCluster): Promise<boolean> {
    const rows = await cluster.query('SELECT pg_is_in_recovery() AS standby').catch(() => []);
    return rows[0]?.['standby'] === false;
  }
}

/** Waits until a condition holds. Throws after `patienceMs`; `what` says what did not happen. */
export async function until(holds: () => Promise<boolean>, what: string, patienceMs = PATIENCE_MS): Promise<void> {
  const end = performance.now() + patienceMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`this did not happen in time: ${what}`);
    await sleep(POLL_MS);
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
