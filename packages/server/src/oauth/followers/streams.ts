/** Limits the event streams of the feed that one process keeps open, in all and for one API key. */
import { refuse, type Refusal } from '@hallpass/protocol';
import type { BoundReached } from '../limits/bounds.ts';

/** The most event streams that are open in a process, in all and for one API key. */
export const FEED_STREAMS_MAX = 10_000;
/** How many event streams of one key a process keeps open. */
export const FEED_STREAMS_PER_CLIENT_MAX = 1_000;
/** When a refused reader may ask again, in seconds. */
const RETRY_AFTER_SECONDS = 5;

/** The open streams of this process. */
export class FeedStreams {
  readonly #boundReached: BoundReached;
  readonly #byClient = new Map<string, number>();
  #all = 0;

  constructor(boundReached: BoundReached) {
    this.#boundReached = boundReached;
  }

  /** Takes a place for a stream until its signal is aborted; a refusal if there is none left. */
  open(clientId: string, untilGone: AbortSignal): Refusal | undefined {
    const open = this.#byClient.get(clientId) ?? 0;
    if (open >= FEED_STREAMS_PER_CLIENT_MAX) return this.#refuse('FEED_STREAMS_PER_CLIENT_MAX', clientId);
    if (this.#all >= FEED_STREAMS_MAX) return this.#refuse('FEED_STREAMS_MAX', clientId);
    if (untilGone.aborted) return undefined;
    this.#byClient.set(clientId, open + 1);
    this.#all += 1;
    untilGone.addEventListener('abort', () => this.#close(clientId), { once: true });
    return undefined;
  }

  #close(clientId: string): void {
    const left = (this.#byClient.get(clientId) ?? 1) - 1;
    if (left > 0) this.#byClient.set(clientId, left);
    else this.#byClient.delete(clientId);
    this.#all -= 1;
  }

  #refuse(bound: 'FEED_STREAMS_MAX' | 'FEED_STREAMS_PER_CLIENT_MAX', clientId: string): Refusal {
    this.#boundReached(bound);
    const because = `${bound} at a stream of ${clientId}`;
    return refuse('rate_limited', { because, retryAfterSeconds: RETRY_AFTER_SECONDS });
  }
}
