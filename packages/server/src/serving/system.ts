/** The real clock and real randomness. Everything else receives them as arguments, so a test can set them. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@hallpass/protocol';
import type { ServerClock } from '../oauth/clock.ts';

/** The clock of this machine. */
export const systemClock: ServerClock = {
  now: () => Date.now(),
  sleep: async (milliseconds) => {
    await sleep(milliseconds);
  },
  elapsed: () => performance.now(),
};

/** Random bytes from the operating system. */
export const systemRandom: Random = (byteCount) => new Uint8Array(randomBytes(byteCount));
