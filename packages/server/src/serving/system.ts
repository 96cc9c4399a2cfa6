/** The one place that touches the real clock, real chance and real waiting. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@hallpass/protocol';
import type { ServerClock } from '../oauth/clock.ts';

export const systemClock: ServerClock = {
  now: () => Date.now(),
  sleep: async (milliseconds) => {
    await sleep(milliseconds);
  },
  elapsed: () => performance.now(),
};

export const systemRandom: Random = (byteCount) => new Uint8Array(randomBytes(byteCount));
