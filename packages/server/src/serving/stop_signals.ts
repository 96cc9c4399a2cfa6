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

/** A watch for the signals that ask this process to stop. */
export interface StopWatch {
  /** Resolves at the first signal. */
  readonly stopped: Promise<void>;
  /**
   * Stops watching, for work that ended by itself. It has no effect after a signal: the echo of that signal would kill a
   * process that is about to exit with its own code.
   */
  readonly release: () => void;
}

/**
 * Watches for a request to stop. A later signal ends the process at once, with 128 plus the signal's number. Start watching
 * before the process reports that it is ready, because somebody may stop it right then.
 */
export function watchStopSignals(): StopWatch {
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  let firstAt: number | undefined;
  const onSignal = (signal: (typeof SIGNALS)[number]): void => {
    firstAt ??= systemClock.elapsed();
    resolve();
    // A worker that takes too long is killed by its parent process.
    if (cluster.isWorker || systemClock.elapsed() - firstAt < SAME_REQUEST_MS) return;
    process.exit(128 + constants.signals[signal]);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    stopped,
    release: () => {
      if (firstAt !== undefined) return;
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
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
