/**
 * Which guards follow the feed, and what each has confirmed. This goes through the store, because a guard may be connected to
 * one instance while another answers a revocation (ADR 16).
 */
import type { ServerClock } from '../clock.ts';
import type { BoundReached } from '../limits/bounds.ts';
import { FollowerCalls } from './confirmation_calls.ts';
import { StoreUnavailable, type FollowerCount, type Store } from '../../store/store.ts';

/** How often a sign of life is written for the followers connected here, in milliseconds. */
const SIGN_INTERVAL_MS = 3_000;
/** How long after its last sign of life a follower counts as connected, in milliseconds: a guard's default staleness limit. */
const ALIVE_MS = 10_000;
/** The most requests that wait at once in this process, in all and for one client. Any beyond that do not wait. */
export const WAITS_MAX = 64;
/** How many revocations of one key may wait for guards at once, in a process. */
export const WAITS_PER_CLIENT_MAX = 8;
/** How often a waiting request looks again, in milliseconds: at first, and in the end. */
const LOOK_MS_MIN = 20;
const LOOK_MS_MAX = 250;
/** The most followers whose last confirmation is remembered, so that it is not written again. */
const REMEMBERED_MAX = 10_000;

/** The feed's metrics in this process. */
export interface FeedMeters {
  readonly streamOpened: () => void;
  readonly streamClosed: () => void;
  readonly pageRead: () => void;
  /** A revocation has waited for guards for this many seconds, with this outcome. */
  readonly waited: (seconds: number, count: FollowerCount) => void;
}

interface Named {
  readonly clientId: string;
  readonly followerId: string;
}

/** The name that a follower gives itself: 128 random bits. */
const FOLLOWER_ID = /^[A-Za-z0-9_-]{22}$/;

/** Whether a header is the name of a follower. */
export function isFollowerId(header: string | undefined): header is string {
  return header !== undefined && FOLLOWER_ID.test(header);
}

/** The follower behind a request for the feed; undefined without a name: then it cannot be counted. */
export function followerOf(clientId: string, header: string | undefined): Named | undefined {
  return isFollowerId(header) ? { clientId, followerId: header } : undefined;
}

/** The followers of this process, and what the store knows about all of them. */
export class Followers {
  readonly #store: Store;
  readonly #clock: ServerClock;
  readonly #calls: FollowerCalls;
  readonly #boundReached: BoundReached;
  /** The followers connected to this process. */
  readonly #connected = new Set<Named & { readonly cursor: string | undefined }>();
  readonly #lastWords = new Map<string, { readonly cursor: string; readonly at: number }>();
  readonly #waits = new Map<string, number>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor({
    store,
    clock,
    boundReached,
  }: {
    readonly store: Store;
    readonly clock: ServerClock;
    readonly boundReached: BoundReached;
  }) {
    this.#store = store;
    this.#clock = clock;
    this.#calls = new FollowerCalls(store, clock);
    this.#boundReached = boundReached;
  }

  /** Counts the reader of a stream as connected, until the returned function is called. */
  async connect(follower: Named, cursor: string | undefined): Promise<() => void> {
    const connected = { ...follower, cursor };
    this.#connected.add(connected);
    // A failure is tried again next time. The reader of the stream sees an outage there.
    const sign = (): void => void this.#save([...this.#connected]).catch(() => undefined);
    this.#timer ??= setInterval(sign, SIGN_INTERVAL_MS).unref();
    await this.#save([connected]);
    return () => {
      this.#connected.delete(connected);
      if (this.#connected.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  /** A follower that asks for the page after a cursor has everything up to it. */
  async confirm(follower: Named, cursor: string): Promise<void> {
    const key = `${follower.clientId} ${follower.followerId}`;
    const at = this.#clock.now();
    const last = this.#lastWords.get(key);
    if (last?.cursor === cursor && Math.abs(at - last.at) < SIGN_INTERVAL_MS) return;
    if (this.#lastWords.size >= REMEMBERED_MAX) this.#lastWords.clear();
    // Only what was stored: a failed confirmation must be repeated.
    if (await this.#save([{ ...follower, cursor }])) this.#lastWords.set(key, { cursor, at });
  }

  /** A feed that does not count its readers is better than none: an outage only means that nothing is stored. */
  async #save(followers: readonly (Named & { readonly cursor: string | undefined })[]): Promise<boolean> {
    const seenAt = this.#clock.now();
    try {
      await this.#store.saveFollowers(
        followers.map(({ clientId, followerId, cursor }) => ({ clientId, followerId, cursor, seenAt })),
        seenAt - ALIVE_MS,
      );
      return true;
    } catch (error) {
      if (error instanceof StoreUnavailable) return false;
      throw error;
    }
  }

  /**
   * Resolves with the number of confirmations once every follower has confirmed everything in the feed, the time is up, or
   * the signal is aborted; undefined if the store cannot say. Never rejects because of an outage: the token is revoked in
   * any case.
   */
  async untilConfirmed({
    seconds,
    clientId,
    signal,
  }: {
    readonly seconds: number;
    /** The client that waits. */
    readonly clientId: string;
    readonly signal: AbortSignal;
  }): Promise<FollowerCount | undefined> {
    const waiting = this.#waits.get(clientId) ?? 0;
    const crowded = this.#findCrowded(waiting);
    if (crowded !== undefined) this.#boundReached(crowded);
    this.#waits.set(clientId, waiting + 1);
    try {
      return await unlessAway(() => this.#wait(crowded === undefined ? seconds : 0, signal));
    } finally {
      const left = (this.#waits.get(clientId) ?? 1) - 1;
      if (left > 0) this.#waits.set(clientId, left);
      else this.#waits.delete(clientId);
    }
  }

  /** The connected followers, for a request that revoked nothing: none of them is asked, and all count as confirmed. */
  async countConnected(): Promise<FollowerCount | undefined> {
    const aliveAfter = this.#clock.now() - ALIVE_MS;
    return await unlessAway(() => this.#store.countFollowers({ cursor: '', aliveAfter }));
  }

  #findCrowded(waitingOfClient: number): 'WAITS_PER_CLIENT_MAX' | 'WAITS_MAX' | undefined {
    if (waitingOfClient >= WAITS_PER_CLIENT_MAX) return 'WAITS_PER_CLIENT_MAX';
    const all = [...this.#waits.values()].reduce((sum, waits) => sum + waits, 0);
    return all >= WAITS_MAX ? 'WAITS_MAX' : undefined;
  }

  async #wait(seconds: number, signal: AbortSignal): Promise<FollowerCount> {
    const startedAt = this.#clock.now();
    const cursor = await this.#calls.join();
    for (;;) {
      const now = this.#clock.now();
      const count = await this.#store.countFollowers({ cursor, aliveAfter: now - ALIVE_MS });
      const elapsed = now - startedAt;
      const left = seconds * 1000 - elapsed;
      // A clock that was set back must not make the wait longer.
      if (count.confirmed >= count.connected || left <= 0 || elapsed < 0 || signal.aborted) return count;
      await this.#clock.sleep(Math.min(left, LOOK_MS_MAX, LOOK_MS_MIN + elapsed / 8));
    }
  }
}

async function unlessAway<Known>(find: () => Promise<Known>): Promise<Known | undefined> {
  try {
    return await find();
  } catch (outage) {
    if (outage instanceof StoreUnavailable) return undefined;
    throw outage;
  }
}
