/** The nonces that proofs of possession must carry, if the API requires them (RFC 9449 §9). */
import { DPOP_NONCE_MS, dpopNonceInput, printDpopNonce, utf8 } from '@hallpass/protocol';
import type { GuardClock } from '../runtime.ts';

/** From when a nonce is first handed out until it's refused, in milliseconds. */
const NONCE_LIFE_MS = 2 * DPOP_NONCE_MS;
/** The number of clock changes that are handled within those two minutes. */
const CLOCK_CHANGES_MAX = 4;

/** The nonces that are valid at one moment. */
export interface NoncesNow {
  /** The nonce for the next proof. */
  readonly current: string;
  readonly isGood: (nonce: string) => boolean;
  /** Whether the nonce is valid but about to expire, so that the client should get the current one. */
  readonly isExpiring: (nonce: unknown) => boolean;
}

/** The nonces of one period and its two neighbors. */
interface PeriodNonces {
  readonly current: string;
  readonly last: string;
  readonly next: string;
}

/** Nonces handed out before the clock was set, and when they end, by `elapsed` in milliseconds. */
interface OldNonces extends Pick<PeriodNonces, 'current' | 'last'> {
  readonly endsAt: number;
}

/**
 * Derives nonces from the time and a key, so there is nothing to store, and guards with the same key accept each
 * other's. If the clock is set, nonces handed out earlier stay valid for as long as they would have been.
 */
export class Nonces {
  readonly #clock: GuardClock;
  readonly #secret: Uint8Array;
  #key: Promise<CryptoKey> | undefined;
  #period: number | undefined;
  #current: Promise<NoncesNow> | undefined;
  /** The current period's nonces, and `elapsed` when they were made. */
  #made: { readonly nonces: Promise<PeriodNonces>; readonly at: number } | undefined;
  #oldNonces: readonly OldNonces[] = [];

  /** `secret`: 32 bytes or more. `clock.now` is what guards with the same key have in common. */
  constructor(clock: GuardClock, secret: Uint8Array) {
    this.#clock = clock;
    this.#secret = secret;
  }

  /** Derived once per period, however often it's called. */
  now(): Promise<NoncesNow> {
    const period = Math.floor(this.#clock.now() / DPOP_NONCE_MS);
    if (this.#current !== undefined && period === this.#period) return this.#current;
    // Neighboring periods are valid anyway. A larger step means that nobody asked for minutes, or that the clock was
    // set.
    const kept = Math.abs(period - (this.#period ?? period)) > 1 ? this.#keepOldNonces() : undefined;
    this.#period = period;
    this.#made = { nonces: this.#make(period), at: this.#clock.elapsed() };
    this.#current = this.#accept(this.#made.nonces, kept);
    return this.#current;
  }

  async #keepOldNonces(): Promise<void> {
    if (this.#made === undefined) return;
    const { nonces, at } = this.#made;
    const { current, last } = await nonces;
    this.#oldNonces = [{ current, last, endsAt: at + NONCE_LIFE_MS }, ...this.#oldNonces].slice(0, CLOCK_CHANGES_MAX);
  }

  async #accept(nonces: Promise<PeriodNonces>, kept: Promise<void> | undefined): Promise<NoncesNow> {
    await kept;
    const { current, last, next } = await nonces;
    const isOldNonce = (nonce: unknown): boolean => this.#isOldNonce(nonce);
    return {
      current,
      // The next period's nonce is accepted too: another instance's clock may be ahead, and nobody without the key can
      // know it early.
      isGood: (nonce) => nonce === current || nonce === last || nonce === next || isOldNonce(nonce),
      isExpiring: (nonce) => nonce === last || (nonce !== current && isOldNonce(nonce)),
    };
  }

  #isOldNonce(nonce: unknown): boolean {
    if (this.#oldNonces.length === 0) return false;
    const elapsed = this.#clock.elapsed();
    return this.#oldNonces.some(
      ({ current, last, endsAt }) => elapsed < endsAt && (nonce === current || nonce === last),
    );
  }

  async #make(period: number): Promise<PeriodNonces> {
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
