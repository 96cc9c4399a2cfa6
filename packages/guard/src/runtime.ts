/** Time and chance; no other file touches the real ones. */
import { printBase64url, utf8, type Clock } from '@hallpass/protocol';

/**
 * Two clocks side by side. `now` is the time of day, which operators, NTP and attackers set; `elapsed` only ever runs
 * on. Every duration is measured by `elapsed`. `now` is for instants that others name: `iat`, `exp`.
 */
export interface GuardClock extends Clock {
  /** Milliseconds since an arbitrary start; never set, never backwards. It may stand still while the machine sleeps. */
  readonly elapsed: () => number;
}

export const SYSTEM_CLOCK: GuardClock = { now: () => Date.now(), elapsed: () => performance.now() };

/** Rings once after that time, unless what it gives back is called before. Keeps no process alive where that can be said. */
export function startTimer(milliseconds: number, ring: () => void): () => void {
  const timer = setTimeout(ring, milliseconds);
  // A number in browsers.
  if (typeof timer === 'object') timer.unref();
  return () => {
    clearTimeout(timer);
  };
}

/** Resolves after that time, or when the signal is given. */
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

/** Keeps the process alive until it is called, where alarms do not. */
export function keepProcessAlive(): () => void {
  const timer = setInterval(() => {}, 60_000);
  return () => {
    clearInterval(timer);
  };
}

/** Between half of a time and the whole: a thousand guards that lost one server must not come back as one. */
export function jittered(milliseconds: number): number {
  return milliseconds * (0.5 + Math.random() / 2);
}

/** Bytes that nobody can guess. */
export function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

/**
 * SHA-256 of a text as base64url: at once where the runtime can, else later, which takes several times as long. Node,
 * Deno and Bun can; a runtime that is neither has Web Crypto (FIPS 180-4, RFC 4648 §5).
 */
export function sha256Base64url(text: string): string | Promise<string> {
  return HASH === undefined ? digestLater(text) : HASH('sha256', text, 'base64url');
}

const HASH = builtInHash();

function builtInHash(): ((algorithm: string, text: string, encoding: 'base64url') => string) | undefined {
  // Asked for rather than imported: this file is read by browsers and workers too.
  const hash: unknown = globalThis.process?.getBuiltinModule?.('node:crypto')?.hash;
  return typeof hash === 'function'
    ? (algorithm, text, encoding) => String(hash(algorithm, text, encoding))
    : undefined;
}

async function digestLater(text: string): Promise<string> {
  return printBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', Uint8Array.from(utf8(text)))));
}

/** Numbers of 32 bits that nobody can guess. */
export function randomWords(length: number): Uint32Array {
  return crypto.getRandomValues(new Uint32Array(length));
}

/** How long ago an instant of `elapsed` was. Infinity when it lies ahead: such a clock can vouch for nothing. */
export function secondsSince(clock: Pick<GuardClock, 'elapsed'>, milliseconds: number): number {
  return secondsBetween(milliseconds, clock.elapsed());
}

/** The same for an `elapsed` that was read already. */
export function secondsBetween(milliseconds: number, elapsed: number): number {
  const seconds = (elapsed - milliseconds) / 1000;
  return seconds < 0 ? Infinity : seconds;
}
