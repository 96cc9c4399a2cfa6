/**
 * How often one may ask (contract §9): a budget for each key, and a bound on failed authentication, from one address and
 * against one key from one address. The right secret from elsewhere still works, so nobody can lock a client out.
 */
import { refuse, type Clock, type Refusal } from '@hallpass/protocol';
import { createHmac } from 'node:crypto';
import type { Client } from '../store/store.ts';
import { Budgets, Failures, type Count } from './counts.ts';

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
 * endless addresses can fill no more memory than this, and cannot choose whom to share a bucket with (ADR 9).
 */
const BUCKETS = 65_536;
/** Failures against one key are bounded this much more tightly. */
const KEY_SHARE = 5;
const MINUTE_SECONDS = 60;
const SECOND_MS = 1_000;

/** For what was counted already. */
export const NO_LIMITS: Limits = {
  findBlock: async () => undefined,
  countFailure: async () => undefined,
  spend: async () => undefined,
};

/** `salt`: 32 bytes that nobody else knows, the same for all processes that count together. */
export function openLimits(
  { keyRequestsPerSecond, addressFailuresPerMinute }: LimitSettings,
  { salt, clock, count }: { readonly salt: Uint8Array; readonly clock: Clock; readonly count: Count },
): Limits {
  const bucket = (...words: readonly string[]): string =>
    String(createHmac('sha256', salt).update(JSON.stringify(words)).digest().readUInt32BE(0) % BUCKETS);
  const failures = new Failures(count, MINUTE_SECONDS);
  const budgets = new Budgets(count);
  const byAddress = (address: string): Bounded => ({
    name: `of an address ${bucket(networkOf(address))}`,
    bound: addressFailuresPerMinute,
  });
  const byAddressAndKey = (address: string, clientId: string): Bounded => ({
    name: `against a key ${bucket(networkOf(address), clientId)}`,
    bound: Math.ceil(addressFailuresPerMinute / KEY_SHARE),
  });
  const bounds = (address: string, clientId: string | undefined): readonly Bounded[] => {
    if (addressFailuresPerMinute === 0) return [];
    return clientId === undefined ? [byAddress(address)] : [byAddress(address), byAddressAndKey(address, clientId)];
  };

  return {
    async findBlock(address, clientId) {
      const now = clock.now();
      const spent = bounds(address, clientId).some(({ name, bound }) => failures.known(name, now) >= bound);
      return spent ? refuseFor(failures.left(now), 'too many failed authentications') : undefined;
    },
    async countFailure(address, clientId) {
      const now = clock.now();
      await Promise.all(bounds(address, clientId).map(({ name }) => failures.add(name, now)));
    },
    async spend({ clientId, requestsPerSecond: budget = keyRequestsPerSecond }) {
      const now = clock.now();
      // By the budget too, so that one that an operator changes holds from that moment on.
      if (budget === 0 || (await budgets.take(`${budget} ${clientId}`, { budget, now }))) return undefined;
      return refuseFor(SECOND_MS - (now % SECOND_MS), `the budget of ${clientId} is spent`);
    },
  };
}

/** Something that is counted, and how much of it is let be in a period. */
interface Bounded {
  readonly name: string;
  readonly bound: number;
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
