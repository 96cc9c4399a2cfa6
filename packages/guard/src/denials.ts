/** Turns refusals into the guard's responses, and counts them. */
import type { Refusal, RefusalReason } from '@hallpass/protocol';
import { deny, type Denial, type DenialOrigin } from './decision.ts';
import type { GuardCounts } from './guard_metrics.ts';
import type { IssuerTime } from './issuer/issuer_time.ts';
import type { GuardSettings } from './settings.ts';
import type { Nonces } from './possession/nonces.ts';
import type { PresentedCredentials } from './request.ts';
import { metadataURL } from './resource_metadata.ts';

/** The refusals that a wrong clock can cause. */
const TIMED: ReadonlySet<string> = new Set<RefusalReason>([
  'clock_differs',
  'token_expired',
  'resource_proof_not_good',
]);

/** What a denial is made with. */
export interface DenialsOptions {
  readonly settings: Pick<GuardSettings, 'realm' | 'audience' | 'resourceMetadata' | 'leewaySeconds'>;
  readonly nonces: Nonces | undefined;
  readonly issuerTime: IssuerTime;
  readonly counts: GuardCounts;
}

/** Makes the denials of one guard. */
export class Denials {
  readonly #options: DenialsOptions;
  readonly #origin: DenialOrigin;

  constructor(options: DenialsOptions) {
    const { realm, audience, resourceMetadata } = options.settings;
    this.#options = options;
    this.#origin = resourceMetadata ? { realm, resourceMetadata: metadataURL(audience) } : { realm };
  }

  /** `tried`: the credentials of the request. The challenge names their scheme (RFC 9449 §7.1). */
  async deny(refusal: Refusal, tried?: PresentedCredentials): Promise<Denial> {
    const { nonces, issuerTime, counts } = this.#options;
    counts.refuse(refusal.refused);
    const now = await nonces?.now();
    if (refusal.refused === 'clock_differs') issuerTime.askAgain();
    return deny(this.#withClock(refusal), {
      ...this.#origin,
      scheme: tried?.scheme === 'DPoP' ? 'DPoP' : undefined,
      nonce: now?.current,
    });
  }

  /** Tells the log how far this machine's clock is off, when that may be the cause. */
  #withClock(refusal: Refusal): Refusal {
    const { issuerTime, settings } = this.#options;
    const offsetSeconds = TIMED.has(refusal.refused) ? (issuerTime.offsetSeconds() ?? 0) : 0;
    if (Math.abs(offsetSeconds) <= settings.leewaySeconds) return refusal;
    const words = `${Math.abs(offsetSeconds)} s ${offsetSeconds < 0 ? 'behind' : 'ahead of'}`;
    return { ...refusal, because: `${refusal.because}; the clock of this machine is ${words} the issuer's` };
  }
}
