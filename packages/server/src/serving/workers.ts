/**
 * `hallpass serve --workers N`: several processes with a public side each, on one port and one store, and this one, which
 * starts them, keeps their number, and has the operators' side. They know of each other only through the store.
 */
import cluster, { type Worker } from 'node:cluster';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../http/log.ts';
import { openMetrics, workersMetricsEndpoint } from '../http/metrics.ts';
import { Readiness } from '../oauth/endpoints/readiness.ts';
import type { Instance } from './instance.ts';
import {
  openServerLog,
  startOperatorSide,
  startPublicSide,
  watchDescriptorsOf,
  type PublicSide,
  type Server,
} from './server.ts';
import { BadSetting, drainSecondsOf } from './settings/settings.ts';
import { readVersion } from './version.ts';

/** How long a worker may take to listen, in milliseconds. */
const START_TIMEOUT_MS = 30_000;
/** How long after a worker has died the next one is started, in milliseconds: one that dies at once must not spin. */
const RESTART_DELAY_MS = 500;
/** How long a worker may take to end when it has drained, in milliseconds; what it has begun takes ten seconds at most. */
const STOP_TIMEOUT_MS = 15_000;

/** What a worker says when it listens. */
interface Listening {
  readonly issuer: string;
  readonly url: string;
}

/** Whether this process is a worker of another one. */
export const isWorker = cluster.isWorker;

/** Starts the workers, and resolves when all of them listen. Rejects with `BadSetting` when a port is taken. */
export async function startWorkers(instance: Instance, count: number): Promise<Server> {
  const readiness = new Readiness(instance.store, instance.clock);
  const log = openServerLog(instance, { readiness });
  const crew = new Crew(log, { drainMs: drainSecondsOf(instance.settings) * 1_000 });
  const stopWatching = watchDescriptorsOf(instance, log);
  const inside = await startOperatorSide(instance, { log, readiness, metrics: workersMetricsEndpoint() });
  try {
    // The first alone: when the port is taken, one sentence is enough.
    const first = await crew.start();
    await Promise.all(Array.from({ length: count - 1 }, () => crew.start()));
    return {
      ...first,
      operatorUrl: inside.url,
      // Each worker drains by itself when it is told to stop.
      drain: async () => {
        inside.startDraining();
        await crew.stop();
      },
      close: async () => {
        stopWatching();
        await Promise.all([crew.stop(), inside.close()]);
        await instance.store.close();
      },
    };
  } catch (error) {
    stopWatching();
    await Promise.all([crew.stop(), inside.close()]);
    throw error;
  }
}

/** The public side of a worker, which says to the process that started it where it listens. */
export async function startAsWorker(instance: Instance): Promise<PublicSide> {
  const readiness = new Readiness(instance.store, instance.clock);
  const metrics = openMetrics(readVersion());
  const log = openServerLog(instance, { readiness, lineDropped: metrics.logLineDropped });
  const side = await startPublicSide(instance, { log, readiness, metrics, shared: true });
  watchDescriptorsOf(instance, log);
  process.send?.({ issuer: side.issuer, url: side.url } satisfies Listening);
  return side;
}

/** Resolves when the process that started this worker is gone: nobody would start, count or stop it any more. */
export function untilAlone(): Promise<void> {
  return new Promise((resolve) => {
    process.once('disconnect', resolve);
  });
}

/** Lets a worker end when it has nothing more to do: that it can be spoken to would keep it alive. */
export function leave(): void {
  process.channel?.unref();
}

/** The workers. One that dies is replaced; its clients repeat what it has not answered. */
class Crew {
  readonly #log: Log;
  readonly #stopMs: number;
  readonly #workers = new Set<Worker>();
  #stopping: Promise<unknown> | undefined;

  constructor(log: Log, { drainMs }: { readonly drainMs: number }) {
    this.#log = log;
    this.#stopMs = drainMs + STOP_TIMEOUT_MS;
    // The workers take connections from one listening socket. If this process took them and passed them on, those on their
    // way to a worker that dies would never be answered, and never be closed (ADR 37).
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
    this.#log.outage(new Error(`A worker has died (${reason}) and is replaced.`));
    while (this.#stopping === undefined) {
      await sleep(RESTART_DELAY_MS);
      try {
        if (this.#stopping === undefined) await this.start();
        return;
      } catch (cause) {
        this.#log.outage(new Error('A worker could not be replaced; it is tried again.', { cause }));
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
      // The metrics of workers are asked for by messages as well.
      if (message.issuer === undefined || message.url === undefined) return;
      clearTimeout(timer);
      resolve({ issuer: message.issuer, url: message.url });
    });
    worker.once('exit', (code) => {
      clearTimeout(timer);
      // It has said why on standard error, which is this process's own.
      reject(
        code === 2
          ? new BadSetting('No worker could start: see the line above.')
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
