/**
 * Warns when this process has no file descriptor left. Node then accepts each new connection and closes it silently: callers
 * see resets, and without a warning nobody on this side would know why.
 */
import { devNull } from 'node:os';
import { open } from 'node:fs/promises';

/** How often we try to open a file, in milliseconds. */
const TRY_INTERVAL_MS = 1_000;
/** How often the warning is repeated while there is none, in milliseconds. */
const AGAIN_INTERVAL_MS = 60_000;
/** The error codes when the process, or the machine, has no descriptor left. */
const USED_UP = new Set(['EMFILE', 'ENFILE']);

/** Where warnings go, and the clock that spaces them. */
export interface DescriptorWatch {
  readonly report: (message: string) => void;
  /** A monotonic clock, in milliseconds. */
  readonly elapsed: () => number;
}

/** Checks every second until you call the function that it returns. */
export function watchDescriptors({ report, elapsed }: DescriptorWatch): () => void {
  let reportedAt: number | undefined;
  let isLooking = false;
  const look = async (): Promise<void> => {
    if (await canOpen()) {
      if (reportedAt !== undefined) report('File descriptors are free again. Connections are accepted.');
      reportedAt = undefined;
      return;
    }
    if (reportedAt !== undefined && elapsed() - reportedAt < AGAIN_INTERVAL_MS) return;
    reportedAt = elapsed();
    report(
      'No file descriptor is free, so new connections are closed at once. Raise the limit of this process (ulimit -n, LimitNOFILE), or find out which clients hold so many connections.',
    );
  };
  const timer = setInterval(() => {
    // One at a time: checks must not pile up on a disk that hangs.
    if (isLooking) return;
    isLooking = true;
    void look().finally(() => (isLooking = false));
  }, TRY_INTERVAL_MS).unref();
  return () => clearInterval(timer);
}

async function canOpen(): Promise<boolean> {
  try {
    await (await open(devNull)).close();
    return true;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && USED_UP.has(String(error.code)));
  }
}
