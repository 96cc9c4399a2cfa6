/**
 * `hallpass serve --workers N`: N worker processes answer requests on one port and one store. This process starts them,
 * replaces those that die, and has the operator listener. The workers know of each other only through the store.
 */
import cluster, { type Worker } from 'node:cluster';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../http/log.ts';
import { openMetrics, workersMetricsEndpoint } from '../http/metrics.ts';
import { Readiness } from '../oauth/endpoints/readiness.ts';
import type { Instance } from './instance.ts';
import { startOperatorSide } from './operator_side.ts';
import { startPublicSide, type PublicSide } from './public_side.ts';
import { openServerLog, watchDescriptorsOf, type Server } from './server.ts';
import { BadSetting, drainSecondsOf } from './settings/settings.ts';
import { readVersion } from './version.ts';

/** How long a worker may take to listen, in milliseconds. */
const START_TIMEOUT_MS = 30_000;
/** The pause before a dead worker is replaced, in milliseconds: one that dies at start must not spin. */
const RESTART_DELAY_MS = 500;
/** How long a worker may take to end after draining, in milliseconds. Requests in progress take ten seconds at most. */
const STOP_TIMEOUT_MS = 15_000;

/** The message of a worker that listens. */
interface Listening {
  readonly issuer: string;
  readonly url: string;
}

/** Whether this process is a worker. */
export const isWorker = cluster.isWorker;

/** Starts `count` workers and resolves when all of them listen. Rejects with `BadSetting` if a port is taken. */
export async function startWorkers(instance: Instance, count: number): Promise<Server> {
  const readiness = new Readiness(instance.store, instance.clock);
  const log = openServerLog(instance, { readiness });
  const pool = new WorkerPool(log, { drainMs: drainSecondsOf(instance.settings) * 1_000 });
  const stopWatching = watchDescriptorsOf(instance, log);
  const operatorSide = await startOperatorSide(instance, { log, readiness, metrics: workersMetricsEndpoint() });
  try {
    // The first one alone: if the port is taken, one error message is enough.
    const first = await pool.start();
    await Promise.all(Array.from({ length: count - 1 }, () => pool.start()));
    return {
      ...first,
      operatorUrl: operatorSide.url,
      // Each worker drains by itself when it receives the signal.
      drain: async () => {
        operatorSide.startDraining();
        await pool.stop();
      },
      close: async () => {
        stopWatching();
        await Promise.all([pool.stop(), operatorSide.close()]);
        await instance.store.close();
      },
    };
  } catch (error) {
    stopWatching();
    await Promise.all([pool.stop(), operatorSide.close()]);
    throw error;
  }
}

/** Starts the public listener of a worker, and reports its address to the parent process. */
export async function startAsWorker(instance: Instance): Promise<PublicSide> {
  const readiness = new Readiness(instance.store, instance.clock);
  const metrics = openMetrics(readVersion());
  const log = openServerLog(instance, { readiness, lineDropped: metrics.logLineDropped });
  const side = await startPublicSide(instance, { log, readiness, metrics, shared: true });
  watchDescriptorsOf(instance, log);
  process.send?.({ issuer: side.issuer, url: side.url } satisfies Listening);
  return side;
}

/** Resolves when the parent process of this worker is gone: nothing would replace, count or stop the worker any more. */
export function untilOrphaned(): Promise<void> {
  return new Promise((resolve) => {
    process.once('disconnect', resolve);
  });
}

/** Lets a worker end when it has nothing more to do. Its channel to the parent would otherwise keep it alive. */
export function releaseChannel(): void {
  process.channel?.unref();
}

/** The workers. One that dies is replaced; its clients repeat the requests that it did not answer. */
class WorkerPool {
  readonly #log: Log;
  readonly #stopMs: number;
  readonly #workers = new Set<Worker>();
  #stopping: Promise<unknown> | undefined;

  constructor(log: Log, { drainMs }: { readonly drainMs: number }) {
    this.#log = log;
    this.#stopMs = drainMs + STOP_TIMEOUT_MS;
    // The workers accept connections from one shared socket. If this process accepted them and passed them on, a connection
    // on its way to a dying worker would never be answered or closed (ADR 37).
    cluster.schedulingPolicy = cluster.SCHED_NONE;
  }

  async start(): Promise<Listening> {
    const worker = cluster.fork();
    this.#workers.add(worker);
    const listening = await untilListening(worker).catch((error: unknown) => {
      worker.process.kill('SIGKILL');
      this.#workers.delete(worker);
      throw error;
    });
    worker.once('exit', (code, signal) => {
      this.#workers.delete(worker);
      if (this.#stopping === undefined) void this.#replace(signal ?? `exit code ${code}`);
    });
    return listening;
  }

  async #replace(reason: string): Promise<void> {
    this.#log.outage(new Error(`A worker died (${reason}) and is being replaced.`));
    while (this.#stopping === undefined) {
      await sleep(RESTART_DELAY_MS);
      try {
        if (this.#stopping === undefined) await this.start();
        return;
      } catch (cause) {
        this.#log.outage(new Error('A worker could not be replaced. Trying again.', { cause }));
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopping ??= Promise.all([...this.#workers].map((worker) => stopWorker(worker, this.#stopMs)));
    await this.#stopping;
  }
}

function untilListening(worker: Worker): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('A worker did not listen in time.')), START_TIMEOUT_MS);
    worker.on('message', (message: Partial<Listening>) => {
      // Metrics travel as messages on the same channel.
      if (message.issuer === undefined || message.url === undefined) return;
      clearTimeout(timer);
      resolve({ issuer: message.issuer, url: message.url });
    });
    worker.once('exit', (code) => {
      clearTimeout(timer);
      // It has printed the reason on standard error, which it shares with this process.
      reject(
        code === 2
          ? new BadSetting('No worker could start. The line above says why.')
          : new Error(`A worker ended with ${code}.`),
      );
    });
  });
}

async function stopWorker(worker: Worker, stopMs: number): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', () => resolve());
  });
  worker.process.kill('SIGTERM');
  const abort = new AbortController();
  const late = sleep(stopMs, undefined, { signal: abort.signal }).then(
    () => worker.process.kill('SIGKILL'),
    () => undefined,
  );
  await ended;
  abort.abort();
  await late;
}
