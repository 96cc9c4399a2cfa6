/** The nonces that proofs of possession have to carry, where the API asks for them (RFC 9449 §9). */
import { DPOP_NONCE_MS, dpopNonceInput, printDpopNonce, utf8 } from '@hallpass/protocol';
import type { GuardClock } from '../runtime.ts';

/** From when a nonce is first handed out until it is refused, in milliseconds. */
const NONCE_LIFE_MS = 2 * DPOP_NONCE_MS;
/** How many times the clock may be set within those two minutes. */
const LEFT_OVER_MAX = 4;

/** The nonces of one moment. */
export interface NoncesNow {
  /** The one to put into the next proof. */
  readonly current: string;
  readonly isGood: (nonce: string) => boolean;
  /** Whether it is still good and soon will not be: time to tell the current one. */
  readonly isOld: (nonce: unknown) => boolean;
}

/** Those of a period, the one before and the one after. */
interface Made {
  readonly current: string;
  readonly last: string;
  readonly next: string;
}

/** What was given out before the clock was set, and when it ends by `elapsed`; milliseconds. */
interface LeftOver extends Pick<Made, 'current' | 'last'> {
  readonly endsAt: number;
}

/**
 * A nonce is made from the time and a key: there is none to remember, and guards with one key know each other's. When the
 * clock is set, nonces that were given out before stay good for as long as they were going to be.
 */
export class Nonces {
  readonly #clock: GuardClock;
  readonly #secret: Uint8Array;
  #key: Promise<CryptoKey> | undefined;
  #period: number | undefined;
  #ofPeriod: Promise<NoncesNow> | undefined;
  /** The same, and when they were made by `elapsed`. */
  #made: { readonly texts: Promise<Made>; readonly at: number } | undefined;
  #leftOver: readonly LeftOver[] = [];

  /** With a secret of 32 bytes or more. `clock.now` is what guards with one key have in common. */
  constructor(clock: GuardClock, secret: Uint8Array) {
    this.#clock = clock;
    this.#secret = secret;
  }

  /** Made once a period, whatever is asked. */
  now(): Promise<NoncesNow> {
    const period = Math.floor(this.#clock.now() / DPOP_NONCE_MS);
    if (this.#ofPeriod !== undefined && period === this.#period) return this.#ofPeriod;
    // The periods beside it are good anyway. Further away: nobody asked for minutes, or the clock was set.
    const kept = Math.abs(period - (this.#period ?? period)) > 1 ? this.#keepOver() : undefined;
    this.#period = period;
    this.#made = { texts: this.#make(period), at: this.#clock.elapsed() };
    this.#ofPeriod = this.#show(this.#made.texts, kept);
    return this.#ofPeriod;
  }

  async #keepOver(): Promise<void> {
    if (this.#made === undefined) return;
    const { texts, at } = this.#made;
    const { current, last } = await texts;
    this.#leftOver = [{ current, last, endsAt: at + NONCE_LIFE_MS }, ...this.#leftOver].slice(0, LEFT_OVER_MAX);
  }

  async #show(texts: Promise<Made>, kept: Promise<void> | undefined): Promise<NoncesNow> {
    await kept;
    const { current, last, next } = await texts;
    const isLeftOver = (nonce: unknown): boolean => this.#isLeftOver(nonce);
    return {
      current,
      // The next one too: another instance's clock may be ahead of ours, and without the key nobody has it early.
      isGood: (nonce) => nonce === current || nonce === last || nonce === next || isLeftOver(nonce),
      isOld: (nonce) => nonce === last || (nonce !== current && isLeftOver(nonce)),
    };
  }

  #isLeftOver(nonce: unknown): boolean {
    if (this.#leftOver.length === 0) return false;
    const elapsed = this.#clock.elapsed();
    return this.#leftOver.some(
      ({ current, last, endsAt }) => elapsed < endsAt && (nonce === current || nonce === last),
    );
  }

  async #make(period: number): Promise<Made> {
    const [last, current, next] = await Promise.all([
      this.#nonceOf(period - 1),
      this.#nonceOf(period),
      this.#nonceOf(period + 1),
    ]);
    return { current, last, next };
  }

  async #nonceOf(period: number): Promise<string> {
    this.#key ??= crypto.subtle.importKey(
      'raw',
      Uint8Array.from(this.#secret),
      { name: 'HMAC', hash: 'SHA-256' },
      false,
      ['sign'],
    );
    const mac = await crypto.subtle.sign('HMAC', await this.#key, Uint8Array.from(utf8(dpopNonceInput(period))));
    return printDpopNonce(new Uint8Array(mac));
  }
}
