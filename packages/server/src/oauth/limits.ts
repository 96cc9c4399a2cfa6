/**
 * How often one may ask (contract §9): a budget for each key, and a bound on failed authentication, from one address and
 * against one key from one address. The right secret from elsewhere still works, so nobody can lock a client out.
 */
import { refuse, type Refusal } from '@hallpass/protocol';
import { createHmac } from 'node:crypto';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Client } from '../store/store.ts';

export interface LimitSettings {
  /** For a key that has no budget of its own; 0: none. */
  readonly keyRequestsPerSecond: number;
  /** Failed authentications a minute from one address; 0: no bound. Against one key it is a fifth of that. */
  readonly addressFailuresPerMinute: number;
}

export interface Limits {
  /** A refusal while an address has failed too often, whatever it brings now. */
  readonly findBlock: (address: string, clientId: string | undefined) => Promise<Refusal | undefined>;
  readonly countFailure: (address: string, clientId: string | undefined) => Promise<void>;
  /** One request of a key's budget, or a refusal when it is spent. */
  readonly spend: (client: Pick<Client, 'clientId' | 'requestsPerSecond'>) => Promise<Refusal | undefined>;
}

/**
 * What is counted is not the address but one of so many buckets that it falls into, by a keyed hash: an attacker with
 * endless addresses can fill no more memory than this, and cannot choose whom to share a bucket with.
 */
const BUCKETS = 65_536;
/** Failures against one key are bounded this much more tightly. */
const KEY_SHARE = 5;

/** For what was counted already. */
export const NO_LIMITS: Limits = {
  findBlock: async () => undefined,
  countFailure: async () => undefined,
  spend: async () => undefined,
};

/** `salt`: 32 random bytes of this process. */
export function openLimits(
  { keyRequestsPerSecond, addressFailuresPerMinute }: LimitSettings,
  salt: Uint8Array,
): Limits {
  const bucket = (...words: readonly string[]): string =>
    String(createHmac('sha256', salt).update(JSON.stringify(words)).digest().readUInt32BE(0) % BUCKETS);
  const byAddress = makeLimiter('address', addressFailuresPerMinute, 60);
  const byAddressAndKey = makeLimiter('address and key', Math.ceil(addressFailuresPerMinute / KEY_SHARE), 60);
  const budgets = new Map<number, RateLimiterMemory>();

  return {
    async findBlock(address, clientId) {
      if (addressFailuresPerMinute === 0) return undefined;
      const place = networkOf(address);
      return (
        (await findSpent(byAddress, bucket(place))) ??
        (clientId === undefined ? undefined : await findSpent(byAddressAndKey, bucket(place, clientId)))
      );
    },
    async countFailure(address, clientId) {
      if (addressFailuresPerMinute === 0) return;
      const place = networkOf(address);
      await byAddress.penalty(bucket(place));
      if (clientId !== undefined) await byAddressAndKey.penalty(bucket(place, clientId));
    },
    async spend({ clientId, requestsPerSecond = keyRequestsPerSecond }) {
      if (requestsPerSecond === 0) return undefined;
      // As many limiters as there are different budgets, and those are an operator's to choose.
      const limiter = budgets.get(requestsPerSecond) ?? makeLimiter('key', requestsPerSecond, 1);
      budgets.set(requestsPerSecond, limiter);
      try {
        await limiter.consume(clientId);
        return undefined;
      } catch (spent) {
        if (spent instanceof RateLimiterRes) return refuseFor(spent.msBeforeNext, `the budget of ${clientId} is spent`);
        throw spent;
      }
    },
  };
}

function makeLimiter(keyPrefix: string, points: number, duration: number): RateLimiterMemory {
  return new RateLimiterMemory({ keyPrefix, points, duration });
}

async function findSpent(limiter: RateLimiterMemory, key: string): Promise<Refusal | undefined> {
  const counted = await limiter.get(key);
  const spent = counted !== null && counted.consumedPoints >= limiter.points;
  return spent ? refuseFor(counted.msBeforeNext, 'too many failed authentications') : undefined;
}

function refuseFor(milliseconds: number, because: string): Refusal {
  return refuse('rate_limited', { because, retryAfterSeconds: Math.max(1, Math.ceil(milliseconds / 1000)) });
}

/** An IPv4 address, also one mapped to IPv6 (RFC 4291 §2.5.5.2), and without the port that some proxies put behind it. */
const IPV4 = /^(?:::ffff:)?((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?::[0-9]+)?$/i;

/** Whoever has one IPv6 address has 2^64 of them: they are counted by the network, /64, however it is written. */
function networkOf(address: string): string {
  const [, ipv4] = IPV4.exec(address) ?? [];
  if (ipv4 !== undefined) return ipv4;
  if (!address.includes(':') || address.includes('.')) return address;
  const [head = '', tail] = address.replace(/^\[(.*)\](?::[0-9]+)?$/, '$1').split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - groups.length - rest.length;
  const all = [...groups, ...Array.from({ length: Math.max(0, zeros) }, () => '0'), ...rest];
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16))
    .join(':');
}
