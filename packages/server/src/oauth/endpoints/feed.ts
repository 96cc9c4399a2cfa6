/**
 * GET /oauth2/revocations: the live revocation feed (contract §9). An event stream that resumes at `Last-Event-ID`, or with
 * `?after=` one page of JSON. Ordered and without gaps. A heartbeat says that the reader has seen everything committed before
 * it was sent, and which keys are published, so that guards drop a removed key at once. A page whose `more` is false says
 * the same about the moment of its request.
 */
import { isRefusal, numericDate, PATHS, refuse, type Refusal } from '@hallpass/protocol';
import { FOLLOWERS_PER_CLIENT_MAX, type Client } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import { followerOf, isFollowerId } from '../followers/followers.ts';
import { admit, respondNotAdmitted } from './protected_resource.ts';
import { NO_STORE, withLogFields, respondJson, respondRefusal, type Endpoint, type WireRequest } from '../../wire.ts';

/** The scope that a token needs to read the feed. Its client must be a resource server's key as well. */
export const FEED_SCOPE = '/oauth2/revocations.read';
/** How often a quiet stream sends a heartbeat, in milliseconds. */
const HEARTBEAT_MS = 1_000;
/** The most entries in one page. */
export const PAGE_ENTRIES_MAX = 1_000;
/** How many pages a second an API key's followers may fetch beside its budgets: two for each follower that it may have. */
export const CONFIRMATIONS_PER_CLIENT_PER_SECOND_MAX = 2 * FOLLOWERS_PER_CLIENT_MAX;

/** The feed of an issuer. */
export function feedEndpoint(authority: Authority): Endpoint {
  return async (request) => {
    const wanted = { scope: FEED_SCOPE, path: PATHS.revocations, refuseClient, budget: 'feed' } as const;
    const admitted = await admit(withBudgetToConfirm(authority, request), request, wanted);
    if (isRefusal(admitted)) return respondNotAdmitted(authority, admitted);
    const logFields = { clientId: admitted.clientId };
    const { isResourceServer, clientId, stillMay } = admitted;
    // A token may belong to something that must not be able to make revocations wait.
    const follower = isResourceServer ? followerOf(clientId, request.header('hallpass-follower')) : undefined;
    const after = request.query.get('after');
    if (after !== null) {
      authority.feedMeters.pageRead();
      const confirmed = follower === undefined ? undefined : authority.followers.confirm(follower, after);
      const [{ entries, cursor, more }] = await Promise.all([readPage(authority, after), confirmed]);
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
 * A follower confirms because others wait, which may be often. So confirmations have their own budget, and only beyond it do
 * they use up the budget of the guard's feed.
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

/** The feed covers every client's tokens, so only resource servers' keys may read it, whatever scopes another key has. */
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
  const changed = new AutoResetEvent();
  const stopWatching = authority.store.watchRevocations(() => changed.set());
  signal.addEventListener('abort', () => changed.set(), { once: true });
  let disconnect: (() => void) | undefined;
  feedMeters.streamOpened();
  try {
    // Before anything is read: every reader that may be behind has to be counted.
    if (follower !== undefined) disconnect = await followers.connect(follower, after);
    let cursor = after;
    let answered: number | undefined;
    // A key that is disabled while it listens gets nothing more.
    while (!signal.aborted && (await stillMay())) {
      const page = await readPage(authority, cursor);
      cursor = page.cursor;
      for (const entry of page.entries)
        yield `event: revocation\nid: ${entry.cursor}\ndata: ${JSON.stringify(entry)}\n\n`;
      if (page.more) continue;
      yield `event: heartbeat\nid: ${cursor}\ndata: ${JSON.stringify({ cursor, keys: authority.keys.publishedVersion })}\n\n`;
      // A request waits: a reader that has come this far is asked to say so.
      if (follower !== undefined && page.calls !== answered) {
        answered = page.calls;
        yield `event: confirm\nid: ${cursor}\ndata: ${JSON.stringify({ cursor })}\n\n`;
      }
      await changed.wait(HEARTBEAT_MS);
    }
  } finally {
    stopWatching();
    disconnect?.();
    feedMeters.streamClosed();
  }
}

/** An auto-reset event: `set()` wakes the current `wait()`, or the next one. */
class AutoResetEvent {
  #isSet = false;
  #wake: (() => void) | undefined;

  set(): void {
    this.#isSet = true;
    this.#wake?.();
  }

  async wait(milliseconds: number): Promise<void> {
    if (!this.#isSet) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#isSet = false;
    this.#wake = undefined;
  }
}
