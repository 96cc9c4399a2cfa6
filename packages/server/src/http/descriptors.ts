/**
 * Whether this process can still open a file or take a connection. When it has no descriptor left, Node takes each new
 * connection and closes it without a word: callers see resets, and nobody here would know why.
 */
import { devNull } from 'node:os';
import { open } from 'node:fs/promises';

/** How often it is tried, in milliseconds. */
const TRY_INTERVAL_MS = 1_000;
/** How often it is said again while it lasts, in milliseconds. */
const AGAIN_INTERVAL_MS = 60_000;
/** Of this process, and of the machine. */
const USED_UP = new Set(['EMFILE', 'ENFILE']);

export interface DescriptorWatch {
  readonly report: (message: string) => void;
  /** Milliseconds on a clock that nobody sets. */
  readonly elapsed: () => number;
}

/** Looks for as long as the process lives, or until what it gives is called. */
export function watchDescriptors({ report, elapsed }: DescriptorWatch): () => void {
  let reportedAt: number | undefined;
  let isLooking = false;
  const look = async (): Promise<void> => {
    if (await canOpen()) {
      if (reportedAt !== undefined) report('There are free file descriptors again: connections are taken.');
      reportedAt = undefined;
      return;
    }
    if (reportedAt !== undefined && elapsed() - reportedAt < AGAIN_INTERVAL_MS) return;
    reportedAt = elapsed();
    report(
      'No file descriptor is free: new connections are closed at once. Raise the limit of this process (ulimit -n, LimitNOFILE), or find out who holds so many connections.',
    );
  };
  const timer = setInterval(() => {
    // One after the other: a disk that hangs must not have these pile up.
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
