/**
 * `grant_type=urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693), for one purpose: a server cuts a smaller token
 * from its own and hands it to a browser. Never wider, longer or less bound; and dead as soon as what it was cut from is.
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
  type Parameters,
  type Refusal,
} from '@hallpass/protocol';
import type { Authority } from '../authority.ts';
import type { Caller } from '../endpoints/client_request.ts';
import { isAlive, openAccessToken, type OpenedAccessToken } from '../tokens/mint.ts';
import { allowedScopes, findOutside, narrowAudiences, parseRequestedScopes } from '../clients/policy.ts';
import type { Grant } from './grant.ts';

interface Selection {
  readonly opened: OpenedAccessToken;
  readonly scope: string;
  readonly audiences: readonly string[];
}

export const tokenExchange: Grant<Selection> = {
  select,
  async decide(authority, { client, jkt }, { opened, scope, audiences }) {
    const { claims: subject } = opened;
    if (!(await isAlive(authority, opened))) {
      return {
        decided: 'refuse',
        refusal: refuse('subject_token_not_good', { because: 'expired, revoked, or more than its key may have' }),
      };
    }
    // A bound token must not become one that anybody can use who finds it.
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
  },
};

function select(authority: Authority, { client }: Caller, parameters: Parameters): Selection | Refusal {
  const { values, resources } = parameters;
  const token = values.get('subject_token');
  const type = values.get('subject_token_type');
  if (token === undefined || type === undefined) return refuse('missing_subject_token');
  const wanted = values.get('requested_token_type') ?? ACCESS_TOKEN_TYPE_URN;
  if (type !== ACCESS_TOKEN_TYPE_URN || wanted !== ACCESS_TOKEN_TYPE_URN || values.has('actor_token')) {
    return refuse('exchange_not_offered');
  }
  const opened = openAccessToken(authority, token);
  if (opened === undefined) return refuse('subject_token_not_good', { because: 'not a token of ours' });
  const { claims: subject } = opened;
  if (subject.client_id !== client.clientId) return refuse('subject_token_not_good', { because: "another client's" });
  if (lineageOf(subject.jti).length >= LINEAGE_MAX)
    return refuse('subject_token_not_good', { because: 'cut too often' });
  const held = typeof subject.aud === 'string' ? [subject.aud] : subject.aud;
  // RFC 8693 §2.1: `audience` names a target like `resource` does; both may come, and then both are meant.
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
