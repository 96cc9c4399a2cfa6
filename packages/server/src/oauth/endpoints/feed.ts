/**
 * GET /oauth2/revocations: the live revocation feed (contract §9). An event stream that goes on from `Last-Event-ID`,
 * or one page of JSON by `?after=`. Ordered and without gaps; a heartbeat says that the reader has seen everything that
 * was committed before it was sent, and which keys are published, so that a key that was taken out is dropped at once.
 * A page without more says the same of the moment at which it was asked for.
 */
import { isRefusal, numericDate, PATHS, refuse, type Refusal } from '@hallpass/protocol';
import { FOLLOWERS_PER_CLIENT_MAX, type Client } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import { followerOf, isFollowerId } from '../followers/followers.ts';
import { admit, respondNotAdmitted } from './protected_resource.ts';
import { NO_STORE, withLogFields, respondJson, respondRefusal, type Endpoint, type WireRequest } from '../../wire.ts';

/** What a token must hold to read the feed; its client is a resource server's key besides. */
export const FEED_SCOPE = '/oauth2/revocations.read';
/** How often a quiet stream says that it is still there, in milliseconds. */
const HEARTBEAT_MS = 1_000;
/** The most entries in one read, and so in one page. */
export const PAGE_ENTRIES_MAX = 1_000;
/** How many pages a second the followers of one API key may ask for beside its budgets: as many as it has, twice each. */
export const CONFIRMATIONS_PER_CLIENT_PER_SECOND_MAX = 2 * FOLLOWERS_PER_CLIENT_MAX;

export function feedEndpoint(authority: Authority): Endpoint {
  return async (request) => {
    const wanted = { scope: FEED_SCOPE, path: PATHS.revocations, refuseClient, budget: 'feed' } as const;
    const admitted = await admit(withBudgetToConfirm(authority, request), request, wanted);
    if (isRefusal(admitted)) return respondNotAdmitted(authority, admitted);
    const logFields = { clientId: admitted.clientId };
    const { isResourceServer, clientId, stillMay } = admitted;
    // A token may have been cut for something that must not be able to make others wait.
    const follower = isResourceServer ? followerOf(clientId, request.header('hallpass-follower')) : undefined;
    const after = request.query.get('after');
    if (after !== null) {
      authority.feedMeters.pageRead();
      const told = follower === undefined ? undefined : authority.followers.confirm(follower, after);
      const [{ entries, cursor, more }] = await Promise.all([readPage(authority, after), told]);
      return withLogFields(
        respondJson(200, { entries, cursor, more, keys: authority.keys.publishedVersion }),
        logFields,
      );
    }
    const lastEventId = request.header('last-event-id');
    const signal = request.untilGone();
    const full = authority.feedStreams.open(clientId, signal);
    if (full !== undefined) return withLogFields(respondRefusal(full), logFields);
    const body = stream(authority, { after: lastEventId, signal, stillMay, follower });
    return withLogFields(
      { status: 200, headers: { 'content-type': 'text/event-stream', ...NO_STORE }, body },
      logFields,
    );
  };
}

/**
 * A follower confirms because others wait, and they may wait often. So what confirming costs comes from a budget of its own,
 * and only beyond that from the one that the guard's feed lives on.
 */
function withBudgetToConfirm(authority: Authority, request: WireRequest): Authority {
  if (!request.query.has('after') || !isFollowerId(request.header('hallpass-follower'))) return authority;
  const { limits, boundReached } = authority;
  const spend: typeof limits.spend = async (client, budget) => {
    if (client.resourceServerFor.length === 0) return await limits.spend(client, budget);
    const requestsPerSecond = CONFIRMATIONS_PER_CLIENT_PER_SECOND_MAX;
    if ((await limits.spend({ ...client, requestsPerSecond }, 'confirmations')) === undefined) return undefined;
    boundReached('CONFIRMATIONS_PER_CLIENT_PER_SECOND_MAX');
    return await limits.spend(client, budget);
  };
  return { ...authority, limits: { ...limits, spend } };
}

/** It tells of every client's tokens, and so it is for the keys of resource servers alone, whatever scope another holds. */
function refuseClient({ resourceServerFor }: Client): Refusal | undefined {
  return resourceServerFor.length > 0 ? undefined : refuse('not_a_resource_server');
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
    follower,
  }: {
    readonly after: string | undefined;
    readonly signal: AbortSignal;
    readonly stillMay: () => Promise<boolean>;
    readonly follower: ReturnType<typeof followerOf>;
  },
): AsyncGenerator<string> {
  const { followers, feedMeters } = authority;
  const bell = new Bell();
  const stopWatching = authority.store.watchRevocations(() => bell.ring());
  signal.addEventListener('abort', () => bell.ring(), { once: true });
  let disconnect: (() => void) | undefined;
  feedMeters.streamOpened();
  try {
    // Before anything is read: nobody who is not counted may be behind.
    if (follower !== undefined) disconnect = await followers.connect(follower, after);
    let cursor = after;
    let answered: number | undefined;
    // A key that was disabled while it listened hears no more.
    while (!signal.aborted && (await stillMay())) {
      const page = await readPage(authority, cursor);
      cursor = page.cursor;
      for (const entry of page.entries)
        yield `event: revocation\nid: ${entry.cursor}\ndata: ${JSON.stringify(entry)}\n\n`;
      if (page.more) continue;
      yield `event: heartbeat\nid: ${cursor}\ndata: ${JSON.stringify({ cursor, keys: authority.keys.publishedVersion })}\n\n`;
      // Somebody waits, or may wait already: whoever has read this far is to say so.
      if (follower !== undefined && page.calls !== answered) {
        answered = page.calls;
        yield `event: confirm\nid: ${cursor}\ndata: ${JSON.stringify({ cursor })}\n\n`;
      }
      await bell.wait(HEARTBEAT_MS);
    }
  } finally {
    stopWatching();
    disconnect?.();
    feedMeters.streamClosed();
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
