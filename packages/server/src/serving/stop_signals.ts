/** Signals by which this process is asked to stop. */
import cluster from 'node:cluster';
import { constants } from 'node:os';
import { systemClock } from './system.ts';

/** SIGHUP comes from a terminal that is closed. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/**
 * How long after the first signal another one is the same request, in milliseconds. Control-C under npm is two: one from
 * the terminal to every process of the group, and one that npm passes on. It must not cut off what the first one drains.
 */
const SAME_REQUEST_MS = 1_000;

/**
 * Resolves when this process is asked to stop. Asked again a while later, it ends at once, with 128 and the number of the
 * signal. To be called before the process reports that it is ready: someone may stop it right then.
 */
export async function untilStopSignal(): Promise<void> {
  await new Promise<void>((resolve) => {
    let firstAt: number | undefined;
    const onSignal = (signal: (typeof SIGNALS)[number]): void => {
      firstAt ??= systemClock.elapsed();
      resolve();
      // The process that started a worker ends it itself when it takes too long.
      if (cluster.isWorker || systemClock.elapsed() - firstAt < SAME_REQUEST_MS) return;
      process.exit(128 + constants.signals[signal]);
    };
    for (const signal of SIGNALS) process.on(signal, onSignal);
  });
}

/** Runs something before a signal ends a command that is not done. Call what it gives once there is nothing to clean up. */
export function onStopSignal(cleanUp: () => void): () => void {
  const onSignal = (signal: (typeof SIGNALS)[number]): void => {
    cleanUp();
    process.exit(128 + constants.signals[signal]);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return () => {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
}
