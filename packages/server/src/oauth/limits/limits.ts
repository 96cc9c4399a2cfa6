/**
 * Rate limits (contract §9, §10, ADR 17): a budget for each API key, and a bound on failed authentication. Credentials are
 * verified first and only failures count, so nobody can lock out a correct secret. The one exception is a secret that is
 * costly to verify or easy to guess: beyond a bound it is not verified at all.
 */
import { networkOf, refuse, type Clock, type Refusal } from '@hallpass/protocol';
import { createHmac } from 'node:crypto';
import type { Client } from '../../store/store.ts';
import { Budgets, Failures, type Count } from './counts.ts';

/** The settings of the rate limits. */
export interface LimitSettings {
  /** The budget of a key that does not have its own; 0: no limit. */
  readonly keyRequestsPerSecond: number;
  /** Failed authentications per minute from one address; 0: no limit. Against one key the limit is a fifth of that. */
  readonly addressFailuresPerMinute: number;
}

/** Where a failed request comes from. */
export interface Source {
  /** An IP address; empty: unknown. */
  readonly address: string;
  /** The resource server whose guard reports the address. Undefined: it is the address of the request itself. */
  readonly reportedBy?: string;
}

/** An attempt to authenticate. `clientId`: the key that it names; undefined: an assertion without a `client_id`. */
interface Attempt {
  readonly source: Source;
  readonly clientId: string | undefined;
}

/**
 * The budgets of a key, all of the same size. Only a resource server's key has more than `requests`: the inactive tokens that
 * callers bring to its guard, and the confirmations that others make it send, must not use up its feed or its other
 * requests.
 */
export type Budget = 'requests' | 'feed' | 'confirmations' | 'inactive_tokens';

/** The rate limits. Each refusal says when to try again. */
export interface Limits {
  /** The refusal for a failure whose source has already failed too often; the same for every kind of failure. */
  readonly findBlock: (attempt: Attempt) => Refusal | undefined;
  /** Counts a failure. A refusal if it is one too many; undefined: the failure gets its own response. */
  readonly countFailure: (attempt: Attempt) => Promise<Refusal | undefined>;
  /**
   * The refusal instead of verifying a secret that is costly to verify or easy to guess; undefined: verify it. A source gets
   * it only once all its failures get the same response, so it does not tell such a key from others.
   */
  readonly findGuessBlock: (attempt: Attempt) => Refusal | undefined;
  /** Counts a costly verification that failed. */
  readonly countCostlyGuess: (source: Source) => Promise<void>;
  /** Takes one request from a key's budget; a refusal if nothing is left. */
  readonly spend: (
    client: Pick<Client, 'clientId' | 'requestsPerSecond' | 'resourceServerFor'>,
    budget: Budget,
  ) => Promise<Refusal | undefined>;
}

/**
 * Failures are counted per bucket, not per address; a keyed hash maps an address to its bucket. An attacker with endless
 * addresses fills no more memory than this, and cannot choose which addresses share a bucket (ADR 9).
 */
const BUCKETS = 65_536;
/** The limit against one key is this many times tighter. */
const KEY_SHARE = 5;
/** A guard may report this many times the failures of one address: with a leaked guard key, an attacker can make up addresses. */
export const GUARD_FAILURES_FACTOR = 10;
const MINUTE_SECONDS = 60;
const SECOND_MS = 1_000;

/** No limits, for a request that has already been counted. */
export const NO_LIMITS: Limits = {
  findBlock: () => undefined,
  countFailure: async () => undefined,
  findGuessBlock: () => undefined,
  countCostlyGuess: async () => {},
  spend: async () => undefined,
};

/** The limits while the store is away: only those that bound guesses, because copies of clients cannot prove a failure. */
export function onlyGuessLimits({ findGuessBlock, countCostlyGuess }: Limits): Limits {
  return { ...NO_LIMITS, findGuessBlock, countCostlyGuess };
}

/** Opens the limits. `salt`: 32 secret bytes, at any moment the same for all processes that count together. */
export function openLimits(
  { keyRequestsPerSecond, addressFailuresPerMinute: addressBound }: LimitSettings,
  { salt, clock, count }: { readonly salt: () => Uint8Array; readonly clock: Clock; readonly count: Count },
): Limits {
  const bucket = (...words: readonly string[]): string =>
    String(createHmac('sha256', salt()).update(JSON.stringify(words)).digest().readUInt32BE(0) % BUCKETS);
  const failures = new Failures(count, MINUTE_SECONDS);
  const budgets = new Budgets(count);

  /** An address behind a guard is not the same source as that address alone, or behind another guard. */
  const partsOf = ({ address, reportedBy }: Source): readonly string[] =>
    reportedBy === undefined ? [networkOf(address)] : [networkOf(address), reportedBy];
  const bySource = (source: Source): readonly Counted[] => {
    if (addressBound === 0) return [];
    const ofAddress = { name: `of an address ${bucket(...partsOf(source))}`, bound: addressBound };
    if (source.reportedBy === undefined) return [ofAddress];
    const bound = addressBound * GUARD_FAILURES_FACTOR;
    return [ofAddress, { name: `of a guard ${bucket(source.reportedBy)}`, bound }];
  };
  const byKey = ({ source, clientId }: Attempt): readonly Counted[] => {
    if (addressBound === 0 || clientId === undefined) return [];
    const name = `against a key ${bucket(clientId, ...partsOf(source))}`;
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
      // A flood must not become a flood of writes, so this is counted in this process only. It must be counted: otherwise a
      // source that has reached its limit on other keys would have endless guesses at a guessable one.
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
      // The name includes the size, so that an operator's change takes effect at once.
      if (size === 0 || (await budgets.take(`${spent} ${size} ${clientId}`, { budget: size, now }))) return undefined;
      return refuseFor(SECOND_MS - (now % SECOND_MS), `the budget of ${clientId} for ${spent} is spent`);
    },
  };
}

/** A counter and its limit per minute. */
interface Counted {
  readonly name: string;
  readonly bound: number;
}

function refuseFor(milliseconds: number, because: string): Refusal {
  return refuse('rate_limited', { because, retryAfterSeconds: Math.max(1, Math.ceil(milliseconds / 1000)) });
}
