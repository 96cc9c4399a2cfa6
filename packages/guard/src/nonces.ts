/** The nonces that proofs of possession have to carry, where the API asks for them (RFC 9449 §9). */
import { printBase64url, utf8, type Clock } from '@hallpass/protocol';

/** How long a nonce is given out, in milliseconds; it is good for as long again. */
const NONCE_MS = 60_000;
/** Of the 32 bytes of a MAC; nobody guesses one of these in two minutes. */
const NONCE_BYTES = 16;

/** The nonces of one moment. */
export interface NoncesNow {
  /** The one to put into the next proof. */
  readonly current: string;
  readonly isGood: (nonce: string) => boolean;
  /** Whether it is still good and soon will not be: time to tell the current one. */
  readonly isOld: (nonce: unknown) => boolean;
}

/** A nonce is made from the time and a key: there is none to remember, and guards with one key know each other's. */
export class Nonces {
  readonly #clock: Clock;
  readonly #secret: Uint8Array;
  #key: Promise<CryptoKey> | undefined;
  #period: number | undefined;
  #ofPeriod: Promise<NoncesNow> | undefined;

  /** With a secret of 32 bytes or more. */
  constructor(clock: Clock, secret: Uint8Array) {
    this.#clock = clock;
    this.#secret = secret;
  }

  /** Made once a period, whatever is asked. */
  now(): Promise<NoncesNow> {
    const period = Math.floor(this.#clock.now() / NONCE_MS);
    if (this.#ofPeriod !== undefined && period === this.#period) return this.#ofPeriod;
    this.#period = period;
    this.#ofPeriod = this.#make(period);
    return this.#ofPeriod;
  }

  async #make(period: number): Promise<NoncesNow> {
    const [last, current, next] = await Promise.all([
      this.#nonceOf(period - 1),
      this.#nonceOf(period),
      this.#nonceOf(period + 1),
    ]);
    return {
      current,
      // The next one too: another instance's clock may be ahead of ours, and without the key nobody has it early.
      isGood: (nonce) => nonce === current || nonce === last || nonce === next,
      isOld: (nonce) => nonce === last,
    };
  }

  async #nonceOf(period: number): Promise<string> {
    this.#key ??= crypto.subtle.importKey(
      'raw',
      Uint8Array.from(this.#secret),
      { name: 'HMAC', hash: 'SHA-256' },
      false,
      ['sign'],
    );
    const mac = await crypto.subtle.sign('HMAC', await this.#key, Uint8Array.from(utf8(`dpop nonce ${period}`)));
    return printBase64url(new Uint8Array(mac, 0, NONCE_BYTES));
  }
}
