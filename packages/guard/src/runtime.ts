/** The runtime's clock, timers, random numbers and hash. No other file of the guard touches the real ones. */
import { printBase64url, utf8, type Clock } from '@hallpass/protocol';

/**
 * Two clocks side by side. `now` is the time of day, which operators, NTP and attackers can set. `elapsed` is
 * monotonic. Durations are measured with `elapsed`; `now` is for comparing with timestamps from elsewhere, such as
 * `iat` and `exp`.
 */
export interface GuardClock extends Clock {
  /**
   * Milliseconds since an arbitrary start. It's never set and never runs backwards, but it may stand still while the
   * machine sleeps.
   */
  readonly elapsed: () => number;
}

/** This machine's clocks. */
export const SYSTEM_CLOCK: GuardClock = { now: () => Date.now(), elapsed: () => performance.now() };

/**
 * Calls `onEnd` once after this time, unless the returned function is called first. Doesn't keep the process alive,
 * where the runtime allows that.
 */
export function startTimer(milliseconds: number, onEnd: () => void): () => void {
  const timer = setTimeout(onEnd, milliseconds);
  // Browsers return a number.
  if (typeof timer === 'object') timer.unref();
  return () => {
    clearTimeout(timer);
  };
}

/** Resolves after this time or when the signal aborts, whichever is first. */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const wake = (): void => {
      cancel();
      signal.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = startTimer(milliseconds, wake);
    signal.addEventListener('abort', wake);
  });
}

/** Keeps the process alive until the returned function is called; the other timers don't. */
export function keepProcessAlive(): () => void {
  const timer = setInterval(() => {}, 60_000);
  return () => {
    clearInterval(timer);
  };
}

/**
 * A random time between half of this and all of it, so that a thousand guards that lost one server don't return in the
 * same instant.
 */
export function jittered(milliseconds: number): number {
  return milliseconds * (0.5 + Math.random() / 2);
}

/** Cryptographically random bytes. */
export function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

/**
 * SHA-256 of a text, as base64url (FIPS 180-4, RFC 4648 §5). Synchronous in Node, Deno and Bun. Elsewhere it uses Web
 * Crypto, which returns a promise and takes several times as long.
 */
export function sha256Base64url(text: string): string | Promise<string> {
  return HASH === undefined ? digestLater(text) : HASH('sha256', text, 'base64url');
}

const HASH = builtInHash();

function builtInHash(): ((algorithm: string, text: string, encoding: 'base64url') => string) | undefined {
  // Looked up at run time, not imported, because browsers and workers load this file too.
  const hash: unknown = globalThis.process?.getBuiltinModule?.('node:crypto')?.hash;
  return typeof hash === 'function'
    ? (algorithm, text, encoding) => String(hash(algorithm, text, encoding))
    : undefined;
}

async function digestLater(text: string): Promise<string> {
  return printBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', Uint8Array.from(utf8(text)))));
}

/** Cryptographically random 32-bit numbers. */
export function randomWords(length: number): Uint32Array {
  return crypto.getRandomValues(new Uint32Array(length));
}

/** Seconds since an instant of `elapsed`. Infinity if it's in the future, because such a clock can't be trusted. */
export function secondsSince(clock: Pick<GuardClock, 'elapsed'>, milliseconds: number): number {
  return secondsBetween(milliseconds, clock.elapsed());
}

/** The same, with an `elapsed` that the caller has already read. */
export function secondsBetween(milliseconds: number, elapsed: number): number {
  const seconds = (elapsed - milliseconds) / 1000;
  return seconds < 0 ? Infinity : seconds;
}

/** Fetch options that keep responses out of caches. Empty where the runtime rejects them, as Cloudflare's workers may. */
export function uncachedOptions(): RequestInit {
  const options: RequestInit = { cache: 'no-store' };
  try {
    // Never sent: this only asks whether the runtime accepts the option.
    if (typeof Request === 'function') void new Request('https://localhost/', options);
    return options;
  } catch {
    return {};
  }
}
