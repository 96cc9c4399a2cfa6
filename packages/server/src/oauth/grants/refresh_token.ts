/**
 * `grant_type=refresh_token` (RFC 6749 §6) with generations (contract §3): the newest token of a family rotates, its
 * immediate predecessor returns the newest once more, and anything older revokes the grant (RFC 9700 §4.14.2). So a lost
 * response or a second tab loses nothing. An owner and a thief who take turns never use anything older:
 * `predecessor_use.ts` says how that is noticed.
 */
import {
  isRefusal,
  numericDate,
  parseScopeList,
  printScopeList,
  refuse,
  ScopeSet,
  type NumericDate,
  type Refusal,
  type RefreshTokenState,
  type Scope,
} from '@hallpass/protocol';
import type { Client, Family } from '../../store/store.ts';
import { allowedScopes, findOutside, narrowAudiences, parseRequestedScopes } from '../clients/policy.ts';
import { expiryOfGrant, expiryOfNextToken } from '../tokens/grant_expiry.ts';
import { revocationOfGrant } from '../tokens/revocations.ts';
import { refreshTokenOfAnotherClient } from '../tokens/security_events.ts';
import { canRepeat, judgeGeneration, type Standing } from './generations.ts';
import type { Asked, Decision, Facts, Grant, GrantRows, GrantSettings } from './grant.ts';
import { judgePredecessorUse } from './predecessor_use.ts';

interface Selection {
  readonly presented: RefreshTokenState;
  /** Whether the token was issued to the client that sent it. */
  readonly isOwn: boolean;
  /** The `scope` parameter, judged only after reuse: a thief's odd scope must not hide a theft. */
  readonly requestedScope: string | undefined;
  readonly resources: readonly string[];
}

interface Loaded {
  /** Undefined: the grant was never refreshed. */
  readonly family: Family | undefined;
  readonly isRevoked: boolean;
}

/** The grant type `refresh_token`. */
export const refreshToken: Grant<Selection, Loaded> = { select, load, decide };

function select({ client, parameters }: Asked, { openRefreshToken }: GrantSettings): Selection | Refusal {
  if (!client.refresh) return refuse('grant_not_allowed', { because: 'refresh is switched off' });
  const token = parameters.values.get('refresh_token');
  if (token === undefined) return refuse('missing_refresh_token');
  const presented = openRefreshToken(token);
  if (presented === undefined) return refuse('refresh_token_not_good', { because: 'not a token of this issuer' });
  const isOwn = presented.clientId === client.clientId;
  return { presented, isOwn, requestedScope: parameters.values.get('scope'), resources: parameters.resources };
}

async function load(rows: GrantRows, { presented, isOwn }: Selection): Promise<Loaded> {
  if (!isOwn) return { family: undefined, isRevoked: false };
  const family = await rows.findFamily(presented.grantId);
  return { family, isRevoked: await rows.isRevoked(presented) };
}

function decide(facts: Facts<Selection, Loaded>): Decision {
  const { at: now, lifetimes, loaded, selection } = facts;
  const { presented, isOwn } = selection;
  const { family } = loaded;
  // Ownership first: what another client does with a token must not revoke its owner's grant (contract §3).
  if (!isOwn) return refuseForAnother(facts);
  // Not by the token alone: an expired token of a living family can be a theft that comes to light.
  const grantExpiresAt = expiryOfGrant(presented, family, lifetimes);
  if (numericDate(now) >= grantExpiresAt) return refused('the grant has expired');
  if (loaded.isRevoked) return refused('the grant is revoked');

  const standing = judgeGeneration({ presented, family, now, graceSeconds: lifetimes.refreshGraceSeconds });
  switch (standing) {
    case 'late':
      return refused('retired a moment ago');
    case 'reused':
    case 'newer_than_store':
      return revokeGrant(facts, standing);
    case 'newest': {
      const granted = narrow(facts.client, selection);
      return isRefusal(granted) ? { decided: 'refuse', refusal: granted } : rotate(facts, granted);
    }
    case 'predecessor': {
      if (family === undefined || !canRepeat(facts.refreshKeys, family))
        return refused('the key of its successor was removed');
      const granted = narrow(facts.client, selection);
      return isRefusal(granted)
        ? { decided: 'refuse', refusal: granted }
        : repeat(facts, { granted, family, grantExpiresAt });
    }
  }
}

/** A refresh token that another client used. An expired one is a leak that nobody can exploit, so it leaves no event. */
function refuseForAnother({ client, at, selection: { presented } }: Facts<Selection, Loaded>): Decision {
  const refusal = refused(`issued to ${presented.clientId}`);
  if (numericDate(at) >= presented.expiresAt) return refusal;
  return { ...refusal, event: refreshTokenOfAnotherClient(presented, { clientId: client.clientId, at }) };
}

/**
 * The response to a theft, or to a store that was set back: a token that is newer than the store has our seal, so nobody
 * knows which tokens of its family were retired since.
 */
function revokeGrant(
  { at, latest, selection: { presented }, loaded: { family } }: Facts<Selection, Loaded>,
  standing: Extract<Standing, 'reused' | 'newer_than_store'>,
): Decision {
  const { grantId, clientId, generation } = presented;
  const detail = `generation ${generation} of ${family?.generation ?? 0}`;
  return {
    ...refused(standing === 'reused' ? `reuse: ${detail}` : `newer than the store: ${detail}`),
    event: { at, kind: `refresh_token_${standing}`, clientId, grantId, detail },
    revocations: [revocationOfGrant(presented, latest)],
  };
}

/** The next generation. */
function rotate(
  { client, at, jkt, lifetimes, refreshKeys, selection: { presented }, loaded: { family } }: Facts<Selection, Loaded>,
  granted: Granted,
): Decision {
  const { grantId, clientId, generation, issuedAt, expiresAt: presentedExpiresAt } = presented;
  const keyId = refreshKeys.inUse();
  const now = numericDate(at);
  const expiresAt = family?.hasFixedEnd === true ? family.expiresAt : expiryOfNextToken(grantId, now, lifetimes);
  const state = { ...presented, generation: generation + 1, issuedAt: now, expiresAt };
  const issuance = { grantId, client, ...granted, expiresAtMax: expiresAt, refresh: { state, keyId }, jkt };
  const step = { from: generation, issuedAt, presentedExpiresAt, rotatedAt: at, keyId, expiresAt };
  return { decided: 'issue', issuance, rotation: { grantId, clientId, ...step } };
}

/** The newest generation once more, from what was stored at its rotation, so that it is the same to the last byte. */
function repeat(
  { client, at, jkt, selection: { presented } }: Facts<Selection, Loaded>,
  {
    granted,
    family,
    grantExpiresAt,
  }: { readonly granted: Granted; readonly family: Family; readonly grantExpiresAt: NumericDate },
): Decision {
  const { grantId, generation } = presented;
  const { rotatedAt, keyId, expiresAt } = family;
  const state = { ...presented, generation: generation + 1, issuedAt: numericDate(rotatedAt), expiresAt };
  // The repeated token may name a later expiry than its grant still has.
  const issuance = { grantId, client, ...granted, expiresAtMax: grantExpiresAt, refresh: { state, keyId }, jkt };
  return { decided: 'issue', issuance, shown: judgePredecessorUse(family, at) };
}

interface Granted {
  readonly scope: string;
  readonly audiences: readonly string[];
}

function refused(because: string): Extract<Decision, { decided: 'refuse' }> {
  return { decided: 'refuse', refusal: refuse('refresh_token_not_good', { because }) };
}

/** The same or fewer scopes and audiences than were granted, without any that the key has lost since (RFC 6749 §6, RFC 8707 §2.2). */
function narrow(client: Client, { presented, requestedScope, resources }: Selection): Granted | Refusal {
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
