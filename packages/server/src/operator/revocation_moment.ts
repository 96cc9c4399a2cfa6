/**
 * Ending everything that was issued up to the acknowledgement (contract §10). A commit may take seconds, and an instance
 * that read the store before it keeps issuing. A revocation dated when it was written would miss those tokens, and guards
 * would accept them until they expire. So the date is compared with the moment of the acknowledgement, and moved on if the
 * commit was slower.
 */
import { numericDate } from '@hallpass/protocol';
import type { RevocationMoment } from '../oauth/tokens/revocations.ts';
import type { TrustedTime } from '../oauth/trusted_time.ts';
import { StoreUnavailable, type StoredRevocation, type Store } from '../store/store.ts';
import { operatorRefusal } from './operator_refusal.ts';

/** The clock that dates a revocation when this machine's and the store's disagree. */
export const CLOCKS = ['machine', 'store'] as const;
/** One of them. */
export type ClockChoice = (typeof CLOCKS)[number];

/** How long a commit usually takes at most, in milliseconds. Added to the date, so that one write is usually enough. */
const USUAL_COMMIT_MS = 250;
/** How often the date is moved on before giving up. */
const ATTEMPTS_MAX = 5;

/** What a revocation is dated with. */
export interface Dating {
  readonly store: Store;
  readonly time: TrustedTime;
  /** How far apart the clocks of the instances on this store may be. */
  readonly clockSkewSeconds: number;
}

/**
 * Writes a revocation, and resolves once it covers every token issued so far, however long the commit took. `write` stores
 * the first revocation together with the rest of the change. Rejects with the refusal `clocks_differ` while the clocks
 * disagree and the operator has not chosen one.
 */
export async function revokeUntilAcknowledged<Outcome>(
  { store, time, clockSkewSeconds }: Dating,
  clock: ClockChoice | 'issuing' | undefined,
  {
    revocationAt,
    write,
  }: {
    readonly revocationAt: (moment: RevocationMoment) => StoredRevocation;
    readonly write: (revocation: StoredRevocation) => Promise<Outcome>;
  },
): Promise<{ readonly outcome: Outcome; readonly revocation: StoredRevocation }> {
  const start = await findStart(time, clock);
  const startedAt = time.elapsed();
  const at = (): number => start + time.elapsed() - startedAt;
  const writeAt = async <Result>(milliseconds: number, work: (revocation: StoredRevocation) => Promise<Result>) => {
    const begunAt = time.elapsed();
    const now = numericDate(milliseconds);
    const revocation = revocationAt({ now, clockSkewSeconds });
    const outcome = await work(revocation);
    return { outcome, revocation, isCovered: numericDate(at()) <= now, took: time.elapsed() - begunAt };
  };
  let written: { readonly revocation: StoredRevocation; readonly isCovered: boolean; readonly took: number };
  const first = await writeAt(start + USUAL_COMMIT_MS, write);
  written = first;
  for (let attempt = 2; !written.isCovered; attempt++) {
    if (attempt > ATTEMPTS_MAX) {
      throw new StoreUnavailable('The store commits too slowly: tokens issued in the last seconds may not be covered.');
    }
    // Half as long again as the last one took, so that the next is likely to be enough.
    written = await writeAt(at() + 1.5 * written.took + USUAL_COMMIT_MS, (later) => store.revoke([later]));
  }
  return { outcome: first.outcome, revocation: written.revocation };
}

/**
 * The time to date from, in milliseconds: the later of the two clocks if they agree. `issuing` is for the server itself,
 * which cannot ask anyone: it covers everything the server has issued, even by a clock that was set.
 */
async function findStart(time: TrustedTime, clock: ClockChoice | 'issuing' | undefined): Promise<number> {
  const difference = await time.findDifference();
  if (clock === 'machine') return time.machineNow();
  if (clock === 'store') return time.storeNow();
  if (clock === 'issuing') return Math.max(time.now(), time.storeNow());
  if (difference !== undefined) throw operatorRefusal('clocks_differ', { difference });
  return Math.max(time.machineNow(), time.storeNow());
}
