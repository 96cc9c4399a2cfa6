/** Time and chance; no other file touches the real ones. */
import type { Clock } from '@hallpass/protocol';

export const SYSTEM_CLOCK: Clock = { now: () => Date.now() };

/** Rings once after that time, unless what it gives back is called before. Keeps no process alive where that can be said. */
export function alarm(milliseconds: number, ring: () => void): () => void {
  const timer = setTimeout(ring, milliseconds);
  // A number in browsers.
  if (typeof timer === 'object') timer.unref();
  return () => {
    clearTimeout(timer);
  };
}

/** Resolves after that time, or when the signal is given. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const wake = (): void => {
      cancel();
      signal.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = alarm(milliseconds, wake);
    signal.addEventListener('abort', wake);
  });
}

/** Keeps the process alive until it is called, where alarms do not. */
export function stayAlive(): () => void {
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

/** Numbers of 32 bits that nobody can guess. */
export function randomWords(length: number): Uint32Array {
  return crypto.getRandomValues(new Uint32Array(length));
}

/** How long ago an instant was. Infinity when it lies ahead: a clock that was set back can vouch for nothing. */
export function secondsSince(clock: Clock, milliseconds: number): number {
  const seconds = (clock.now() - milliseconds) / 1000;
  return seconds < 0 ? Infinity : seconds;
}
