/** What a client may have: scopes and audiences against its policy. Pure rules. */
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

/** A request's `scope` parameter to filled scopes; refused when it is malformed or still holds a parameter. */
export function parseRequestedScopes(text: string): readonly Scope[] | Refusal {
  const scopes = parseScopeList(text);
  if ('fault' in scopes) {
    const reason = VALUE_FAULTS.has(scopes.fault) ? 'scope_value_not_allowed' : 'malformed_scope';
    return refuse(reason, { because: scopes.fault, subject: describeScopeListFault(scopes) });
  }
  const unfilled = scopes.find((scope) => scope.parameters.length > 0);
  return unfilled === undefined ? scopes : refuse('unfilled_scope', { subject: unfilled.text });
}

/** What is wrong with one value or segment, where the scope has the form of one: an e-mail address in it, say. */
const VALUE_FAULTS: ReadonlySet<string> = new Set<ScopeFault>(['bad_character', 'dot_segment', 'segment_too_long']);

/** The scopes that the client's policy allows, templates and filled ones. */
export function allowedScopes(client: Client): ScopeSet {
  return new ScopeSet(client.scopes.map((text) => parseScope(text)).filter(isScope));
}

/** The first scope that is not in a set. */
export function findOutside(set: ScopeSet, scopes: readonly Scope[]): Scope | undefined {
  return scopes.find((scope) => !set.contains(scope));
}

/**
 * The audiences that a request names with `resource` (RFC 8707 §2), compared to the letter with those it may name;
 * without one, the first of them.
 */
export function selectAudiences(resources: readonly string[], may: readonly string[]): readonly string[] | Refusal {
  const named = [...new Set(resources)];
  if (named.some((resource) => !may.includes(resource))) return refuse('target_not_allowed');
  return named.length > 0 ? named : may.slice(0, 1);
}

/**
 * The audiences of a token that comes of a grant or of another token: those that it was granted, or of these the ones
 * that the request names, and none that the key has lost since (RFC 8707 §2.2). Refused when nothing is left. A key
 * without a list has lost none: when the server's default changes, its grants go on for the audience that they are for.
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
 * Whether an opaque token says nothing but what its client may have now (contract §10): the format, the scopes, the
 * audiences and, where the client needs one, the binding. A stolen sealing key makes tokens of any content; this keeps
 * them inside a policy that an operator has given to somebody.
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
