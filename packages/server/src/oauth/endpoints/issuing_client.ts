/**
 * Step 2 of the token endpoint: a client that may be issued tokens now. It waits out a revocation of everything, and while
 * the store is away it goes by the client's last copy (contract, Many instances).
 */
import { refuse, type Parameters } from '@hallpass/protocol';
import { StoreUnavailable } from '../../store/store.ts';
import { grantTypeOf, respondRefusal, withLogFields, type WireRequest, type WireResponse } from '../../wire.ts';
import type { Authority } from '../authority.ts';
import { NO_LIMITS, onlyGuessLimits } from '../limits/limits.ts';
import { authenticate, type ClientRequest } from './client_request.ts';

/** The client, or the response that refuses it. Rejects with `StoreUnavailable` when there is no copy to go by. */
export async function authenticateToIssue(
  authority: Authority,
  request: WireRequest,
  parameters: Parameters,
): Promise<ClientRequest | WireResponse> {
  try {
    return await authenticateByStore(authority, request, parameters);
  } catch (outage) {
    if (!(outage instanceof StoreUnavailable)) throw outage;
    const known = await authenticateByCopy(authority, request, parameters);
    if (known === undefined) throw outage;
    return known;
  }
}

/** How long a first token may have to wait, in milliseconds: a response is due within ten seconds (contract §3). */
const WAIT_MS_MAX = 8_000;

/**
 * After everything of a client was revoked, tokens dated that same second are dead, because `iat` counts whole seconds; if
 * the instances' clocks may differ, so are tokens of the next few seconds. So the first token after it waits, rather than
 * be dead on arrival or carry an `iat` in the future. Then the client is looked up again: it may have been disabled.
 */
async function authenticateByStore(
  authority: Authority,
  request: WireRequest,
  parameters: Parameters,
): Promise<ClientRequest | WireResponse> {
  const { store, clock, copies } = authority;
  for (let attempt = 1; attempt <= 3; attempt++) {
    // The request is charged once, however often the client is looked up.
    const charging = attempt === 1 ? authority : { ...authority, limits: NO_LIMITS };
    const known = await authenticate(charging, request, parameters);
    if ('status' in known) return known;
    const { client, at } = known.caller;
    const issueNotBefore = await store.findIssueNotBefore(client.clientId);
    copies.remember({ client, at, issueNotBefore });
    const wait = issueNotBefore * 1000 - at;
    if (wait <= 0) return known;
    if (wait > WAIT_MS_MAX)
      return respondRefusal(refuse('temporarily_unavailable', { because: whyNotYet({ issueNotBefore, wait }) }));
    await clock.sleep(wait);
  }
  return respondRefusal(refuse('temporarily_unavailable', { because: 'everything was revoked a moment ago' }));
}

/** For the log: the moment of a revocation is ahead of this clock, so one of the two is wrong. */
function whyNotYet({ issueNotBefore, wait }: { readonly issueNotBefore: number; readonly wait: number }): string {
  const moment = new Date(issueNotBefore * 1000).toISOString();
  const ahead = Math.round(wait / 1000);
  return `all tokens of this key were revoked up to ${moment}, ${ahead} s ahead of this machine's clock: set the clock right, or wait until then`;
}

/**
 * The client by its copy; undefined when there is none that is recent enough. Steps that need the store still fail later. A
 * refusal by a copy may be wrong by now, and would tell which clients exist, so the outage is the response instead.
 */
async function authenticateByCopy(
  authority: Authority,
  request: WireRequest,
  parameters: Parameters,
): Promise<ClientRequest | WireResponse | undefined> {
  const { store, clock, copies } = authority;
  const now = clock.now();
  const byCopy = { ...authority, store: copies.asStore(store, now), limits: onlyGuessLimits(authority.limits) };
  const known = await authenticate(byCopy, request, parameters).catch(() => undefined);
  if (known === undefined || 'status' in known) return undefined;
  const { client } = known.caller;
  const copy = copies.find(client.clientId, now);
  if (copy === undefined || copy.issueNotBefore * 1000 > copy.at) return undefined;
  const limited = await authority.limits.spend(client, 'requests');
  if (limited !== undefined) {
    const response = respondRefusal(limited, { dialect: parameters.dialect, headers: known.headers });
    return withLogFields(response, { clientId: client.clientId, ...grantTypeOf(parameters) });
  }
  return { ...known, caller: { ...known.caller, at: copy.at } };
}
