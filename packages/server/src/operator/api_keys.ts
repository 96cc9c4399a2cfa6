/** What an operator does with API keys: made, shown, changed, ended. Each change is kept with its event, in one transaction. */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  CLIENT_ID_LENGTH_MAX,
  CLIENT_SECRET_LENGTH_MAX,
  isScope,
  numericDate,
  parsePublicJwk,
  parseScope,
  printBase64url,
  SCOPE_LIST_LENGTH_MAX,
  SCOPES_PER_REQUEST_MAX,
  ScopeSet,
  type ClientPublicKey,
  type Clock,
  type JwkFault,
  type Random,
  type Scope,
} from '@hallpass/protocol';
import { SECRETS_MAX } from '../oauth/client_auth.ts';
import type { KeyRing } from '../oauth/key_ring.ts';
import { canonicalOrigin } from '../oauth/origins.ts';
import { GRANT_SECONDS_MAX, revocationOfClient } from '../oauth/revocation.ts';
import {
  CLIENTS_MAX,
  type Accompanied,
  type Client,
  type ClientSecret,
  type SecretUse,
  type Store,
} from '../store/store.ts';

/** Something that cannot be done as it was said, with a sentence that says what to do instead. */
export class OperatorRefusal extends Error {
  override readonly name = 'OperatorRefusal';
}

/** What a new key is to be. */
export interface NewApiKey {
  readonly name: string;
  readonly mode?: Client['mode'];
  readonly scopes?: readonly string[];
  readonly defaultScopes?: readonly string[];
  readonly audiences?: readonly string[];
  readonly resourceServerFor?: readonly string[];
  readonly origins?: readonly string[];
  readonly requireOrigin?: boolean;
  readonly refresh?: boolean;
  readonly requireDpop?: boolean;
  readonly accessTokenFormat?: Client['accessTokenFormat'];
  readonly accessTtlSeconds?: number;
  readonly refreshTtlSeconds?: number;
  readonly refreshGraceSeconds?: number;
  readonly requestsPerSecond?: number;
  /** JWKs: the key authenticates with these, and has no secret (RFC 7523). */
  readonly publicKeys?: readonly unknown[];
  /** Credentials that exist already, to be taken over. */
  readonly imported?: { readonly clientId: string; readonly clientSecret: string; readonly allowWeak: boolean };
}

/** A key with its secret, which nobody will see again; undefined for one that signs instead. */
export interface MadeApiKey {
  readonly client: Client;
  readonly clientSecret: string | undefined;
}

/** A key as it is shown: everything but its secrets' hashes. */
export interface ShownApiKey extends Omit<Client, 'secrets'> {
  readonly secrets: readonly (Omit<ClientSecret, 'hash' | 'keyId'> & { readonly lastUsedAt?: number })[];
}

/** The most keys that are shown at once. */
const PAGE_KEYS_MAX = 200;
const CLIENT_ID_BYTES = 12;
const CLIENT_SECRET_BYTES = 32;
/** The longest name, in characters, and the longest lists. */
export const NAME_LENGTH_MAX = 100;
export const SCOPES_PER_KEY_MAX = 500;
export const LIST_ITEMS_MAX = 100;
export const AUDIENCE_LENGTH_MAX = 256;

export interface ApiKeys {
  readonly create: (wanted: NewApiKey) => Promise<MadeApiKey>;
  readonly list: () => Promise<readonly ShownApiKey[]>;
  readonly show: (clientId: string) => Promise<ShownApiKey>;
  readonly disable: (clientId: string) => Promise<ShownApiKey>;
  readonly enable: (clientId: string) => Promise<ShownApiKey>;
  readonly delete: (clientId: string) => Promise<void>;
  /** Ends every token that the key was given up to now; the key itself goes on. */
  readonly revokeTokens: (clientId: string) => Promise<void>;
  /** Replaces the public keys of a key that signs. */
  readonly setPublicKeys: (clientId: string, jwks: readonly unknown[]) => Promise<ShownApiKey>;
  /** Replaces parts of the policy; what is not named stays. */
  readonly update: (
    clientId: string,
    changes: Omit<Partial<NewApiKey>, 'imported' | 'publicKeys'>,
  ) => Promise<ShownApiKey>;
  /** A new secret; the one before it works on for the overlap, in milliseconds. */
  readonly rotateSecret: (clientId: string, overlap: number) => Promise<MadeApiKey>;
}

/** Every function rejects with `OperatorRefusal` where the wish cannot be granted. */
export function manageApiKeys(on: {
  readonly store: Store;
  readonly keys: KeyRing;
  readonly clock: Clock;
  readonly random: Random;
}): ApiKeys {
  const { store, keys, clock, random } = on;
  const makeSecret = (clientSecret: string, now: number): ClientSecret => ({
    secretId: printBase64url(random(6)),
    keyId: keys.secret.keyId,
    hash: keys.secret.mac(clientSecret).toString('base64url'),
    createdAt: now,
  });
  const find = async (clientId: string): Promise<Client> => {
    const client = await store.findClient(clientId);
    if (client === undefined) throw unknownKey(clientId);
    return client;
  };
  const show = async (client: Client): Promise<ShownApiKey> =>
    shown(client, await store.findSecretUses(client.clientId));
  const change = async (client: Client, changes: Partial<Client>, accompanied: Accompanied): Promise<Client> => {
    const changed = { ...client, ...changes, updatedAt: accompanied.event.at, version: client.version + 1 };
    if ((await store.saveClient(changed, accompanied)) === 'saved') return changed;
    throw new OperatorRefusal(
      `The API key ${client.clientId} was changed by someone else meanwhile. Look at it and try again.`,
    );
  };

  return {
    async create(wanted) {
      const now = clock.now();
      const imported = wanted.imported === undefined ? undefined : checkImported(wanted.imported);
      const clientId = imported?.clientId ?? printId(random(CLIENT_ID_BYTES));
      const publicKeys = (wanted.publicKeys ?? []).map(checkPublicKey);
      if (publicKeys.length > 0 && imported !== undefined) {
        throw new OperatorRefusal('A key that signs takes no secret: leave out either the secret or the public key.');
      }
      checkLength('public keys', publicKeys, SECRETS_MAX);
      const clientSecret =
        publicKeys.length > 0 ? undefined : (imported?.clientSecret ?? printBase64url(random(CLIENT_SECRET_BYTES)));
      const client: Client = {
        clientId,
        ...checkPolicy(wanted),
        authentication: clientSecret === undefined ? 'private_key_jwt' : 'client_secret',
        secrets: clientSecret === undefined ? [] : [makeSecret(clientSecret, now)],
        publicKeys,
        disabled: false,
        createdAt: now,
        updatedAt: now,
        version: 1,
      };
      const event = { at: now, kind: 'key_created', clientId, detail: client.name };
      const outcome = await store.saveClient(client, { event });
      if (outcome === 'saved') return { client, clientSecret };
      if (outcome === 'too_many') {
        throw new OperatorRefusal(
          `There are ${CLIENTS_MAX} API keys, which is as many as a store keeps. Delete those that are not used.`,
        );
      }
      throw new OperatorRefusal(
        `There is an API key with the client_id ${clientId} already. Delete it first, or import another.`,
      );
    },

    async list() {
      const all: Client[] = [];
      for (;;) {
        const after = all.at(-1)?.clientId;
        const page = await store.listClients({ limit: PAGE_KEYS_MAX, ...(after === undefined ? {} : { after }) });
        all.push(...page);
        if (page.length < PAGE_KEYS_MAX) break;
      }
      return await Promise.all(all.map(show));
    },

    show: async (clientId) => await show(await find(clientId)),

    async disable(clientId) {
      const client = await find(clientId);
      const now = clock.now();
      const revocations = [revocationOfClient(clientId, numericDate(now))];
      const event = { at: now, kind: 'key_disabled', clientId };
      return await show(await change(client, { disabled: true }, { event, revocations }));
    },

    async enable(clientId) {
      const client = await find(clientId);
      const event = { at: clock.now(), kind: 'key_enabled', clientId };
      return await show(await change(client, { disabled: false }, { event }));
    },

    async delete(clientId) {
      const now = clock.now();
      const revocations = [revocationOfClient(clientId, numericDate(now))];
      const outcome = await store.deleteClient(clientId, {
        event: { at: now, kind: 'key_deleted', clientId },
        revocations,
      });
      if (outcome === 'unknown') throw unknownKey(clientId);
    },

    async revokeTokens(clientId) {
      await find(clientId);
      const now = clock.now();
      const event = { at: now, kind: 'key_tokens_revoked', clientId };
      await store.revoke([revocationOfClient(clientId, numericDate(now))], event);
    },

    async setPublicKeys(clientId, jwks) {
      const client = await find(clientId);
      if (client.authentication !== 'private_key_jwt') {
        throw new OperatorRefusal(
          `The API key ${clientId} has a secret, and a key is used in one way only. Make another key with --public-key.`,
        );
      }
      const publicKeys = jwks.map(checkPublicKey);
      if (publicKeys.length === 0)
        throw new OperatorRefusal(
          'Give one public key or two: the new one, and the old one for as long as it is in use.',
        );
      checkLength('public keys', publicKeys, SECRETS_MAX);
      const event = { at: clock.now(), kind: 'key_public_keys_set', clientId };
      return await show(await change(client, { publicKeys }, { event }));
    },

    async update(clientId, changes) {
      const client = await find(clientId);
      const policy = checkPolicy({ ...client, ...changes });
      const event = { at: clock.now(), kind: 'key_updated', clientId, detail: Object.keys(changes).join(', ') };
      // Of the kept client only what is no policy: a number that was taken away must not come back from it.
      const { secrets, publicKeys, authentication, disabled, createdAt, version } = client;
      const rest = { clientId, secrets, publicKeys, authentication, disabled, createdAt, version };
      return await show(await change({ ...rest, ...policy, updatedAt: event.at }, {}, { event }));
    },

    async rotateSecret(clientId, overlap) {
      const client = await find(clientId);
      if (client.authentication !== 'client_secret') {
        throw new OperatorRefusal(
          `The API key ${clientId} signs, and has no secret. Change its public keys: hallpass keys set-public-keys ${clientId} FILE`,
        );
      }
      const now = clock.now();
      const clientSecret = printBase64url(random(CLIENT_SECRET_BYTES));
      const kept = client.secrets
        .filter(({ expiresAt = Infinity }) => expiresAt > now && overlap > 0)
        .slice(0, SECRETS_MAX - 1)
        .map((secret) => ({ ...secret, expiresAt: Math.min(secret.expiresAt ?? Infinity, now + overlap) }));
      const event = { at: now, kind: 'key_secret_rotated', clientId, detail: `overlap ${overlap / 1000} s` };
      const changed = await change(client, { secrets: [makeSecret(clientSecret, now), ...kept] }, { event });
      return { client: changed, clientSecret };
    },
  };
}

function unknownKey(clientId: string): OperatorRefusal {
  return new OperatorRefusal(`There is no API key with the client_id ${clientId}. List them with: hallpass keys list`);
}

/** An id that starts with a letter or a digit: one that starts with a dash would pass for an option on a command line. */
function printId(bytes: Uint8Array): string {
  return printBase64url(bytes).replace(/^[-_]/, 'k');
}

function shown({ secrets, ...client }: Client, uses: readonly SecretUse[]): ShownApiKey {
  return {
    ...client,
    secrets: secrets.map(({ secretId, createdAt, expiresAt }) => {
      const lastUsedAt = uses.find((use) => use.secretId === secretId)?.usedAt;
      return {
        secretId,
        createdAt,
        ...(expiresAt === undefined ? {} : { expiresAt }),
        ...(lastUsedAt === undefined ? {} : { lastUsedAt }),
      };
    }),
  };
}

type Policy = Omit<
  Client,
  'clientId' | 'authentication' | 'secrets' | 'publicKeys' | 'disabled' | 'createdAt' | 'updatedAt' | 'version'
>;

function checkPolicy(wanted: NewApiKey): Policy {
  const { name, mode = 'live', requireOrigin = false, refresh = true } = wanted;
  const { scopes = [], defaultScopes = [], audiences = [], resourceServerFor = [], origins = [] } = wanted;
  if (name.trim() === '' || name.length > NAME_LENGTH_MAX || /\p{Cc}/u.test(name)) {
    throw new OperatorRefusal(`A name is 1 to ${NAME_LENGTH_MAX} printable characters.`);
  }
  checkLength('scopes', scopes, SCOPES_PER_KEY_MAX);
  checkLength('default scopes', defaultScopes, SCOPES_PER_REQUEST_MAX);
  if (defaultScopes.join(' ').length > SCOPE_LIST_LENGTH_MAX) {
    throw new OperatorRefusal(
      `The default scopes are longer than ${SCOPE_LIST_LENGTH_MAX} characters in all. Give the key fewer.`,
    );
  }
  for (const [what, list] of Object.entries({ audiences, origins, 'resource servers': resourceServerFor }))
    checkLength(what, list, LIST_ITEMS_MAX);
  if (scopes.length === 0 && resourceServerFor.length === 0) {
    throw new OperatorRefusal(
      "A key needs at least one scope: --scope /accounts.write. (A resource server's key may have none.)",
    );
  }
  const allowed = new ScopeSet(scopes.map((text) => checkScope(text)));
  for (const text of defaultScopes) {
    const scope = checkScope(text);
    if (scope.parameters.length > 0)
      throw new OperatorRefusal(`A default scope has no parameters: ${text}. Put values in their places.`);
    if (!allowed.contains(scope)) throw new OperatorRefusal(`The default scope ${text} is not among the key's scopes.`);
  }
  if (requireOrigin && origins.length === 0) {
    throw new OperatorRefusal(
      'A key that requires an origin needs a list of them: add --origin https://app.example.com.',
    );
  }
  return {
    name,
    mode,
    scopes: [...new Set(scopes)],
    defaultScopes: [...new Set(defaultScopes)],
    audiences: [...new Set(audiences.map(checkAudience))],
    resourceServerFor: [...new Set(resourceServerFor.map(checkAudience))],
    origins: [...new Set(origins.map(checkOrigin))],
    requireOrigin,
    refresh,
    requireDpop: wanted.requireDpop ?? false,
    accessTokenFormat: wanted.accessTokenFormat ?? 'jwt',
    ...checkNumbers(wanted),
  };
}

function checkNumbers(wanted: NewApiKey): Pick<Client, keyof typeof NUMBERS> {
  const numbers: { -readonly [Name in keyof typeof NUMBERS]?: number } = {};
  for (const name of NUMBER_NAMES) {
    const value = wanted[name];
    const { min, max } = NUMBERS[name];
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      throw new OperatorRefusal(`${name} must be a whole number from ${min} to ${max}.`);
    }
    numbers[name] = value;
  }
  return numbers;
}

const NUMBERS = {
  accessTtlSeconds: { min: 1, max: ACCESS_TOKEN_SECONDS_MAX },
  refreshTtlSeconds: { min: 1, max: GRANT_SECONDS_MAX },
  refreshGraceSeconds: { min: 0, max: GRANT_SECONDS_MAX },
  requestsPerSecond: { min: 1, max: 1_000_000 },
} as const;
const NUMBER_NAMES = ['accessTtlSeconds', 'refreshTtlSeconds', 'refreshGraceSeconds', 'requestsPerSecond'] as const;

const JWK_FAULTS: Record<JwkFault, string> = {
  not_an_object: 'it is not a JSON object',
  private: 'it holds the PRIVATE key. Nothing was kept; give that key up, make another, and send its public part alone',
  unknown_kind: 'only EC P-256 (ES256), OKP Ed25519 (EdDSA) and RSA (PS256) keys are taken',
  malformed: 'one of its members is malformed',
  wrong_use: 'it is not for signatures (use: sig)',
  weak: 'an RSA key has 2048 to 8192 bits and the exponent 65537',
};

function checkPublicKey(jwk: unknown): ClientPublicKey {
  const key = parsePublicJwk(jwk);
  if (typeof key !== 'string') return key;
  throw new OperatorRefusal(`This is not a public key that can be used: ${JWK_FAULTS[key]}.`);
}

function checkLength(what: string, list: readonly unknown[], max: number): void {
  if (list.length > max) throw new OperatorRefusal(`A key has at most ${max} ${what}.`);
}

function checkScope(text: string): Scope {
  const scope = parseScope(text);
  if (isScope(scope)) return scope;
  throw new OperatorRefusal(
    `This is not a scope: ${text} (${scope.replaceAll('_', ' ')}). A scope is a path with a verb, such as /accounts.write or /accounts/{accountID}/transfers.read.`,
  );
}

/** An audience is an absolute URI without a fragment (RFC 8707 §2), kept to the letter. */
function checkAudience(text: string): string {
  if (text.length > AUDIENCE_LENGTH_MAX)
    throw new OperatorRefusal(`An audience has at most ${AUDIENCE_LENGTH_MAX} characters.`);
  if (/^[a-z][a-z0-9+.-]*:[\x21\x23-\x5b\x5d-\x7e]+$/i.test(text) && URL.canParse(text) && !text.includes('#'))
    return text;
  throw new OperatorRefusal(
    `This is not an audience: ${text}. An audience is an absolute URI without a fragment, such as https://api.example.com.`,
  );
}

function checkOrigin(text: string): string {
  const origin = canonicalOrigin(text);
  if (origin !== undefined) return origin;
  throw new OperatorRefusal(
    `This is not an origin: ${text}. An origin is a scheme, a host and perhaps a port, such as https://app.example.com.`,
  );
}

function checkImported({ clientId, clientSecret, allowWeak }: NonNullable<NewApiKey['imported']>): {
  readonly clientId: string;
  readonly clientSecret: string;
} {
  if (!/^[\x21-\x7e]+$/.test(clientId) || clientId.length > CLIENT_ID_LENGTH_MAX) {
    throw new OperatorRefusal(`A client_id is 1 to ${CLIENT_ID_LENGTH_MAX} printable ASCII characters without spaces.`);
  }
  if (!/^[\x21-\x7e]+$/.test(clientSecret) || clientSecret.length > CLIENT_SECRET_LENGTH_MAX) {
    throw new OperatorRefusal(
      `A client_secret is 1 to ${CLIENT_SECRET_LENGTH_MAX} printable ASCII characters without spaces.`,
    );
  }
  // A keyed hash is enough for a secret that nobody can guess, and only for such a one.
  const weak = clientSecret.length < 22 || new Set(clientSecret).size < 10;
  if (weak && !allowWeak) {
    throw new OperatorRefusal(
      'This client_secret could be guessed: it is shorter than 22 characters or uses fewer than 10 different ones. Make a new key instead, or import it all the same with --allow-weak-secret.',
    );
  }
  return { clientId, clientSecret };
}
