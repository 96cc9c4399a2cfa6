/** What an operator does with API keys: create, show, change, delete. Each change commits with its event, in one transaction. */
import { printBase64url, type Clock, type Random } from '@hallpass/protocol';
import { SECRETS_MAX } from '../oauth/clients/authentication.ts';
import { keepForeignHash } from '../oauth/imported_secrets/foreign_secret.ts';
import type { KeyRing } from '../oauth/keys/key_ring.ts';
import { revocationOfClient } from '../oauth/tokens/revocations.ts';
import { hashSecret } from '../oauth/keys/secret_hash.ts';
import {
  CLIENTS_MAX,
  type Consequences,
  type Client,
  type ClientSecret,
  type StoredRevocation,
  type RefreshSuspicions,
  type SecretUse,
  type Store,
} from '../store/store.ts';
import type { KeyFieldValues } from './key_fields.ts';
import {
  checkAuthentication,
  checkImported,
  checkPolicy,
  checkPublicKeys,
  checkResourceServer,
  type NewApiKey,
} from './key_policy.ts';
import { isRefusedFor, operatorRefusal } from './operator_refusal.ts';
import { revokeUntilAcknowledged, type ClockChoice, type Dating } from './revocation_moment.ts';

/** A key with its secret, which is never shown again. Undefined for a key that signs, or whose secret is known only as a hash. */
export interface MadeApiKey {
  readonly client: Client;
  readonly clientSecret: string | undefined;
}

/** A key, or a new secret for one, that is not stored yet: for callers that must show the secret first. */
export interface PendingApiKey extends MadeApiKey {
  /** Stores it. Rejects with `OperatorRefusal`, like `create` and `rotateSecret`. */
  readonly keep: () => Promise<void>;
  /** Undoes `keep`, when nobody has seen the secret. Rejects with the refusal `key_changed` when something else changed the key. */
  readonly takeBack: () => Promise<void>;
}

/** A key as it is shown: everything except its secrets' hashes. */
export interface ShownApiKey extends Omit<Client, 'secrets'> {
  readonly secrets: readonly ShownSecret[];
  /** Absent: nothing suspicious was seen. */
  readonly refreshSuspicions?: RefreshSuspicions;
}

interface ShownSecret extends Pick<ClientSecret, 'secretId' | 'createdAt' | 'expiresAt'> {
  readonly lastUsedAt?: number;
  /** It still has the hash that it was imported with. */
  readonly hashImported?: true;
}

/** How many keys are read at a time. */
const PAGE_KEYS_MAX = 200;
/** How often disabling a key is tried when something else changes it at the same moment. */
const ATTEMPTS_MAX = 5;
const CLIENT_ID_BYTES = 12;
const CLIENT_SECRET_BYTES = 32;

/** The operations on API keys. Each rejects with `OperatorRefusal` when the request is refused. */
export interface ApiKeys {
  readonly create: (wanted: NewApiKey) => Promise<MadeApiKey>;
  readonly prepare: (wanted: NewApiKey) => Promise<PendingApiKey>;
  /** The key that `create` would make. Stores nothing. Throws `OperatorRefusal` where `create` would reject. */
  readonly draft: (wanted: NewApiKey) => MadeApiKey;
  readonly list: () => Promise<readonly ShownApiKey[]>;
  readonly show: (clientId: string) => Promise<ShownApiKey>;
  /** Disables the key, and ends every token issued to it before this resolves. */
  readonly disable: (clientId: string, clock?: ClockChoice) => Promise<ShownApiKey>;
  readonly enable: (clientId: string) => Promise<ShownApiKey>;
  readonly delete: (clientId: string, clock?: ClockChoice) => Promise<void>;
  /** Ends every token issued to the key before this resolves. The key itself stays valid. */
  readonly revokeTokens: (clientId: string, clock?: ClockChoice) => Promise<StoredRevocation>;
  /** Replaces the public keys of a key that signs. */
  readonly setPublicKeys: (clientId: string, jwks: readonly unknown[]) => Promise<ShownApiKey>;
  /** Changes the fields that are given. The others stay as they are. */
  readonly update: (clientId: string, changes: Omit<KeyFieldValues, 'publicKeys'>) => Promise<ShownApiKey>;
  /** Makes a new secret. The previous one keeps working for the overlap, in milliseconds. */
  readonly rotateSecret: (clientId: string, overlap: number) => Promise<MadeApiKey>;
  readonly prepareSecret: (clientId: string, overlap: number) => Promise<PendingApiKey>;
}

/** The operations on the API keys of a store. */
export function manageApiKeys(
  on: Dating & {
    readonly store: Store;
    readonly keys: KeyRing;
    readonly clock: Clock;
    readonly random: Random;
  },
): ApiKeys {
  const { store, keys, clock, random } = on;
  const makeSecret = (clientSecret: string, now: number): ClientSecret =>
    hashSecret({ secretId: printBase64url(random(6)), createdAt: now }, clientSecret, keys.secret);
  const takeSecret = (clientId: string, foreignHash: string, now: number): ClientSecret => {
    const of = { clientId, secretId: printBase64url(random(6)), createdAt: now };
    return keepForeignHash(of, foreignHash, { key: keys.secret, random });
  };
  const find = async (clientId: string): Promise<Client> => {
    const client = await store.findClient(clientId);
    if (client === undefined) throw operatorRefusal('key_unknown', { clientId });
    return client;
  };
  const show = async (client: Client): Promise<ShownApiKey> => {
    const { clientId } = client;
    const [uses, suspicions] = await Promise.all([
      store.findSecretUses(clientId),
      store.findRefreshSuspicions(clientId),
    ]);
    return { ...shown(client, uses), ...(suspicions === undefined ? {} : { refreshSuspicions: suspicions }) };
  };
  const change = async (client: Client, changes: Partial<Client>, consequences: Consequences): Promise<Client> => {
    const changed = { ...client, ...changes, updatedAt: consequences.event.at, version: client.version + 1 };
    if ((await store.saveClient(changed, consequences)) === 'saved') return changed;
    throw operatorRefusal('key_changed', { clientId: client.clientId });
  };
  /** Disables the key even if something else changes it at the same moment, such as a renewed hash. */
  const keepDisabled = async (clientId: string, revocation: StoredRevocation): Promise<Client> => {
    const event = { at: clock.now(), kind: 'key_disabled', clientId };
    for (let attempt = 1; ; attempt++) {
      try {
        return await change(await find(clientId), { disabled: true }, { event, revocations: [revocation] });
      } catch (error) {
        if (!isRefusedFor(error, 'key_changed') || attempt === ATTEMPTS_MAX) throw error;
      }
    }
  };
  const disable = async (clientId: string, choice: ClockChoice | undefined): Promise<Client> => {
    const { outcome } = await revokeUntilAcknowledged(on, choice, {
      revocationAt: (moment) => revocationOfClient(clientId, moment),
      write: (revocation) => keepDisabled(clientId, revocation),
    });
    return outcome;
  };
  const remove = async (clientId: string, choice: ClockChoice | undefined): Promise<void> => {
    // It is disabled first: a deletion that was committed but never acknowledged could not be repeated.
    if (!(await find(clientId)).disabled) await disable(clientId, choice);
    const event = { at: clock.now(), kind: 'key_deleted', clientId };
    if ((await store.deleteClient(clientId, { event })) === 'unknown')
      throw operatorRefusal('key_unknown', { clientId });
  };
  const draft = (wanted: NewApiKey): MadeApiKey => {
    const now = clock.now();
    const imported = wanted.imported === undefined ? undefined : checkImported(wanted.imported);
    const clientId = imported?.clientId ?? printId(random(CLIENT_ID_BYTES));
    const publicKeys = checkPublicKeys(wanted.publicKeys ?? []);
    const signs = publicKeys.length > 0;
    const foreignHash = imported?.clientSecretHash;
    const hasSecret = imported?.clientSecret !== undefined || foreignHash !== undefined;
    if (signs && hasSecret) throw operatorRefusal('secret_beside_public_keys', {});
    if (!signs && imported !== undefined && !hasSecret) throw operatorRefusal('credential_missing', {});
    const clientSecret =
      signs || foreignHash !== undefined
        ? undefined
        : (imported?.clientSecret ?? printBase64url(random(CLIENT_SECRET_BYTES)));
    const secrets = [
      ...(clientSecret === undefined ? [] : [makeSecret(clientSecret, now)]),
      ...(foreignHash === undefined ? [] : [takeSecret(clientId, foreignHash, now)]),
    ];
    const client: Client = {
      clientId,
      ...checkPolicy(wanted),
      authentication: checkAuthentication(wanted.authentication, { signs }),
      secrets,
      publicKeys,
      disabled: imported?.disabled ?? false,
      createdAt: now,
      updatedAt: now,
      version: 1,
    };
    checkResourceServer(client);
    return { client, clientSecret };
  };

  const prepareSecret = async (clientId: string, overlap: number): Promise<PendingApiKey> => {
    const client = await find(clientId);
    if (client.authentication === 'private_key_jwt') {
      throw operatorRefusal('key_signs', { clientId });
    }
    const now = clock.now();
    const clientSecret = printBase64url(random(CLIENT_SECRET_BYTES));
    const kept = client.secrets
      .filter(({ expiresAt = Infinity }) => expiresAt > now && overlap > 0)
      .slice(0, SECRETS_MAX - 1)
      .map((secret) => ({ ...secret, expiresAt: Math.min(secret.expiresAt ?? Infinity, now + overlap) }));
    const secrets = [makeSecret(clientSecret, now), ...kept];
    const event = { at: now, kind: 'key_secret_rotated', clientId, detail: `overlap ${overlap / 1000} s` };
    // What `change` will store.
    const changed = { ...client, secrets, updatedAt: now, version: client.version + 1 };
    return {
      client: changed,
      clientSecret,
      keep: async () => {
        await change(client, { secrets }, { event });
      },
      takeBack: async () => {
        const undone = { at: clock.now(), kind: 'key_secret_rotation_undone', clientId };
        await change(changed, { secrets: client.secrets }, { event: undone });
      },
    };
  };
  const keepNew = async (client: Client): Promise<void> => {
    const { clientId, createdAt, name } = client;
    const event = { at: createdAt, kind: 'key_created', clientId, detail: name };
    const outcome = await store.saveClient(client, { event });
    if (outcome === 'too_many') throw operatorRefusal('too_many_keys', { max: CLIENTS_MAX });
    if (outcome !== 'saved') throw operatorRefusal('key_exists', { clientId });
  };

  return {
    draft,

    create: async (wanted) => {
      const made = draft(wanted);
      await keepNew(made.client);
      return made;
    },

    async prepare(wanted) {
      const made = draft(wanted);
      const { clientId } = made.client;
      if ((await store.findClient(clientId)) !== undefined) throw operatorRefusal('key_exists', { clientId });
      return {
        ...made,
        keep: () => keepNew(made.client),
        // Like any deletion: someone who knew an imported secret may already have a token.
        takeBack: () => remove(clientId, undefined),
      };
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

    disable: async (clientId, choice) => await show(await disable(clientId, choice)),

    async enable(clientId) {
      const client = await find(clientId);
      const event = { at: clock.now(), kind: 'key_enabled', clientId };
      return await show(await change(client, { disabled: false }, { event }));
    },

    delete: (clientId, choice) => remove(clientId, choice),

    async revokeTokens(clientId, choice) {
      await find(clientId);
      const event = { at: clock.now(), kind: 'key_tokens_revoked', clientId };
      const { revocation } = await revokeUntilAcknowledged(on, choice, {
        revocationAt: (moment) => revocationOfClient(clientId, moment),
        write: (everything) => store.revoke([everything], event),
      });
      return revocation;
    },

    async setPublicKeys(clientId, jwks) {
      const client = await find(clientId);
      if (client.authentication !== 'private_key_jwt') throw operatorRefusal('key_has_secret', { clientId });
      const publicKeys = checkPublicKeys(jwks);
      if (publicKeys.length === 0) throw operatorRefusal('public_keys_needed', {});
      const event = { at: clock.now(), kind: 'key_public_keys_set', clientId };
      return await show(await change(client, { publicKeys }, { event }));
    },

    async update(clientId, changes) {
      const client = await find(clientId);
      const policy = checkPolicy({ ...client, ...changes, name: changes.name ?? client.name });
      const event = { at: clock.now(), kind: 'key_updated', clientId, detail: Object.keys(changes).join(', ') };
      // Of the stored client, only what is not a field: a number that was taken away must not come back.
      const { secrets, publicKeys, disabled, createdAt, version } = client;
      const signs = client.authentication === 'private_key_jwt';
      const authentication = checkAuthentication(changes.authentication ?? client.authentication, { signs });
      if (changes.resourceServerFor !== undefined) checkResourceServer({ clientId, ...policy });
      const rest = { clientId, secrets, publicKeys, authentication, disabled, createdAt, version };
      return await show(await change({ ...rest, ...policy, updatedAt: event.at }, {}, { event }));
    },

    async rotateSecret(clientId, overlap) {
      const { keep, takeBack: _, ...made } = await prepareSecret(clientId, overlap);
      await keep();
      return made;
    },

    prepareSecret,
  };
}

/** An id that starts with a letter or a digit. One that starts with a dash would look like an option on a command line. */
function printId(bytes: Uint8Array): string {
  return printBase64url(bytes).replace(/^[-_]/, 'k');
}

function shown({ secrets, ...client }: Client, uses: readonly SecretUse[]): ShownApiKey {
  return {
    ...client,
    secrets: secrets.map(({ secretId, createdAt, expiresAt, foreign }) => {
      const lastUsedAt = uses.find((use) => use.secretId === secretId)?.usedAt;
      return {
        secretId,
        createdAt,
        ...(foreign === undefined ? {} : { hashImported: true }),
        ...(expiresAt === undefined ? {} : { expiresAt }),
        ...(lastUsedAt === undefined ? {} : { lastUsedAt }),
      };
    }),
  };
}
