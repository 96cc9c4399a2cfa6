/**
 * Logs one line when the store goes away, and one when it is back. A thousand requests that fail for the same reason are one
 * outage. A line for each would fill the disk, which may be what failed.
 */
import { StoreUnavailable } from '../store/store.ts';
import type { Log } from './log.ts';

/** How often a lasting outage is logged again, with the number of failures since, in milliseconds. */
export const OUTAGE_LINE_MS = 60_000;
/** The most reasons of one outage that get a line each. Further reasons are counted with the last one. */
export const OUTAGE_REASONS_MAX = 20;
/** How long nothing must fail before we check whether the store works again, in milliseconds. */
const QUIET_MS = 3_000;

interface Reason {
  lineAt: number;
  /** Since the last line. */
  unlogged: number;
}

/** A log that can tell when an outage is over. */
export interface OutageLog extends Log {
  /** Call this every second. During an outage, it checks whether the outage is over. */
  readonly checkForRecovery: () => Promise<void>;
}

/**
 * Wraps a log so that a store outage is one line instead of one per request. `check` resolves when the store can do
 * everything again. `elapsed` is a monotonic clock, in milliseconds.
 */
export function withOutageLog(
  log: Log,
  { elapsed, check }: { readonly elapsed: () => number; readonly check: () => Promise<void> },
): OutageLog {
  const reasons = new Map<string, Reason>();
  let began = 0;
  let lastAt = 0;
  const record = (outage: Error): void => {
    const now = elapsed();
    if (reasons.size === 0) began = now;
    lastAt = now;
    const text = `${outage.message} ${outage.cause instanceof Error ? outage.cause.message : ''}`;
    const isOneTooMany = reasons.size >= OUTAGE_REASONS_MAX && !reasons.has(text);
    const key = isOneTooMany ? ([...reasons.keys()].at(-1) ?? text) : text;
    const reason = reasons.get(key);
    if (reason === undefined) {
      reasons.set(key, { lineAt: now, unlogged: 0 });
      return log.outage(outage);
    }
    reason.unlogged += 1;
    if (now - reason.lineAt < OUTAGE_LINE_MS) return;
    log.outage(new Error(`${outage.message} (${reason.unlogged} more since the last line)`, { cause: outage.cause }));
    reasons.set(key, { lineAt: now, unlogged: 0 });
  };
  return {
    ...log,
    outage: (error) => (error instanceof StoreUnavailable ? record(error) : log.outage(error)),
    checkForRecovery: async () => {
      if (reasons.size === 0 || elapsed() - lastAt < QUIET_MS) return;
      try {
        await check();
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        return record(error);
      }
      // Another call has checked and logged it meanwhile.
      if (reasons.size === 0) return;
      const unlogged = [...reasons.values()].reduce((sum, reason) => sum + reason.unlogged, 0);
      const more = unlogged === 0 ? '' : ` ${unlogged} more failures were not logged one by one.`;
      log.warn(`The store works again, after ${Math.round((elapsed() - began) / 1000)} s.${more}`);
      reasons.clear();
    },
  };
}
