/** Whether a token and the way it was presented fit together: bound tokens need a proof, bearer tokens have none (RFC 9449 §7). */
import { numericDate, refuse, type Refusal } from '@hallpass/protocol';
import type { Identified } from '../credentials/holder.ts';
import type { GuardSettings } from '../settings.ts';
import { publicAddress } from '../policy/path.ts';
import { readProofs, type GuardedRequest, type PresentedCredentials } from '../request.ts';
import type { Nonces } from './nonces.ts';
import { verifyPossession, type Possession } from './possession.ts';

/** Checks the binding of tokens to keys. */
export class Binding {
  readonly #settings: Pick<GuardSettings, 'publicURL' | 'clock'>;
  readonly #nonces: Nonces | undefined;

  constructor(settings: Pick<GuardSettings, 'publicURL' | 'clock'>, nonces: Nonces | undefined) {
    this.#settings = settings;
    this.#nonces = nonces;
  }

  /** The verified proof of a bound token, still to be checked for replay; undefined for a bearer token. */
  async verify(
    request: GuardedRequest,
    scheme: PresentedCredentials['scheme'],
    { token, holder }: Identified,
  ): Promise<Possession | Refusal | undefined> {
    const { cnf, client_id } = holder.claims;
    if (cnf === undefined) {
      return scheme === 'DPoP' ? refuse('token_not_good', { because: 'DPoP with a token not bound' }) : undefined;
    }
    // A stolen token sent without the proof: the downgrade that RFC 9449 §7.2 warns of.
    if (scheme !== 'DPoP') return refuse('token_is_bound');
    const { publicURL, clock } = this.#settings;
    return await verifyPossession({
      method: request.method,
      url: publicAddress(request.url, publicURL),
      proofs: readProofs(request.headers),
      token,
      boundTo: cnf.jkt,
      clientId: client_id,
      now: numericDate(clock.now()),
      nonces: await this.#nonces?.now(),
    });
  }
}
