/**
 * One line when the store goes away, and one when it is back. A thousand requests that fail for one reason are one outage,
 * and a line for each of them would fill the disk, which may be what has failed.
 */
import { StoreUnavailable } from '../store/store.ts';
import type { Log } from './log.ts';

/** How often an outage that goes on is logged again, with how often it was met since; milliseconds. */
export const OUTAGE_LINE_MS = 60_000;
/** The most reasons of one outage that have a line each; further ones are counted with the last. */
export const OUTAGE_REASONS_MAX = 20;
/** How long nothing may have failed before the store is said to work again, in milliseconds. */
const QUIET_MS = 3_000;

interface Reason {
  lineAt: number;
  /** Since the last line. */
  unsaid: number;
}

export interface OutageLog extends Log {
  /** To be called every second: looks, while there is an outage, whether it is over. */
  readonly checkForRecovery: () => Promise<void>;
}

/**
 * A log in which the outages of the store are lines of outages, not of requests. `check` resolves when the store can do
 * everything again; `elapsed` is a clock that nobody sets, in milliseconds.
 */
export function withOutageLog(
  log: Log,
  { elapsed, check }: { readonly elapsed: () => number; readonly check: () => Promise<void> },
): OutageLog {
  const reasons = new Map<string, Reason>();
  let began = 0;
  let lastAt = 0;
  const note = (outage: Error): void => {
    const now = elapsed();
    if (reasons.size === 0) began = now;
    lastAt = now;
    const text = `${outage.message} ${outage.cause instanceof Error ? outage.cause.message : ''}`;
    const isOneTooMany = reasons.size >= OUTAGE_REASONS_MAX && !reasons.has(text);
    const key = isOneTooMany ? ([...reasons.keys()].at(-1) ?? text) : text;
    const reason = reasons.get(key);
    if (reason === undefined) {
      reasons.set(key, { lineAt: now, unsaid: 0 });
      return log.outage(outage);
    }
    reason.unsaid += 1;
    if (now - reason.lineAt < OUTAGE_LINE_MS) return;
    log.outage(
      new Error(`${outage.message} (${reason.unsaid} times more since the last line)`, { cause: outage.cause }),
    );
    reasons.set(key, { lineAt: now, unsaid: 0 });
  };
  return {
    ...log,
    outage: (error) => (error instanceof StoreUnavailable ? note(error) : log.outage(error)),
    checkForRecovery: async () => {
      if (reasons.size === 0 || elapsed() - lastAt < QUIET_MS) return;
      try {
        await check();
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        return note(error);
      }
      // Somebody else has looked meanwhile and has said it.
      if (reasons.size === 0) return;
      const unsaid = [...reasons.values()].reduce((sum, reason) => sum + reason.unsaid, 0);
      const more = unsaid === 0 ? '' : ` ${unsaid} more failures were not logged one by one.`;
      log.warn(`The store works again, after ${Math.round((elapsed() - began) / 1000)} s.${more}`);
      reasons.clear();
    },
  };
}
