/** What a client may have: scopes and audiences, checked against its policy. Pure rules. */
import {
  describeScopeListFault,
  isRefusal,
  isScope,
  parseScope,
  parseScopeList,
  refuse,
  ScopeSet,
  type AccessTokenClaims,
  type Refusal,
  type Scope,
  type ScopeFault,
} from '@hallpass/protocol';
import type { Client } from '../../store/store.ts';

/** Parses a request's `scope` parameter; refuses if it is malformed or contains an unfilled `{parameter}`. */
export function parseRequestedScopes(text: string): readonly Scope[] | Refusal {
  const scopes = parseScopeList(text);
  if ('fault' in scopes) {
    const reason = VALUE_FAULTS.has(scopes.fault) ? 'scope_value_not_allowed' : 'malformed_scope';
    return refuse(reason, { because: scopes.fault, subject: describeScopeListFault(scopes) });
  }
  const unfilled = scopes.find((scope) => scope.parameters.length > 0);
  return unfilled === undefined ? scopes : refuse('unfilled_scope', { subject: unfilled.text });
}

/** Faults of one value in an otherwise well-formed scope: an e-mail address in it, for example. */
const VALUE_FAULTS: ReadonlySet<string> = new Set<ScopeFault>(['bad_character', 'dot_segment', 'segment_too_long']);

/** The scopes that the client's policy allows, templates included. */
export function allowedScopes(client: Client): ScopeSet {
  return new ScopeSet(client.scopes.map((text) => parseScope(text)).filter(isScope));
}

/** The first scope that a set does not contain; undefined if it contains all. */
export function findOutside(set: ScopeSet, scopes: readonly Scope[]): Scope | undefined {
  return scopes.find((scope) => !set.contains(scope));
}

/**
 * The audiences that a request names with `resource` (RFC 8707 §2), compared exactly with those it may name; the first of
 * those if it names none. Refuses any other.
 */
export function selectAudiences(resources: readonly string[], may: readonly string[]): readonly string[] | Refusal {
  const named = [...new Set(resources)];
  if (named.some((resource) => !may.includes(resource))) return refuse('target_not_allowed');
  return named.length > 0 ? named : may.slice(0, 1);
}

/**
 * The audiences of a token made from a grant or another token: those that were granted, or those of them that the request
 * names, without any that the key has lost since (RFC 8707 §2.2). Refuses if none is left. A key without a list has lost
 * none: when the server's default changes, its grants keep the audience that they have.
 */
export function narrowAudiences(
  { audiences }: Client,
  { named, granted }: { readonly named: readonly string[]; readonly granted: readonly string[] },
): readonly string[] | Refusal {
  const left = audiences.length === 0 ? granted : granted.filter((audience) => audiences.includes(audience));
  if (left.length === 0) return refuse('target_not_allowed', { because: 'the key has lost the audience' });
  return named.length === 0 ? left : selectAudiences(named, left);
}

/** The audiences that a client may name; the first is its default. */
export function audiencesOf(client: Client, defaultAudience: string): readonly string[] {
  return client.audiences.length > 0 ? client.audiences : [defaultAudience];
}

/**
 * Whether an opaque token holds only what its client may have now (contract §10): the format, the scopes, the audiences
 * and, if the client requires it, the binding. A stolen sealing key can make tokens of any content; this keeps them inside
 * a policy that an operator gave to some client.
 */
export function allowsOpaqueToken(
  client: Client,
  { scope, aud, cnf }: AccessTokenClaims,
  defaultAudience: string,
): boolean {
  if (client.accessTokenFormat !== 'opaque') return false;
  if (client.requireDpop && cnf === undefined) return false;
  const scopes = parseRequestedScopes(scope);
  if (isRefusal(scopes) || findOutside(allowedScopes(client), scopes) !== undefined) return false;
  const may = audiencesOf(client, defaultAudience);
  return (typeof aud === 'string' ? [aud] : aud).every((audience) => may.includes(audience));
}
