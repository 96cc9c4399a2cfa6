/**
 * GET /oauth2/revocations: the live revocation feed (contract §9). An event stream that goes on from `Last-Event-ID`,
 * or one page of JSON by `?after=`. Ordered and without gaps; a heartbeat says that the reader has seen everything that
 * was committed before it was sent, and which keys are published, so that a key that was taken out is dropped at once.
 */
import { isRefusal, numericDate, PATHS } from '@hallpass/protocol';
import type { Client } from '../store/store.ts';
import type { Authority } from './authority.ts';
import { admit, keyMay, respondNotAdmitted } from './resource.ts';
import { NO_STORE, noted, respondJson, type Endpoint } from './wire.ts';

/** What a token must hold to read the feed. */
export const FEED_SCOPE = '/oauth2/revocations.read';
/** How often a quiet stream says that it is still there, in milliseconds. */
const HEARTBEAT_MS = 1_000;
/** The most entries in one read, and so in one page. */
export const PAGE_ENTRIES_MAX = 1_000;

export function feedEndpoint(authority: Authority): Endpoint {
  return async (request) => {
    const admitted = await admit(authority, request, { scope: FEED_SCOPE, path: PATHS.revocations, mayByKey });
    if (isRefusal(admitted)) return respondNotAdmitted(authority, admitted);
    const note = { clientId: admitted.clientId };
    const after = request.query.get('after');
    if (after !== null) return noted(respondJson(200, await readPage(authority, after)), note);
    const lastEventId = request.header('last-event-id');
    const body = stream(authority, { after: lastEventId, signal: request.untilGone(), stillMay: admitted.stillMay });
    return noted({ status: 200, headers: { 'content-type': 'text/event-stream', ...NO_STORE }, body }, note);
  };
}

function mayByKey(client: Client): boolean {
  return client.resourceServerFor.length > 0 || keyMay(client, FEED_SCOPE);
}

function readPage(
  { store, clock }: Authority,
  after: string | undefined,
): ReturnType<Authority['store']['readRevocations']> {
  const from = { limit: PAGE_ENTRIES_MAX, now: numericDate(clock.now()) };
  return store.readRevocations(after === undefined ? from : { ...from, after });
}

async function* stream(
  authority: Authority,
  {
    after,
    signal,
    stillMay,
  }: {
    readonly after: string | undefined;
    readonly signal: AbortSignal;
    readonly stillMay: () => Promise<boolean>;
  },
): AsyncGenerator<string> {
  const bell = new Bell();
  const stopWatching = authority.store.watchRevocations(() => bell.ring());
  signal.addEventListener('abort', () => bell.ring(), { once: true });
  try {
    let cursor = after;
    // A key that was disabled while it listened hears no more.
    while (!signal.aborted && (await stillMay())) {
      const page = await readPage(authority, cursor);
      cursor = page.cursor;
      for (const entry of page.entries)
        yield `event: revocation\nid: ${entry.cursor}\ndata: ${JSON.stringify(entry)}\n\n`;
      if (page.more) continue;
      yield `event: heartbeat\nid: ${cursor}\ndata: ${JSON.stringify({ cursor, keys: authority.keys.publishedVersion })}\n\n`;
      await bell.wait(HEARTBEAT_MS);
    }
  } finally {
    stopWatching();
  }
}

/** Something to wait for that may already have happened since one last waited. */
class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  async wait(milliseconds: number): Promise<void> {
    if (!this.#rung) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#rung = false;
    this.#wake = undefined;
  }
}
