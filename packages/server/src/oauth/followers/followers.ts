/**
 * Who follows the feed, and has confirmed what. It travels through the store, since a guard may be connected to one
 * instance and a revocation be answered by another (ADR 16).
 */
import type { ServerClock } from '../clock.ts';
import type { BoundReached } from '../limits/bounds.ts';
import { FollowerCalls } from './confirmation_calls.ts';
import { StoreUnavailable, type FollowerCount, type Store } from '../../store/store.ts';

/** How often a sign of life is written of those who are connected here, in milliseconds. */
const SIGN_INTERVAL_MS = 3_000;
/** How long after its last sign of life a follower counts as connected, in milliseconds: as long as a guard trusts what it heard, by default. */
const ALIVE_MS = 10_000;
/** The most who wait at once in this process, and of them for one client; who comes beyond is answered at once. */
export const WAITS_MAX = 64;
export const WAITS_PER_CLIENT_MAX = 8;
/** How often whoever waits looks, in milliseconds: at first, and at last. */
const LOOK_MS_MIN = 20;
const LOOK_MS_MAX = 250;
/** The most followers whose last word is remembered, so that it need not be written again. */
const REMEMBERED_MAX = 10_000;

/** What an operator may know of the feed, of this process. */
export interface FeedMeters {
  readonly streamOpened: () => void;
  readonly streamClosed: () => void;
  readonly pageRead: () => void;
  /** A revocation waited for guards, so many seconds, and all of them confirmed or not. */
  readonly waited: (seconds: number, count: FollowerCount) => void;
}

interface Named {
  readonly clientId: string;
  readonly followerId: string;
}

/** A follower's own name for itself: 128 random bits. */
const FOLLOWER_ID = /^[A-Za-z0-9_-]{22}$/;

/** Whether a follower has named itself. */
export function isFollowerId(header: string | undefined): header is string {
  return header !== undefined && FOLLOWER_ID.test(header);
}

/** The follower behind a request for the feed; undefined for one that says no name: it cannot be counted. */
export function followerOf(clientId: string, header: string | undefined): Named | undefined {
  return isFollowerId(header) ? { clientId, followerId: header } : undefined;
}

export class Followers {
  readonly #store: Store;
  readonly #clock: ServerClock;
  readonly #calls: FollowerCalls;
  readonly #boundReached: BoundReached;
  /** Those who are connected here. */
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

  /** Counts a stream's reader as connected until what it answers with is called. */
  async connect(follower: Named, cursor: string | undefined): Promise<() => void> {
    const connected = { ...follower, cursor };
    this.#connected.add(connected);
    // What fails is tried again next time; whoever reads hears of an outage there.
    const sign = (): void => void this.#note([...this.#connected]).catch(() => undefined);
    this.#timer ??= setInterval(sign, SIGN_INTERVAL_MS).unref();
    await this.#note([connected]);
    return () => {
      this.#connected.delete(connected);
      if (this.#connected.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  /** Whoever asks for what comes after a cursor has everything up to it. */
  async confirm(follower: Named, cursor: string): Promise<void> {
    const key = `${follower.clientId} ${follower.followerId}`;
    const at = this.#clock.now();
    const last = this.#lastWords.get(key);
    if (last?.cursor === cursor && Math.abs(at - last.at) < SIGN_INTERVAL_MS) return;
    if (this.#lastWords.size >= REMEMBERED_MAX) this.#lastWords.clear();
    // Only what was kept: what failed is to be said again.
    if (await this.#note([{ ...follower, cursor }])) this.#lastWords.set(key, { cursor, at });
  }

  /** A feed without those who count its readers is better than none: what cannot be kept is not. */
  async #note(followers: readonly (Named & { readonly cursor: string | undefined })[]): Promise<boolean> {
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
   * Resolves when every follower has confirmed all that is in the feed now, or when the time is over or the signal given,
   * with how many had by then; undefined when the store cannot say. Never rejects for an outage: what was revoked is
   * revoked.
   */
  async untilConfirmed({
    seconds,
    clientId,
    signal,
  }: {
    readonly seconds: number;
    /** Who waits. */
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

  /** Those who are connected, for whoever has revoked nothing that they could lack: they are not asked. */
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
      // A clock that was set back must not make anybody wait for longer.
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
