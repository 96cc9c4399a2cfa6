/**
 * Guards in their own thread, for `feed.ts`. Given a token, the thread reports once all its guards allow it, and then when
 * each of them refused it, on the machine's monotonic clock.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { createGuard, type Guard, type GuardOptions } from '@hallpass/guard';

/** What a thread is made with. */
export interface GuardsOptions {
  readonly guards: number;
  readonly options: Pick<GuardOptions, 'issuer' | 'audience' | 'credentials'>;
  readonly scope: string;
}

export interface Watched {
  readonly id: number;
  readonly token: string;
}

export type GuardsMessage =
  | { readonly ready: true }
  /** All of them let it in. */
  | { readonly watching: number }
  /** The last of them refused it, at these nanoseconds. */
  | { readonly refused: number; readonly at: bigint };

/** How often a guard is looked at, in milliseconds: what is measured is no finer. */
const LOOK_MS = 1;
/** A guard that has heard of nothing is asked all the same, so often. */
const ASK_MS = 200;

if (parentPort !== null) {
  const port = parentPort;
  const { guards: count, options, scope }: GuardsOptions = workerData;
  const guards = Array.from({ length: count }, () => createGuard(options));
  const left = new Map<number, number>();
  const say = (message: GuardsMessage): void => port.postMessage(message);

  await Promise.all(guards.map((guard) => guard.ready()));
  const queues = guards.map((guard) => {
    const queue: Watched[] = [];
    void look(guard, queue);
    return queue;
  });
  port.on('message', (watched: Watched | 'close') => {
    if (watched === 'close') {
      for (const guard of guards) guard.close();
      process.exit();
    }
    void watch(watched);
  });
  say({ ready: true });

  async function watch(watched: Watched): Promise<void> {
    left.set(watched.id, count);
    const allowed = await Promise.all(guards.map((guard) => allows(guard, watched)));
    if (!allowed.every(Boolean)) throw new Error('a good token was refused');
    for (const queue of queues) queue.push(watched);
    say({ watching: watched.id });
  }

  async function allows(guard: Guard, { token }: Watched): Promise<boolean> {
    const headers = { authorization: `Bearer ${token}` };
    return (await guard.check({ method: 'GET', url: '/accounts', headers }, scope)).allowed;
  }

  /** To look at how many revocations a guard holds is cheap; its word on a token is asked for when there is one more. */
  async function look(guard: Guard, queue: Watched[]): Promise<void> {
    let known = -1;
    let askedAt = 0;
    for (;;) {
      await sleep(LOOK_MS);
      const { revocations } = guard.health();
      if (queue.length === 0 || (revocations === known && performance.now() - askedAt < ASK_MS)) continue;
      known = revocations;
      askedAt = performance.now();
      for (const watched of queue.slice()) {
        if (await allows(guard, watched)) continue;
        const at = process.hrtime.bigint();
        queue.splice(queue.indexOf(watched), 1);
        const others = (left.get(watched.id) ?? 0) - 1;
        left.set(watched.id, others);
        if (others > 0) continue;
        left.delete(watched.id);
        say({ refused: watched.id, at });
      }
    }
  }
}
