/**
 * Marks proofs as used: in this process, and in the store shared by all instances of the API, if there is one (RFC 9449
 * §11.1).
 */
import { refuse, type Refusal } from '@hallpass/protocol';
import type { GuardSettings } from '../settings.ts';
import { nameOf, Outage } from '../outage.ts';
import { ProofMemory, type UsedProof } from './proof_memory.ts';
import { startTimer } from '../runtime.ts';

/** The time limit for the shared store, in seconds. */
const STORE_SECONDS_MAX = 5;
/**
 * How much longer the shared store keeps a proof than this guard does, in seconds: an instance whose clock is 5 s
 * behind accepts the proof that much longer, and then waits for the store.
 */
const SHARED_SLACK_SECONDS = 5 + STORE_SECONDS_MAX;

/** Accepts each proof once. */
export class ProofRegister {
  readonly #memory: ProofMemory;
  readonly #rememberProof: GuardSettings['rememberProof'];

  constructor(settings: Pick<GuardSettings, 'clock' | 'proofsPerClientMax' | 'rememberProof'>) {
    const { clock, proofsPerClientMax, rememberProof } = settings;
    this.#memory = new ProofMemory(clock, { perClientMax: proofsPerClientMax });
    this.#rememberProof = rememberProof;
  }

  /** Undefined if the proof is used for the first time. Throws `Outage` if that can't be known. */
  async use(proof: UsedProof): Promise<Refusal | undefined> {
    const used = this.#memory.use(proof);
    // The proof is valid, but this client has no room left. If it were accepted without being remembered, it could be
    // replayed.
    if (used === 'too_many') return refuse('rate_limited', { because: 'too many proofs of this client' });
    if (used !== 'fresh') return refuseProof(used);
    const rememberProof = this.#rememberProof;
    if (rememberProof === undefined) return undefined;
    const isFresh = await askInTime(() => rememberProof(proof.id, proof.expiresAt + SHARED_SLACK_SECONDS));
    return isFresh === true ? undefined : refuseProof('replayed elsewhere');
  }
}

function refuseProof(fault: string): Refusal {
  return refuse('resource_proof_not_good', { because: `the proof: ${fault}` });
}

/** The shared store's answer. Anything but an answer in time is an outage, because the proof may be a replay. */
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
