/**
 * `grant_type=refresh_token` (RFC 6749 §6) with generations (contract §3): the newest token of a family rotates, its
 * immediate predecessor gets the newest once more, and anything older ends the family (RFC 9700 §4.14.2). So a lost
 * answer or a second tab loses nothing. An owner and a thief who take turns never show anything older: `predecessor.ts`
 * says how that is noticed.
 */
import {
  isRefusal,
  numericDate,
  openRefreshToken,
  parseScopeList,
  printScopeList,
  refuse,
  ScopeSet,
  type NumericDate,
  type Parameters,
  type Refusal,
  type RefreshTokenState,
  type Scope,
} from '@hallpass/protocol';
import type { Family } from '../../store/store.ts';
import { lifetimesOf, type Authority, type Lifetimes } from '../authority.ts';
import type { Caller } from '../endpoints/client_request.ts';
import { shownByAnother } from '../limits/event_allowance.ts';
import { endOfGrant, endOfNext } from './grant_end.ts';
import { equalBytes, type KeyRing } from '../keys/key_ring.ts';
import { judgePredecessor } from './predecessor.ts';
import { allowedScopes, findOutside, narrowAudiences, parseRequestedScopes } from '../clients/policy.ts';
import { revocationOfGrant } from '../endpoints/revocation.ts';
import type { Decision, Grant } from './grant.ts';

/** How long the token before the predecessor is refused without ending the family, in milliseconds: a slow tab. */
const MERCY_MS = 10_000;

interface Selection {
  readonly presented: RefreshTokenState;
  /** The `scope` parameter, judged only after reuse: a thief's odd scope must not hide a theft. */
  readonly requestedScope: string | undefined;
  readonly resources: readonly string[];
}

export const refreshToken: Grant<Selection> = {
  select,
  async decide(authority, caller, selection) {
    const { presented } = selection;
    const { store, keys } = authority;
    const lifetimes = lifetimesOf(authority, caller.client);
    const { refreshGraceSeconds: graceSeconds } = lifetimes;
    const now = caller.at;
    // Ownership first: what another client does with a token must not end its owner's family (contract §3).
    if (presented.clientId !== caller.client.clientId) {
      const refused = no(`issued to ${presented.clientId}`);
      // One whose time is over is no leak that anybody could use.
      if (numericDate(now) >= presented.expiresAt) return refused;
      return { ...refused, event: shownByAnother(presented, { clientId: caller.client.clientId, at: now }) };
    }
    const { grantId, clientId, issuedAt, generation } = presented;
    // Not by the token alone: one that has ended may be of a family that lives, and be a theft that comes to light.
    const family = await store.findFamily(grantId);
    const end = endOfGrant(presented, family, lifetimes);
    if (numericDate(now) >= end) return no('the grant has expired');
    if (await store.isRevoked({ grantId, clientId, issuedAt })) return no('the grant is revoked');

    const standing = judgeGeneration({ presented, family, now, graceSeconds });
    const event = { at: now, clientId, grantId };
    const newest = family?.generation ?? 0;
    const latest = numericDate(authority.time.latest());
    switch (standing) {
      case 'newer_than_store':
        return {
          ...no(`newer than the store: generation ${generation} of ${newest}`),
          event: { ...event, kind: 'refresh_token_newer_than_store', detail: `generation ${generation} of ${newest}` },
          // Its seal is ours, so the store went back. Which tokens of the family were retired since is not known.
          revocations: [revocationOfGrant(presented, latest)],
        };
      case 'late':
        return no('retired a moment ago');
      case 'reused': {
        const detail = `generation ${generation} of ${newest}`;
        return {
          ...no(`reuse: ${detail}`),
          event: { ...event, kind: 'refresh_token_reused', detail },
          revocations: [revocationOfGrant(presented, latest)],
        };
      }
      case 'newest':
      case 'predecessor':
    }

    if (standing === 'predecessor' && !canRepeat(keys, family)) return no('the key of its successor was taken out');

    const granted = narrow(caller, selection);
    if (isRefusal(granted)) return { decided: 'refuse', refusal: granted };
    // A repeated answer is made from what was stored at the rotation, so that it is the same to the last byte.
    const next =
      standing === 'predecessor' && family !== undefined
        ? family
        : {
            rotatedAt: now,
            keyId: keys.refresh.keyId,
            expiresAt: endAfterRotation(presented, family, { now, lifetimes }),
          };
    const { rotatedAt, keyId, expiresAt } = next;
    const state = { ...presented, generation: generation + 1, issuedAt: numericDate(rotatedAt), expiresAt };
    const refresh = { state, keyId };
    const { client, jkt } = caller;
    // A repeated token may say a later end than its grant still has.
    const expiresAtMax = standing === 'predecessor' ? end : expiresAt;
    const issuance = { grantId, client, ...granted, expiresAtMax, refresh, jkt };
    if (standing === 'predecessor') {
      return { decided: 'issue', issuance, shown: family === undefined ? undefined : judgePredecessor(family, now) };
    }
    const presentedExpiresAt = presented.expiresAt;
    const step = { from: generation, issuedAt, presentedExpiresAt, rotatedAt, keyId, expiresAt };
    return { decided: 'issue', issuance, rotation: { grantId, clientId, ...step } };
  },
};

function endAfterRotation(
  { grantId }: RefreshTokenState,
  family: Family | undefined,
  { now, lifetimes }: { readonly now: number; readonly lifetimes: Lifetimes },
): NumericDate {
  return family?.hasFixedEnd === true ? family.expiresAt : endOfNext(grantId, numericDate(now), lifetimes);
}

function select({ keys }: Authority, { client }: Caller, parameters: Parameters): Selection | Refusal {
  if (!client.refresh) return refuse('grant_not_allowed', { because: 'refresh is switched off' });
  const token = parameters.values.get('refresh_token');
  if (token === undefined) return refuse('missing_refresh_token');
  const presented = openRefreshToken(token, { find: keys.findRefresh, equal: equalBytes });
  if (presented === undefined) return refuse('refresh_token_not_good', { because: 'not a token of ours' });
  return { presented, requestedScope: parameters.values.get('scope'), resources: parameters.resources };
}

function no(because: string): Extract<Decision, { decided: 'refuse' }> {
  return { decided: 'refuse', refusal: refuse('refresh_token_not_good', { because }) };
}

/** How a presented generation stands to the newest one. */
export type Standing = 'newest' | 'predecessor' | 'late' | 'reused' | 'newer_than_store';

/**
 * The rule of generations. A token of the newest generation that was made at another moment than that one is of another
 * history of the store, like one that is newer. `family` is undefined for a grant that was never refreshed: its newest is 0. `now` is in
 * milliseconds; `graceSeconds` limits how long after a rotation the predecessor is still answered.
 */
export function judgeGeneration({
  presented: { generation, issuedAt },
  family,
  now,
  graceSeconds,
}: {
  readonly presented: Pick<RefreshTokenState, 'generation' | 'issuedAt'>;
  readonly family: Pick<Family, 'generation' | 'rotatedAt'> | undefined;
  readonly now: number;
  readonly graceSeconds: number | undefined;
}): Standing {
  const newest = family?.generation ?? 0;
  const sinceRotation = now - (family?.rotatedAt ?? now);
  if (generation > newest) return 'newer_than_store';
  if (generation === newest) {
    const isOurs = family === undefined || issuedAt === numericDate(family.rotatedAt);
    return isOurs ? 'newest' : 'newer_than_store';
  }
  if (generation === newest - 1) {
    const inTime = graceSeconds === undefined || (graceSeconds > 0 && sinceRotation <= graceSeconds * 1000);
    return inTime ? 'predecessor' : 'reused';
  }
  return generation === newest - 2 && sinceRotation <= MERCY_MS ? 'late' : 'reused';
}

/**
 * Whether the newest token of a family can be made again. With its key taken out it is dead, and its client asks for a
 * new grant with its own key.
 */
export function canRepeat({ findRefresh }: KeyRing, family: Family | undefined): boolean {
  return family !== undefined && findRefresh(family.keyId) !== undefined;
}

/** Same or fewer scopes and audiences than were granted, and none that the key has lost since (RFC 6749 §6, RFC 8707 §2.2). */
function narrow(
  { client }: Caller,
  { presented, requestedScope, resources }: Selection,
): { readonly scope: string; readonly audiences: readonly string[] } | Refusal {
  const audiences = narrowAudiences(client, { named: resources, granted: presented.audiences });
  if (isRefusal(audiences)) return audiences;
  const original = parseScopeList(presented.scope);
  if ('fault' in original) return refuse('refresh_token_not_good', { because: `its scopes: ${original.fault}` });
  const allowed = allowedScopes(client);
  if (requestedScope === undefined) {
    const left = original.filter((scope) => allowed.contains(scope));
    return left.length === 0 ? refuse('no_scope_left') : { scope: printScopeList(left), audiences };
  }
  const requested = parseRequestedScopes(requestedScope);
  if (isRefusal(requested)) return requested;
  return findRefused(requested, new ScopeSet(original), allowed) ?? { scope: printScopeList(requested), audiences };
}

function findRefused(requested: readonly Scope[], original: ScopeSet, allowed: ScopeSet): Refusal | undefined {
  const wider = findOutside(original, requested);
  if (wider !== undefined) return refuse('scope_not_granted', { subject: wider.text });
  const lost = findOutside(allowed, requested);
  return lost === undefined ? undefined : refuse('scope_not_allowed', { subject: lost.text });
}
