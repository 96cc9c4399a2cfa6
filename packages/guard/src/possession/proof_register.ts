/** Uses proofs up: here, and in the store that all instances of an API share, where there is one (RFC 9449 §11.1). */
import { refuse, type Refusal } from '@hallpass/protocol';
import type { GuardSettings } from '../options.ts';
import { nameOf, Outage } from '../outage.ts';
import { ProofMemory, type UsedProof } from './proof_memory.ts';
import { startTimer } from '../runtime.ts';

/** How long the shared store of proofs may take, in seconds. */
const STORE_SECONDS_MAX = 5;
/**
 * How much longer the shared store keeps a proof than this guard does, in seconds: another instance, whose clock is 5 s
 * behind, takes it for so much longer, and then waits for the store.
 */
const SHARED_SLACK_SECONDS = 5 + STORE_SECONDS_MAX;

export class ProofRegister {
  readonly #memory: ProofMemory;
  readonly #rememberProof: GuardSettings['rememberProof'];

  constructor(settings: Pick<GuardSettings, 'clock' | 'proofsPerClientMax' | 'rememberProof'>) {
    const { clock, proofsPerClientMax, rememberProof } = settings;
    this.#memory = new ProofMemory(clock, { perClientMax: proofsPerClientMax });
    this.#rememberProof = rememberProof;
  }

  /** Undefined for a proof that was not used before, and now is. Throws `Outage` when that cannot be known. */
  async use(proof: UsedProof): Promise<Refusal | undefined> {
    const used = this.#memory.use(proof);
    // Good, but one more than can be remembered of this client: if it were let in, it could be used again.
    if (used === 'too_many') return refuse('rate_limited', { because: 'too many proofs of this client' });
    if (used !== 'fresh') return notGood(used);
    const rememberProof = this.#rememberProof;
    if (rememberProof === undefined) return undefined;
    const isFresh = await askInTime(() => rememberProof(proof.id, proof.expiresAt + SHARED_SLACK_SECONDS));
    return isFresh === true ? undefined : notGood('replayed elsewhere');
  }
}

function notGood(fault: string): Refusal {
  return refuse('resource_proof_not_good', { because: `the proof: ${fault}` });
}

/** What a shared store says; anything but an answer in time is an outage, since the proof may be a replay. */
async function askInTime(ask: () => Promise<unknown>): Promise<unknown> {
  let cancel = (): void => {};
  const late = new Promise<never>((_resolve, reject) => {
    cancel = startTimer(STORE_SECONDS_MAX * 1000, () => reject(new Outage('no answer in time')));
  });
  try {
    return await Promise.race([ask(), late]);
  } catch (cause) {
    throw new Outage(`The shared store of proofs could not be asked: ${nameOf(cause)}.`, { cause });
  } finally {
    cancel();
  }
}
