/**
 * `grant_type=urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693), for one purpose: a server cuts a narrower token
 * from its own and hands it to a browser. The new token is never wider, longer-lived or less bound, and dies with the
 * token that it was cut from.
 */
import {
  ACCESS_TOKEN_TYPE_URN,
  isRefusal,
  LINEAGE_MAX,
  lineageOf,
  parseScopeList,
  printScopeList,
  refuse,
  ScopeSet,
  type Refusal,
} from '@hallpass/protocol';
import { allowedScopes, findOutside, narrowAudiences, parseRequestedScopes } from '../clients/policy.ts';
import { isAlive, type OpenedAccessToken } from '../tokens/liveness.ts';
import type { Asked, Decision, Facts, Grant, GrantRows, GrantSettings } from './grant.ts';

interface Selection {
  readonly opened: OpenedAccessToken;
  readonly scope: string;
  readonly audiences: readonly string[];
}

interface Loaded {
  readonly isSubjectAlive: boolean;
}

/** The grant type for token exchange. */
export const tokenExchange: Grant<Selection, Loaded> = { select, load, decide };

function select({ client, parameters }: Asked, { openAccessToken }: GrantSettings): Selection | Refusal {
  const { values, resources } = parameters;
  const token = values.get('subject_token');
  const type = values.get('subject_token_type');
  if (token === undefined || type === undefined) return refuse('missing_subject_token');
  const wanted = values.get('requested_token_type') ?? ACCESS_TOKEN_TYPE_URN;
  if (type !== ACCESS_TOKEN_TYPE_URN || wanted !== ACCESS_TOKEN_TYPE_URN || values.has('actor_token')) {
    return refuse('exchange_not_offered');
  }
  const opened = openAccessToken(token);
  if (opened === undefined) return notGood('not a token of this issuer');
  const { claims: subject } = opened;
  if (subject.client_id !== client.clientId) return notGood('issued to another client');
  if (lineageOf(subject.jti).length >= LINEAGE_MAX) return notGood('exchanged too many times');
  const held = typeof subject.aud === 'string' ? [subject.aud] : subject.aud;
  // RFC 8693 §2.1: `audience` names a target like `resource` does. If both come, both count.
  const target = values.get('audience');
  const named = target === undefined ? resources : [...resources, target];
  const audiences = narrowAudiences(client, { named, granted: held });
  if (isRefusal(audiences)) return audiences;
  const scopes = parseRequestedScopes(values.get('scope') ?? subject.scope);
  if (isRefusal(scopes)) return scopes;
  const original = parseScopeList(subject.scope);
  const wider = 'fault' in original ? scopes[0] : findOutside(new ScopeSet(original), scopes);
  if (wider !== undefined) return refuse('scope_not_in_subject', { subject: wider.text });
  const lost = findOutside(allowedScopes(client), scopes);
  if (lost !== undefined) return refuse('scope_not_allowed', { subject: lost.text });
  return { opened, scope: printScopeList(scopes), audiences };
}

async function load(store: GrantRows, { opened }: Selection, settings: GrantSettings): Promise<Loaded> {
  return { isSubjectAlive: await isAlive({ store, ...settings }, opened) };
}

function decide({ client, jkt, selection, loaded }: Facts<Selection, Loaded>): Decision {
  const { scope, audiences } = selection;
  const { claims: subject } = selection.opened;
  if (!loaded.isSubjectAlive) {
    return { decided: 'refuse', refusal: notGood('expired, revoked, or more than its key may have') };
  }
  // A bound token must not become one that anybody who finds it can use.
  if (subject.cnf !== undefined && jkt === undefined) {
    return { decided: 'refuse', refusal: refuse('dpop_required', { because: 'the subject token is bound' }) };
  }
  const issuance = {
    grantId: subject.grant_id,
    client,
    scope,
    audiences,
    expiresAtMax: subject.exp,
    parent: subject.jti,
    refresh: undefined,
    jkt,
  };
  return { decided: 'issue', issuance };
}

function notGood(because: string): Refusal {
  return refuse('subject_token_not_good', { because });
}
