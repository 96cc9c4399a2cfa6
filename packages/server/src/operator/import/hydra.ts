/** The client export of Ory Hydra, as rows of keys. */
import { ACCESS_TOKEN_SECONDS_MAX } from '@hallpass/protocol';
import { AUTHENTICATIONS, KEY_FIELDS } from '../key_fields.ts';
import { operatorRefusal } from '../operator_refusal.ts';
import {
  checkCount,
  listOf,
  membersOf,
  nameAfter,
  present,
  readRow,
  textOf,
  type ImportedKey,
  type ImportFile,
  type Members,
  type ReadOptions,
} from './rows.ts';

/**
 * The rows of an export of Hydra 2.x. Its command for the list of clients prints `{ "items": [...], "next_page_token",
 * "is_last_page" }` as JSON, GET /admin/clients an array, and the command for one client a single object. The members are
 * those of RFC 7591 and some of Hydra's own. Members without a counterpart here (redirect URIs, consent, log-out) are left
 * out. No export has secrets: the hashes are in the column `client_secret` of the table `hydra_client`, and belong in the
 * member of that name (docs/operating.md).
 */
export function readHydra(document: unknown, options: ReadOptions): ImportFile {
  const pages = typeof document === 'object' && document !== null && 'items' in document ? document : undefined;
  const items: readonly unknown[] = asArray(pages?.items ?? document);
  checkCount(items);
  const rows = items.map((item, at) => readRow(`item ${at + 1}`, () => hydrasKey(membersOf(item), options)));
  const onePage = pages !== undefined && 'is_last_page' in pages && pages.is_last_page === false;
  return { format: 'hydra', rows, remarks: onePage ? ['incomplete'] : [] };
}

function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

/** Whether a document has the members by which Hydra's clients can be told from our keys. */
export function isHydras(document: unknown): boolean {
  if (!Array.isArray(document)) return true;
  const first: unknown = document[0];
  return typeof first === 'object' && first !== null && ('grant_types' in first || 'client_name' in first);
}

function hydrasKey(members: Members, { policy, allowWeak }: ReadOptions): ImportedKey {
  const clientId = textOf(members, 'client_id');
  if (clientId === undefined) throw operatorRefusal('row_without_client_id', {});
  const grantTypes = listOf(members, 'grant_types') ?? [];
  if (!grantTypes.includes('client_credentials')) throw operatorRefusal('hydra_other_grant', {});
  const scopes = (textOf(members, 'scope') ?? '').split(' ').filter((scope) => scope !== '');
  if (policy.scopes === undefined) checkScopes(scopes);
  const fields = {
    scopes,
    audiences: listOf(members, 'audience'),
    origins: listOf(members, 'allowed_cors_origins'),
    refresh: grantTypes.includes('refresh_token'),
    accessTokenFormat: tokenFormatOf(members),
    accessTtlSeconds: lifespanOf(members),
  };
  return {
    ...present(fields),
    ...policy,
    ...present({ authentication: authenticationOf(members, policy) }),
    name: textOf(members, 'client_name') ?? nameAfter(clientId),
    ...hydrasCredentials(members, { clientId, allowWeak }),
  };
}

/** Hydra's scopes are usually words, and a scope here is a path with a verb. */
function checkScopes(scopes: readonly string[]): void {
  if (scopes.length === 0) throw operatorRefusal('hydra_without_scope', {});
  if (scopes.every((scope) => scope.startsWith('/'))) return;
  // Only what looks like a word: a secret may stand in the wrong place.
  throw operatorRefusal('hydra_scopes_are_words', {
    scopes: scopes.filter((scope) => /^[a-z][a-z._:-]{0,30}$/.test(scope)),
  });
}

/** Hydra's strategy for access tokens has our names for the formats. */
function tokenFormatOf(members: Members): ImportedKey['accessTokenFormat'] {
  const { choices } = KEY_FIELDS.accessTokenFormat;
  const strategy = textOf(members, 'access_token_strategy');
  const format = choices.find((choice) => choice === strategy);
  if (strategy === undefined || format !== undefined) return format;
  throw operatorRefusal('member_malformed', { member: 'access_token_strategy', must: choices.join(' or ') });
}

/** Hydra accepts a client's credentials only in the way that is registered, and so do we. */
function authenticationOf(members: Members, policy: ReadOptions['policy']): ImportedKey['authentication'] {
  const method = AUTHENTICATIONS.find((known) => known === textOf(members, 'token_endpoint_auth_method'));
  if (method === 'private_key_jwt') return method;
  return policy.authentication ?? method ?? 'client_secret_basic';
}

function hydrasCredentials(
  members: Members,
  known: { readonly clientId: string; readonly allowWeak: boolean },
): Pick<ImportedKey, 'imported' | 'publicKeys'> {
  const method = textOf(members, 'token_endpoint_auth_method') ?? 'client_secret_basic';
  if (method === 'private_key_jwt') {
    const jwks = members.get('jwks');
    const keys = typeof jwks === 'object' && jwks !== null && 'keys' in jwks ? asArray(jwks.keys) : [];
    if (keys.length > 0) return { publicKeys: keys, imported: known };
    throw operatorRefusal('hydra_without_jwks', {});
  }
  if (method !== 'client_secret_basic' && method !== 'client_secret_post') {
    throw operatorRefusal(method === 'none' ? 'hydra_public_client' : 'hydra_other_authentication', {});
  }
  const secret = textOf(members, 'client_secret');
  if (secret === undefined) {
    // Hydra lists its clients without.
    throw operatorRefusal('hydra_without_secret', {});
  }
  // What Hydra showed once, when it made the client, is the secret itself.
  return {
    imported: { ...known, ...(secret.startsWith('$') ? { clientSecretHash: secret } : { clientSecret: secret }) },
  };
}

/** Hydra prints durations as Go does: `1h0m0s`. One that is longer than any token lives here is left out. */
function lifespanOf(members: Members): number | undefined {
  const text = textOf(members, 'client_credentials_grant_access_token_lifespan');
  if (text === undefined) return undefined;
  const [, hours = 0, minutes = 0, seconds = 0] =
    /^(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?$/.exec(text) ?? [];
  const total = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  if (total === 0) throw operatorRefusal('hydra_lifespan_malformed', {});
  return total > ACCESS_TOKEN_SECONDS_MAX ? undefined : total;
}
