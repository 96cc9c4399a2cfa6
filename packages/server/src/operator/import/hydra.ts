/** The client export of Ory Hydra, as rows of keys. */
import { ACCESS_TOKEN_SECONDS_MAX } from '@hallpass/protocol';
import { AUTHENTICATIONS } from '../key_policy.ts';
import {
  BadRow,
  checkCount,
  choiceOf,
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
 * Hydra 2.x: `hydra list oauth2-clients --format json` prints `{ "items": [...], "next_page_token", "is_last_page" }`, GET
 * /admin/clients an array, `hydra get oauth2-client` one object; the members are RFC 7591's and some of its own, and
 * those that a key here has nothing like (redirect URIs, consent, log-out) are left out. Neither says secrets: the hashes
 * are in the column `client_secret` of the table `hydra_client`, and belong into the member of that name
 * (docs/operating.md).
 */
export function readHydra(document: unknown, options: ReadOptions): ImportFile {
  const pages = typeof document === 'object' && document !== null && 'items' in document ? document : undefined;
  const items: readonly unknown[] = asArray(pages?.items ?? document);
  checkCount(items);
  const rows = items.map((item, at) => readRow(`item ${at + 1}`, () => hydrasKey(membersOf(item), options)));
  const onePage = pages !== undefined && 'is_last_page' in pages && pages.is_last_page === false;
  const remarks = onePage ? ['The file is one page of several (is_last_page is false). Import the others too.'] : [];
  return { format: 'hydra', rows, remarks };
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
  if (clientId === undefined) throw new BadRow('It has no client_id.');
  const grantTypes = listOf(members, 'grant_types') ?? [];
  if (!grantTypes.includes('client_credentials')) {
    throw new BadRow('Its grant_types do not hold client_credentials: it is no API key. Leave it out of the file.');
  }
  const scopes = (textOf(members, 'scope') ?? '').split(' ').filter((scope) => scope !== '');
  if (policy.scopes === undefined && scopes.length === 0)
    throw new BadRow('It has no scope. Name those that all of these keys are to have: --scope /accounts.write');
  if (policy.scopes === undefined && scopes.some((scope) => !scope.startsWith('/'))) {
    throw new BadRow(
      `Its scopes are words (${scopes.filter((scope) => /^[a-z][a-z._:-]{0,30}$/.test(scope)).join(' ')}), and a scope here is a path with a verb. Name those that all of these keys are to have instead: --scope /accounts.write`,
    );
  }
  const said = {
    scopes,
    audiences: listOf(members, 'audience'),
    origins: listOf(members, 'allowed_cors_origins'),
    refresh: grantTypes.includes('refresh_token'),
    accessTokenFormat: choiceOf(new Map([...members].filter(([, value]) => value !== '')), 'access_token_strategy', [
      'jwt',
      'opaque',
    ]),
    accessTtlSeconds: lifespanOf(members),
  };
  return {
    ...present(said),
    ...policy,
    ...present({ authentication: authenticationOf(members, policy) }),
    name: textOf(members, 'client_name') ?? nameAfter(clientId),
    ...hydrasCredentials(members, { clientId, allowWeak }),
  };
}

/** Hydra takes a client's credentials in the one way that is registered, and so do we. */
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
    throw new BadRow(
      'It signs, and its public keys are not in the file. Put them into jwks: a jwks_uri is not followed.',
    );
  }
  if (method !== 'client_secret_basic' && method !== 'client_secret_post') {
    throw new BadRow(
      method === 'none'
        ? 'It is a public client (token_endpoint_auth_method none), and an API key always has a secret. Leave it out of the file.'
        : 'Its token_endpoint_auth_method must be client_secret_basic, client_secret_post or private_key_jwt.',
    );
  }
  const secret = textOf(members, 'client_secret');
  if (secret === undefined) {
    throw new BadRow(
      'It has no client_secret: Hydra lists its clients without. Put the hash there that is in its table hydra_client (docs/operating.md).',
    );
  }
  // What Hydra showed once, when it made the client, is the secret itself.
  return {
    imported: { ...known, ...(secret.startsWith('$') ? { clientSecretHash: secret } : { clientSecret: secret }) },
  };
}

/** Hydra prints durations as Go does: `1h0m0s`. One that is longer than any token lives here says nothing. */
function lifespanOf(members: Members): number | undefined {
  const text = textOf(members, 'client_credentials_grant_access_token_lifespan');
  if (text === undefined) return undefined;
  const [, hours = 0, minutes = 0, seconds = 0] =
    /^(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?$/.exec(text) ?? [];
  const total = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  if (total === 0)
    throw new BadRow('Its client_credentials_grant_access_token_lifespan is not a duration such as 1h0m0s.');
  return total > ACCESS_TOKEN_SECONDS_MAX ? undefined : total;
}
