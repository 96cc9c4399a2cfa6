/**
 * Ending everything that was issued until the acknowledgement (contract §10). A commit may take seconds, and whoever
 * looked at the store before it goes on issuing: a revocation that was dated when it was written would miss those tokens,
 * and guards would take them until they expire. So the date is compared with the acknowledgement, and moved on where the
 * commit was slower.
 */
import { numericDate } from '@hallpass/protocol';
import type { RevocationMoment } from '../oauth/tokens/revocations.ts';
import type { ClockDifference, TrustedTime } from '../oauth/trusted_time.ts';
import { StoreUnavailable, type StoredRevocation, type Store } from '../store/store.ts';
import { OperatorRefusal } from './operator_refusal.ts';

/** Whose time a revocation is dated by, where this machine's clock and the store's do not agree. */
export const CLOCKS = ['machine', 'store'] as const;
export type ClockChoice = (typeof CLOCKS)[number];

/** How long a commit usually takes at most, in milliseconds. It is added to the date, so that one write is enough. */
const USUAL_COMMIT_MS = 250;
/** How often the date is moved on before it is given up. */
const ATTEMPTS_MAX = 5;

export interface Dating {
  readonly store: Store;
  readonly time: TrustedTime;
  /** How far the clocks of those who issue on this store may be apart. */
  readonly clockSkewSeconds: number;
}

/**
 * Writes a revocation and answers when it covers every token that was issued until then, whatever the commit took.
 * `write` keeps the first one, with what goes along with it, and rejects where it cannot. Rejects with `OperatorRefusal`
 * while the clocks do not agree and nobody has chosen one.
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
      throw new StoreUnavailable(
        'The store commits too slowly: tokens that were issued in the last seconds may not be covered.',
      );
    }
    // Half as long again as the last one took, so that the next is likely to be enough.
    written = await writeAt(at() + 1.5 * written.took + USUAL_COMMIT_MS, (later) => store.revoke([later]));
  }
  return { outcome: first.outcome, revocation: written.revocation };
}

/**
 * The time to date from, in milliseconds: the later of the two clocks where they agree. `issuing`: for the server itself,
 * which cannot ask anybody. It covers what it has issued, by a clock that was set as well.
 */
async function findStart(time: TrustedTime, clock: ClockChoice | 'issuing' | undefined): Promise<number> {
  const difference = await time.findDifference();
  if (clock === 'machine') return time.machineNow();
  if (clock === 'store') return time.storeNow();
  if (clock === 'issuing') return Math.max(time.now(), time.storeNow());
  if (difference !== undefined) throw new OperatorRefusal(whyNotDated(difference));
  return Math.max(time.machineNow(), time.storeNow());
}

function whyNotDated({ machine, store, of }: ClockDifference): string {
  const isAhead = machine > store;
  const how = `${Math.round(Math.abs(machine - store) / 1000)} s ${isAhead ? 'ahead of' : 'behind'}`;
  const price = isAhead
    ? 'If the clock is wrong, a revocation dated by it would stop all issuing until then.'
    : 'If the clock is wrong, a revocation dated by it would miss the tokens that were issued since.';
  if (of === 'database') {
    return `This machine's clock is ${how} the database's. ${price} Nothing was changed. Set the clock right, or say which one to go by: --clock store or --clock machine.`;
  }
  return `This machine's clock is ${how} the time that a server last kept in this store, ${new Date(store).toISOString()}. ${price} Nothing was changed. If the clock is right (after a stop, no server has run since), repeat the command with: --clock machine`;
}
