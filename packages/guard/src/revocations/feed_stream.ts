/** One connection of the revocation feed, as an event stream (contract §9 Feed). */
import { EventStreamParser, type StreamEvent } from './event_stream.ts';
import { Outage, Refused } from '../outage.ts';
import { startTimer, secondsSince, type GuardClock } from '../runtime.ts';

/** From its opening until it ends; it always ends by throwing: `Refused`, `Outage`, or what `open` and `take` throw. */
export async function readStream({
  open,
  take,
  clock,
  look,
  silenceSecondsMax,
  closing,
}: {
  readonly open: (signal: AbortSignal) => Promise<Response>;
  readonly take: (event: StreamEvent) => void;
  readonly clock: Pick<GuardClock, 'elapsed'>;
  /** Called with whatever arrives, before it is taken; it may give `closing`. */
  readonly look?: (() => void) | undefined;
  /** A stream without a byte for so long is given up, in seconds. */
  readonly silenceSecondsMax: number;
  readonly closing: AbortSignal;
}): Promise<never> {
  const ending = new AbortController();
  const end = (): void => {
    ending.abort();
  };
  closing.addEventListener('abort', end);
  let cancelAlarm = startTimer(silenceSecondsMax * 1000, end);
  let bytesAt = clock.elapsed();
  try {
    const response = await open(ending.signal);
    const reader = readerOf(response);
    const parser = new EventStreamParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Outage('The issuer ended the feed.');
      look?.();
      if (ending.signal.aborted) throw new Outage('The feed was given up.');
      // A process that was stopped wakes up with heartbeats of long ago in its buffers. They vouch for nothing.
      if (secondsSince(clock, bytesAt) > silenceSecondsMax) throw new Outage('The feed was not read for too long.');
      bytesAt = clock.elapsed();
      cancelAlarm();
      cancelAlarm = startTimer(silenceSecondsMax * 1000, end);
      for (const event of parser.push(value)) take(event);
    }
  } catch (cause) {
    throw ending.signal.aborted ? new Outage('The feed fell silent.', { cause }) : cause;
  } finally {
    cancelAlarm();
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
    throw new Outage('The issuer answered with something that is no event stream.');
  }
  return body.getReader();
}
