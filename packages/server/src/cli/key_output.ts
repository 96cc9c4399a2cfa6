/** API keys as the command line shows them: as text for people, and as JSON with wire names. */
import type { MadeApiKey, PendingApiKey, ShownApiKey } from '../operator/api_keys.ts';
import { KEY_FIELD_ROWS, type KeyField, type KeyFieldName } from '../operator/key_fields.ts';
import { shellWord } from './shell_word.ts';
import { good, printDocument, printFields, printLine, printMoment, warn } from './output.ts';
import { deliver } from './secret_delivery.ts';
import { systemClock } from '../serving/system.ts';

/** When a key was last used, for people; undefined: never. */
export function lastUse({ secrets }: ShownApiKey): string | undefined {
  const last = Math.max(...secrets.map(({ lastUsedAt = 0 }) => lastUsedAt));
  return last > 0 ? printMoment(last) : undefined;
}

/** A key as JSON: its fields by the table, and what the store knows of it. */
export function shownDocument(key: ShownApiKey): object {
  return {
    client_id: key.clientId,
    ...Object.fromEntries(KEY_FIELD_ROWS.map(([name, { wire }]) => [wire, jsonOf(key, name)])),
    disabled: key.disabled,
    created_at: new Date(key.createdAt).toISOString(),
    updated_at: new Date(key.updatedAt).toISOString(),
    refresh_suspicions: suspicionsDocument(key),
    secrets: key.secrets.map(({ secretId, createdAt, expiresAt, lastUsedAt, hashImported }) => ({
      secret_id: secretId,
      created_at: new Date(createdAt).toISOString(),
      expires_at: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
      last_used_at: lastUsedAt === undefined ? null : new Date(lastUsedAt).toISOString(),
      hash_imported: hashImported === true,
    })),
  };
}

function jsonOf(key: ShownApiKey, name: KeyFieldName): unknown {
  if (name === 'publicKeys') return key.publicKeys.map(({ jwk, algorithm }) => ({ ...jwk, alg: algorithm }));
  return key[name] ?? null;
}

function suspicionsDocument({ refreshSuspicions }: ShownApiKey): object | null {
  if (refreshSuspicions === undefined) return null;
  const { count, lastAt, lastReason, lastGrantId } = refreshSuspicions;
  const last_at = new Date(lastAt).toISOString();
  return { count, last_at, last_reason: lastReason, last_grant_id: lastGrantId };
}

/** Shows a key with its secret, and stores it once that was read. `end` prints for a person what was made. */
export async function deliverMade(
  pending: PendingApiKey,
  { json }: { readonly json?: boolean },
  end: () => void,
): Promise<void> {
  if (json !== true) {
    return await deliver(
      pending,
      { secret: () => printMade(pending), more: () => printRemarkOn(pending), end },
      systemClock,
    );
  }
  const text = `${JSON.stringify(madeDocument(pending), undefined, 2)}\n`;
  // The last bracket completes the document, so a complete document is about a key that was stored.
  const afterSecret = text.indexOf('\n', text.indexOf('"client_secret"')) + 1;
  const beforeEnd = text.lastIndexOf('}');
  await deliver(
    pending,
    {
      secret: () => printDocument(text.slice(0, afterSecret)),
      more: () => printDocument(text.slice(afterSecret, beforeEnd)),
      end: () => printDocument(text.slice(beforeEnd)),
    },
    systemClock,
  );
}

/** A key that was just made, with its secret, as JSON. */
function madeDocument({ client, clientSecret }: MadeApiKey): object {
  return { client_id: client.clientId, client_secret: clientSecret ?? null, ...shownDocument(client) };
}

/** A key that was just made, with its secret, for people. */
function printMade({ client, clientSecret }: MadeApiKey): void {
  printFields([
    ['client_id', client.clientId],
    ['client_secret', clientSecret],
    ['scopes', client.scopes.join(' ')],
    ['resource server for', client.resourceServerFor.join(' ')],
  ]);
}

function printRemarkOn({ clientSecret }: MadeApiKey): void {
  if (clientSecret === undefined)
    printLine('It has no secret: it signs an assertion for each token request (private_key_jwt).');
  else printLine(warn('The secret is shown only this once. Keep it where your other secrets are.'));
}

/** Advises against refresh tokens, unless the key is for web pages or can have no tokens. */
export function printRefreshAdvice({ client }: MadeApiKey): void {
  if (!client.refresh || client.scopes.length === 0 || client.origins.length > 0) return;
  printLine('It gets refresh tokens. A server that holds its own credentials does not need them:');
  printLine(`  hallpass keys update ${shellWord(client.clientId)} --no-refresh`);
}

/** A key for people: its fields by the table, without those that are empty, and what the store knows of it. */
export function printKey(key: ShownApiKey): void {
  printFields([
    ['client_id', key.clientId],
    ['state', key.disabled ? warn('disabled') : good('enabled')],
    ...KEY_FIELD_ROWS.map(([name, field]) => [field.title, textOf(key, name, field)] as const),
    ['suspicious refreshes', suspicionsOf(key)],
    ['made', printMoment(key.createdAt)],
    ['changed', printMoment(key.updatedAt)],
    ...key.secrets.map(({ secretId, createdAt, expiresAt, lastUsedAt, hashImported }, at) => {
      const until = expiresAt === undefined ? '' : `, until ${printMoment(expiresAt)}`;
      const used = lastUsedAt === undefined ? 'never used' : `last used ${printMoment(lastUsedAt)}`;
      const hash = hashImported === true ? ', under its imported hash until it is used' : '';
      return [`secret ${at + 1}`, `${secretId}, made ${printMoment(createdAt)}${until}, ${used}${hash}`] as const;
    }),
  ]);
}

const AUTHENTICATION_WORDS: Readonly<Record<ShownApiKey['authentication'], string>> = {
  client_secret: 'its secret, by Basic or in the body',
  client_secret_basic: 'its secret, only by Basic (client_secret_basic)',
  client_secret_post: 'its secret, only in the body (client_secret_post)',
  private_key_jwt: 'signed assertions (private_key_jwt)',
};

function textOf(key: ShownApiKey, name: KeyFieldName, field: KeyField): string | undefined {
  if (name === 'authentication') return AUTHENTICATION_WORDS[key.authentication];
  if (name === 'publicKeys')
    return key.publicKeys.map(({ algorithm, jwk }) => `${algorithm} ${thumbOf(jwk)}`).join(', ');
  const value = key[name];
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'number') return field.kind === 'number' && field.unit === 'seconds' ? `${value} s` : `${value}`;
  return typeof value === 'object' ? value.join(' ') : value;
}

/** Enough of a public key to tell it from another: the beginning of its first long member. */
function thumbOf(jwk: Readonly<Record<string, string>>): string {
  return `${(jwk['x'] ?? jwk['n'] ?? '').slice(0, 12)}...`;
}

function suspicionsOf({ refreshSuspicions }: ShownApiKey): string | undefined {
  if (refreshSuspicions === undefined) return undefined;
  const { count, lastAt, lastReason, lastGrantId } = refreshSuspicions;
  return `${count}, the last at ${printMoment(lastAt)} (${lastReason}), grant ${lastGrantId}`;
}
