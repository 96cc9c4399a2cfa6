/**
 * How often a caller may ask (contract §9, §10, ADR 17): a budget for each API key, and a bound on failed authentication.
 * Credentials are verified first, and only failures count, so nobody can lock a right secret out. The one exception is a
 * secret that is costly to verify or easy to guess: past a bound it is not verified at all.
 */
import { networkOf, refuse, type Clock, type Refusal } from '@hallpass/protocol';
import { createHmac } from 'node:crypto';
import type { Client } from '../../store/store.ts';
import { Budgets, Failures, type Count } from './counts.ts';

export interface LimitSettings {
  /** For a key without a budget of its own; 0: no limit. */
  readonly keyRequestsPerSecond: number;
  /** Failed authentications per minute from one address; 0: no limit. Against one key it is a fifth of that. */
  readonly addressFailuresPerMinute: number;
}

/** Where a request comes from, as far as failures are concerned. */
export interface Source {
  /** An IP address; empty: unknown. */
  readonly address: string;
  /** The resource server whose guard names the address. Undefined: the address is that of the request itself. */
  readonly reportedBy?: string;
}

/** An attempt to authenticate. `clientId`: the key it names; undefined: an assertion that stands alone. */
interface Attempt {
  readonly source: Source;
  readonly clientId: string | undefined;
}

/**
 * The budgets of a key, each of the size that is set. Only a resource server's key has more than `requests`: what its
 * guard's callers make it ask about (tokens that turn out inactive), and how often others make it confirm, must not cost it
 * its feed or its other questions.
 */
export type Budget = 'requests' | 'feed' | 'confirmations' | 'inactive_tokens';

export interface Limits {
  /** The answer to a failure whose source has failed too often already; the same for every kind of failure. */
  readonly findBlock: (attempt: Attempt) => Refusal | undefined;
  /** Counts a failure. The answer to it when it is one too many; undefined: it may say what it is. */
  readonly countFailure: (attempt: Attempt) => Promise<Refusal | undefined>;
  /**
   * The answer in place of verifying a secret that is costly to verify or easy to guess; undefined: verify it. There is one
   * only for a source whose failures all get that answer by then, so it does not tell such a key from others.
   */
  readonly findGuessBlock: (attempt: Attempt) => Refusal | undefined;
  /** Counts a costly verification that came to nothing. */
  readonly countCostlyGuess: (source: Source) => Promise<void>;
  /** Takes one request from a budget of a key; a refusal when it is spent. */
  readonly spend: (
    client: Pick<Client, 'clientId' | 'requestsPerSecond' | 'resourceServerFor'>,
    budget: Budget,
  ) => Promise<Refusal | undefined>;
}

/**
 * What is counted is not the address but one of this many buckets, which it falls into by a keyed hash: an attacker with
 * endless addresses fills no more memory than this, and cannot choose whom to share a bucket with (ADR 9).
 */
const BUCKETS = 65_536;
/** Failures against one key are bounded this much more tightly. */
const KEY_SHARE = 5;
/** A guard may report this many times the failures that one address may make: a leaked guard key can make addresses up. */
export const GUARD_FAILURES_FACTOR = 10;
const MINUTE_SECONDS = 60;
const SECOND_MS = 1_000;

/** For what was counted already. */
export const NO_LIMITS: Limits = {
  findBlock: () => undefined,
  countFailure: async () => undefined,
  findGuessBlock: () => undefined,
  countCostlyGuess: async () => {},
  spend: async () => undefined,
};

/** The limits while the store is away: an answer must not rest on what only copies know, but a flood buys nothing then either. */
export function onlyGuessLimits({ findGuessBlock, countCostlyGuess }: Limits): Limits {
  return { ...NO_LIMITS, findGuessBlock, countCostlyGuess };
}

/** `salt`: 32 bytes that nobody else knows, at any moment the same for all processes that count together. */
export function openLimits(
  { keyRequestsPerSecond, addressFailuresPerMinute: addressBound }: LimitSettings,
  { salt, clock, count }: { readonly salt: () => Uint8Array; readonly clock: Clock; readonly count: Count },
): Limits {
  const bucket = (...words: readonly string[]): string =>
    String(createHmac('sha256', salt()).update(JSON.stringify(words)).digest().readUInt32BE(0) % BUCKETS);
  const failures = new Failures(count, MINUTE_SECONDS);
  const budgets = new Budgets(count);

  /** One address behind a guard is another one than the same address by itself, or behind another guard. */
  const printRefusal = ({ address, reportedBy }: Source): readonly string[] =>
    reportedBy === undefined ? [networkOf(address)] : [networkOf(address), reportedBy];
  const bySource = (source: Source): readonly Counted[] => {
    if (addressBound === 0) return [];
    const ofAddress = { name: `of an address ${bucket(...printRefusal(source))}`, bound: addressBound };
    if (source.reportedBy === undefined) return [ofAddress];
    const bound = addressBound * GUARD_FAILURES_FACTOR;
    return [ofAddress, { name: `of a guard ${bucket(source.reportedBy)}`, bound }];
  };
  const byKey = ({ source, clientId }: Attempt): readonly Counted[] => {
    if (addressBound === 0 || clientId === undefined) return [];
    const name = `against a key ${bucket(clientId, ...printRefusal(source))}`;
    return [{ name, bound: Math.ceil(addressBound / KEY_SHARE) }];
  };
  const costly = (source: Source): readonly Counted[] =>
    bySource(source).map(({ name, bound }) => ({ name: `costly ${name}`, bound }));

  const isFull = (counted: readonly Counted[], now: number): boolean =>
    counted.some(({ name, bound }) => failures.known(name, now) >= bound);
  const add = async (counted: readonly Counted[], now: number): Promise<boolean> => {
    const added = counted.map(async ({ name, bound }) => (await failures.add(name, now)) > bound);
    return (await Promise.all(added)).includes(true);
  };
  const refuseUntilForgotten = (now: number): Refusal =>
    refuseFor(failures.left(now), 'too many failed authentications');

  return {
    findBlock(attempt) {
      const now = clock.now();
      return isFull([...bySource(attempt.source), ...byKey(attempt)], now) ? refuseUntilForgotten(now) : undefined;
    },
    async countFailure(attempt) {
      const now = clock.now();
      const [ofSource, ofKey] = [bySource(attempt.source), byKey(attempt)];
      const counted = [...ofSource, ...ofKey];
      if (!isFull(counted, now)) return (await add(counted, now)) ? refuseUntilForgotten(now) : undefined;
      // A flood must not become a flood of writes, so this is counted in this process alone. And it has to be counted: a
      // source that is full of failures against other keys would have endless guesses at one that can be guessed.
      for (const { name } of ofKey) failures.addHere(name, now);
      return refuseUntilForgotten(now);
    },
    findGuessBlock(attempt) {
      const now = clock.now();
      return isFull([...costly(attempt.source), ...byKey(attempt)], now) ? refuseUntilForgotten(now) : undefined;
    },
    async countCostlyGuess(source) {
      await add(costly(source), clock.now());
    },
    async spend({ clientId, requestsPerSecond: size = keyRequestsPerSecond, resourceServerFor }, budget) {
      const now = clock.now();
      const spent = resourceServerFor.length > 0 ? budget : 'requests';
      // By its size too, so that a change by an operator holds from that moment on.
      if (size === 0 || (await budgets.take(`${spent} ${size} ${clientId}`, { budget: size, now }))) return undefined;
      return refuseFor(SECOND_MS - (now % SECOND_MS), `the budget of ${clientId} for ${spent} is spent`);
    },
  };
}

/** A counter and how far it may go in a minute. */
interface Counted {
  readonly name: string;
  readonly bound: number;
}

function refuseFor(milliseconds: number, because: string): Refusal {
  return refuse('rate_limited', { because, retryAfterSeconds: Math.max(1, Math.ceil(milliseconds / 1000)) });
}
