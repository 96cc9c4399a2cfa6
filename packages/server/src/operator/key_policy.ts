/** What an API key may be: rules for the fields of the table, and rules that join fields. Pure; each throws `OperatorRefusal`. */
import {
  CLIENT_ID_LENGTH_MAX,
  CLIENT_SECRET_LENGTH_MAX,
  isReserved,
  isScope,
  parsePublicJwk,
  parseScope,
  SCOPE_LIST_LENGTH_MAX,
  ScopeSet,
  type ClientPublicKey,
  type Scope,
} from '@hallpass/protocol';
import { parseForeignHash } from '../oauth/imported_secrets/foreign_hash.ts';
import { couldBeGuessed } from '../oauth/keys/secret_hash.ts';
import { canonicalOrigin } from '../oauth/clients/origins.ts';
import type { Client } from '../store/store.ts';
import {
  initialOf,
  KEY_FIELD_ROWS,
  KEY_FIELDS,
  type ItemKind,
  type KeyField,
  type KeyFieldName,
  type KeyFieldValues,
} from './key_fields.ts';
import { operatorRefusal } from './operator_refusal.ts';

/** Credentials that already exist, from another system or an earlier store. */
export interface ImportedCredentials {
  readonly clientId: string;
  /** At most one of the two; neither for a key that signs. */
  readonly clientSecret?: string;
  /** In a form that `parseForeignHash` reads. The secret is hashed again when it is first used. */
  readonly clientSecretHash?: string;
  /** Whether a secret that could be guessed is accepted. */
  readonly allowWeak: boolean;
  readonly disabled?: boolean;
}

/** What a new key is to be. */
export type NewApiKey = KeyFieldValues & {
  readonly name: string;
  /** Credentials to take over; without them the key gets new ones. */
  readonly imported?: ImportedCredentials;
};

/** The longest audience, in characters. */
export const AUDIENCE_LENGTH_MAX = 256;

type Policy = Pick<Client, Exclude<KeyFieldName, 'authentication' | 'publicKeys'>>;

/** The fields of a key, checked and completed with defaults. How it authenticates is judged by `checkAuthentication`. */
export function checkPolicy(wanted: NewApiKey): Policy {
  const policy = checkFields(wanted);
  if (policy.scopes.length === 0 && policy.resourceServerFor.length === 0) throw operatorRefusal('scope_needed', {});
  checkDefaultScopes(policy);
  if (policy.requireOrigin && policy.origins.length === 0) throw operatorRefusal('origins_needed', {});
  return policy;
}

function checkFields(wanted: NewApiKey): Policy;
function checkFields(wanted: NewApiKey): object {
  const checked = KEY_FIELD_ROWS.flatMap(([name, field]) => {
    if (name === 'authentication' || name === 'publicKeys') return [];
    const value = wanted[name] ?? initialOf(field);
    return value === undefined ? [] : [[name, checkField(name, field, value)] as const];
  });
  return Object.fromEntries(checked);
}

/** A value of a field within its bounds, in the form in which it is kept. */
function checkField(name: KeyFieldName, field: KeyField, value: unknown): unknown {
  if (field.kind === 'text') {
    const { lengthMax: max } = field;
    const text = String(value);
    if (text.trim() !== '' && text.length <= max && !/\p{Cc}/u.test(text)) return text;
    throw operatorRefusal('name_malformed', { field: name, max });
  }
  if (field.kind === 'number') {
    if (Number.isSafeInteger(value) && Number(value) >= field.min && Number(value) <= field.max) return value;
    throw operatorRefusal('number_out_of_bounds', { field: name });
  }
  if (field.kind === 'list' && Array.isArray(value)) {
    const { itemsMax: max, items } = field;
    if (value.length > max) throw operatorRefusal('too_many_items', { field: name, max });
    return [...new Set(value.map((item) => CHECK_ITEM[items](String(item), name)))];
  }
  return value;
}

const CHECK_ITEM: Readonly<Record<ItemKind, (text: string, field: KeyFieldName) => string>> = {
  grantable_scope: (text, field) => {
    const scope = checkScope(text, field);
    if (scope.parameters.length > 0 && isReserved(scope))
      throw operatorRefusal('scope_reserved', { field, value: text });
    return text;
  },
  scope: (text, field) => {
    checkScope(text, field);
    return text;
  },
  // An absolute URI without a fragment (RFC 8707 §2), kept to the letter.
  audience: (text, field) => {
    if (text.length > AUDIENCE_LENGTH_MAX)
      throw operatorRefusal('audience_too_long', { field, max: AUDIENCE_LENGTH_MAX });
    const isUri = /^[a-z][a-z0-9+.-]*:[\x21\x23-\x5b\x5d-\x7e]+$/i.test(text) && URL.canParse(text);
    if (isUri && !text.includes('#')) return text;
    throw operatorRefusal('audience_malformed', { field, value: text });
  },
  origin: (text, field) => {
    const origin = canonicalOrigin(text);
    if (origin !== undefined) return origin;
    throw operatorRefusal('origin_malformed', { field, value: text });
  },
};

function checkScope(text: string, field: KeyFieldName): Scope {
  const scope = parseScope(text);
  if (isScope(scope)) return scope;
  throw operatorRefusal('scope_malformed', { field, value: text, fault: scope });
}

/** Default scopes have no parameters left to fill, and are among the scopes of the key. */
function checkDefaultScopes({ scopes, defaultScopes }: Policy): void {
  const field = 'defaultScopes';
  if (defaultScopes.join(' ').length > SCOPE_LIST_LENGTH_MAX)
    throw operatorRefusal('default_scopes_too_long', { field, max: SCOPE_LIST_LENGTH_MAX });
  const granted = new ScopeSet(scopes.map((text) => checkScope(text, 'scopes')));
  for (const value of defaultScopes) {
    const scope = checkScope(value, field);
    if (scope.parameters.length > 0) throw operatorRefusal('default_scope_has_parameters', { field, value });
    if (!granted.contains(scope)) throw operatorRefusal('default_scope_not_granted', { field, value });
  }
}

/** JWKs as the public keys of a client, at most as many as the table says. Throws on a private key, among others. */
export function checkPublicKeys(jwks: readonly unknown[]): readonly ClientPublicKey[] {
  const field = 'publicKeys';
  const { itemsMax: max } = KEY_FIELDS.publicKeys;
  const keys = jwks.map((jwk) => {
    const key = parsePublicJwk(jwk);
    if (typeof key === 'string') throw operatorRefusal('public_key_unusable', { field, fault: key });
    return key;
  });
  if (keys.length > max) throw operatorRefusal('too_many_items', { field, max });
  return keys;
}

/** How a key authenticates. `signs`: it has public keys, and so no secret. Throws on a method that does not fit. */
export function checkAuthentication(
  wanted: Client['authentication'] | undefined,
  { signs }: { readonly signs: boolean },
): Client['authentication'] {
  const authentication = wanted ?? (signs ? 'private_key_jwt' : 'client_secret');
  if (signs === (authentication === 'private_key_jwt')) return authentication;
  if (signs) throw operatorRefusal('authentication_needs_secret', { authentication });
  throw operatorRefusal('authentication_needs_public_keys', {});
}

/** A guard follows the feed over Basic, which would cut an id at its colon (RFC 7617 §2). */
export function checkResourceServer({
  clientId,
  resourceServerFor,
}: Pick<Client, 'clientId' | 'resourceServerFor'>): void {
  if (resourceServerFor.length > 0 && clientId.includes(':')) throw operatorRefusal('resource_server_with_colon', {});
}

/** RFC 6749 appendix A.1, A.2: a space is one of them. */
const VSCHARS = /^[\x20-\x7e]+$/;

/** Credentials of another system, if they can be taken over. */
export function checkImported(imported: ImportedCredentials): ImportedCredentials {
  const { clientId, clientSecret, clientSecretHash, allowWeak } = imported;
  if (!VSCHARS.test(clientId) || clientId.length > CLIENT_ID_LENGTH_MAX)
    throw operatorRefusal('client_id_malformed', { field: 'clientId', max: CLIENT_ID_LENGTH_MAX });
  if (clientSecret !== undefined && clientSecretHash !== undefined) throw operatorRefusal('secret_beside_hash', {});
  if (clientSecret !== undefined) {
    const field = 'clientSecret';
    if (!VSCHARS.test(clientSecret) || clientSecret.length > CLIENT_SECRET_LENGTH_MAX)
      throw operatorRefusal('client_secret_malformed', { field, max: CLIENT_SECRET_LENGTH_MAX });
    if (couldBeGuessed(clientSecret) && !allowWeak) throw operatorRefusal('client_secret_guessable', { field });
  }
  if (clientSecretHash !== undefined) {
    const parsed = parseForeignHash(clientSecretHash);
    if (typeof parsed === 'string')
      throw operatorRefusal('client_secret_hash_unusable', { field: 'clientSecretHash', fault: parsed });
  }
  return imported;
}
