/** Forgetting what nothing can refer to any more, in small steps. */
import { numericDate } from '@hallpass/protocol';
import type { Instance } from './instance.ts';

/** The most rows that one step of forgetting takes: small enough not to hold up a request. */
const FORGET_ROWS_MAX = 500;
const PAUSE_MS = 10;

/**
 * Forgets until there is nothing more to forget, by the time that the store trusts: a clock that is set forward, by
 * mistake or by attack, must not make a server forget revocations that are needed when it is set back.
 */
export async function forgetExpired({ store, clock, time }: Instance): Promise<void> {
  const now = numericDate(await time.keep());
  while ((await store.forgetExpired(now, FORGET_ROWS_MAX)) === FORGET_ROWS_MAX) await clock.sleep(PAUSE_MS);
}
