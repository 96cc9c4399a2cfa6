/** One connection to the revocation feed, as an event stream (contract §9 Feed). */
import type { EventSourceMessage } from 'eventsource-parser';
import { eventReader } from './event_stream.ts';
import { Outage, Refused } from '../outage.ts';
import { startTimer, secondsSince, type GuardClock } from '../runtime.ts';

/**
 * Opens the stream and reads it until it ends. Always ends by throwing: `Refused`, `Outage`, or whatever `open` and
 * `take` throw.
 */
export async function readStream({
  open,
  take,
  clock,
  onArrival,
  silenceSecondsMax,
  closing,
}: {
  readonly open: (signal: AbortSignal) => Promise<Response>;
  readonly take: (event: EventSourceMessage) => void;
  readonly clock: Pick<GuardClock, 'elapsed'>;
  /** Called when bytes arrive, before they are read. May abort `closing`. */
  readonly onArrival?: (() => void) | undefined;
  /** How long a stream may be silent before it is given up, in seconds. Any byte counts. */
  readonly silenceSecondsMax: number;
  readonly closing: AbortSignal;
}): Promise<never> {
  const ending = new AbortController();
  const end = (): void => {
    ending.abort();
  };
  closing.addEventListener('abort', end);
  let cancelTimer = startTimer(silenceSecondsMax * 1000, end);
  let bytesAt = clock.elapsed();
  try {
    const response = await open(ending.signal);
    const reader = readerOf(response);
    const readEvents = eventReader(take);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Outage('The issuer ended the feed.');
      onArrival?.();
      if (ending.signal.aborted) throw new Outage('The feed was given up.');
      // A process that was stopped wakes up with old heartbeats in its buffers. They say nothing about now.
      if (secondsSince(clock, bytesAt) > silenceSecondsMax) throw new Outage('The feed was not read for too long.');
      bytesAt = clock.elapsed();
      cancelTimer();
      cancelTimer = startTimer(silenceSecondsMax * 1000, end);
      readEvents(value);
    }
  } catch (cause) {
    throw ending.signal.aborted ? new Outage('The feed fell silent.', { cause }) : cause;
  } finally {
    cancelTimer();
    closing.removeEventListener('abort', end);
    ending.abort();
  }
}

function readerOf(response: Response): ReadableStreamDefaultReader<Uint8Array> {
  const { status, headers, body } = response;
  if (status === 401 || status === 403) throw new Refused(status);
  if (status !== 200) throw new Outage(`The issuer answered the feed with ${status}.`);
  const type = headers.get('content-type') ?? '';
  if (!/^text\/event-stream(?:;|$)/i.test(type) || body === null) {
    throw new Outage('The issuer answered with something that is not an event stream.');
  }
  return body.getReader();
}
