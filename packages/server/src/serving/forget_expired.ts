/** Deletes expired rows from the store, a few at a time. */
import { numericDate } from '@hallpass/protocol';
import type { Instance } from './instance.ts';

/** The most rows that one step deletes: few enough not to hold up a request. */
const FORGET_ROWS_MAX = 500;
/** The pause between two steps, in milliseconds. */
const PAUSE_MS = 10;

/**
 * Deletes every row that nothing can refer to any more. It goes by the time that the store trusts: a clock set forward, by
 * mistake or by an attacker, must not delete revocations that are needed once it is set back (ADR 25).
 */
export async function forgetExpired({ store, clock, time }: Instance): Promise<void> {
  const now = numericDate(await time.keep());
  while ((await store.forgetExpired(now, FORGET_ROWS_MAX)) === FORGET_ROWS_MAX) await clock.sleep(PAUSE_MS);
}
