/** API keys as the command line shows them: to people, and as JSON under the names that the wire has. */
import type { MadeApiKey, PendingApiKey, ShownApiKey } from '../operator/api_keys.ts';
import { shellWord } from '../operator/shell_word.ts';
import { good, printDocument, printFields, printLine, printMoment, warn } from './output.ts';
import { deliver } from './secret_delivery.ts';
import { systemClock } from '../serving/system.ts';

/** When a key was last used, for people; undefined: never. */
export function lastUse({ secrets }: ShownApiKey): string | undefined {
  const last = Math.max(...secrets.map(({ lastUsedAt = 0 }) => lastUsedAt));
  return last > 0 ? printMoment(last) : undefined;
}

/** A key as JSON. */
export function shownDocument(key: ShownApiKey): object {
  return {
    client_id: key.clientId,
    name: key.name,
    mode: key.mode,
    scopes: key.scopes,
    default_scopes: key.defaultScopes,
    audiences: key.audiences,
    resource_server_for: key.resourceServerFor,
    origins: key.origins,
    require_origin: key.requireOrigin,
    refresh: key.refresh,
    authentication: key.authentication,
    public_keys: key.publicKeys.map(({ jwk, algorithm }) => ({ ...jwk, alg: algorithm })),
    require_dpop: key.requireDpop,
    access_token_format: key.accessTokenFormat,
    access_ttl_seconds: key.accessTtlSeconds ?? null,
    refresh_ttl_seconds: key.refreshTtlSeconds ?? null,
    refresh_max_ttl_seconds: key.refreshMaxTtlSeconds ?? null,
    refresh_grace_seconds: key.refreshGraceSeconds ?? null,
    requests_per_second: key.requestsPerSecond ?? null,
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

function suspicionsDocument({ refreshSuspicions }: ShownApiKey): object | null {
  if (refreshSuspicions === undefined) return null;
  const { count, lastAt, lastReason, lastGrantId } = refreshSuspicions;
  const last_at = new Date(lastAt).toISOString();
  return { count, last_at, last_reason: lastReason, last_grant_id: lastGrantId };
}

/** Shows a key with its secret, and keeps it once that was read. `end` tells a person what was made. */
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
  // The bracket that makes it a document comes last: whoever reads it whole reads of a key that was kept.
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
    printLine('It has no secret: it signs an assertion with each request (private_key_jwt).');
  else printLine(warn('The secret is shown this once. Keep it where your other secrets are.'));
}

/** When a new key is better off without refresh tokens: nothing for one of web pages, or that can have no tokens. */
export function printRefreshAdvice({ client }: MadeApiKey): void {
  if (!client.refresh || client.scopes.length === 0 || client.origins.length > 0) return;
  printLine('It gets refresh tokens. A server that holds its credentials can ask at any time, and needs none:');
  printLine(`  hallpass keys update ${shellWord(client.clientId)} --no-refresh`);
}

const AUTHENTICATION_WORDS: Record<ShownApiKey['authentication'], string> = {
  client_secret: 'its secret, by Basic or in the body',
  client_secret_basic: 'its secret, by Basic alone (client_secret_basic)',
  client_secret_post: 'its secret, in the body alone (client_secret_post)',
  private_key_jwt: 'signed assertions (private_key_jwt)',
};

/** A key for people, everything that is kept of it. */
export function printKey(key: ShownApiKey): void {
  printFields([
    ['client_id', key.clientId],
    ['name', key.name],
    ['mode', key.mode],
    ['state', key.disabled ? warn('disabled') : good('enabled')],
    ['scopes', key.scopes.join(' ')],
    ['default scopes', key.defaultScopes.join(' ')],
    ['audiences', key.audiences.join(' ')],
    ['resource server for', key.resourceServerFor.join(' ')],
    ['origins', key.origins.join(' ')],
    ['requires an origin', key.requireOrigin ? 'yes' : undefined],
    ['refresh tokens', key.refresh ? 'yes' : 'no'],
    ['authenticates by', AUTHENTICATION_WORDS[key.authentication]],
    ['bound tokens only', key.requireDpop ? 'yes' : undefined],
    ['access tokens', key.accessTokenFormat === 'opaque' ? 'opaque' : undefined],
    ['access tokens live', seconds(key.accessTtlSeconds)],
    ['grants end unused after', seconds(key.refreshTtlSeconds)],
    ['grants live at most', seconds(key.refreshMaxTtlSeconds)],
    ['requests a second', key.requestsPerSecond?.toString()],
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

function suspicionsOf({ refreshSuspicions }: ShownApiKey): string | undefined {
  if (refreshSuspicions === undefined) return undefined;
  const { count, lastAt, lastReason, lastGrantId } = refreshSuspicions;
  return `${count}, the last at ${printMoment(lastAt)} (${lastReason}), grant ${lastGrantId}`;
}

function seconds(count: number | undefined): string | undefined {
  return count === undefined ? undefined : `${count} s`;
}
