/** The signals that ask this process to stop. */
import cluster from 'node:cluster';
import { constants } from 'node:os';
import { systemClock } from './system.ts';

/** SIGHUP comes when a terminal is closed. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/**
 * How long after the first signal another one counts as the same request, in milliseconds. Control-C under npm arrives
 * twice: from the terminal, and passed on by npm. The second must not cut off the draining that the first one began.
 */
const SAME_REQUEST_MS = 1_000;

/**
 * Resolves when this process is asked to stop. A later signal ends the process at once, with 128 plus the signal's number.
 * Call it before the process reports that it is ready, because somebody may stop it right then.
 */
export async function untilStopSignal(): Promise<void> {
  await new Promise<void>((resolve) => {
    let firstAt: number | undefined;
    const onSignal = (signal: (typeof SIGNALS)[number]): void => {
      firstAt ??= systemClock.elapsed();
      resolve();
      // A worker that takes too long is killed by its parent process.
      if (cluster.isWorker || systemClock.elapsed() - firstAt < SAME_REQUEST_MS) return;
      process.exit(128 + constants.signals[signal]);
    };
    for (const signal of SIGNALS) process.on(signal, onSignal);
  });
}

/**
 * Runs `cleanUp` when a signal ends a command before it is done, then exits with 128 plus the signal's number. Returns a
 * function to call once there is nothing left to clean up.
 */
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
