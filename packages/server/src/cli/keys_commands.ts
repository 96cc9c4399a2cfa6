/** `hallpass keys ...`: API keys on the configured store, with or without a running server beside it. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import {
  manageApiKeys,
  OperatorRefusal,
  type ApiKeys,
  type MadeApiKey,
  type ShownApiKey,
} from '../operator/api_keys.ts';
import type { Client } from '../store/store.ts';
import type { Instance } from './instance.ts';
import { good, printFields, printJson, printLine, printMoment, printTable, strong, warn } from './output.ts';
import { readStandardInput } from './standard_input.ts';

/** Runs something on an opened instance and closes it. */
export type WithInstance = <Result>(work: (instance: Instance) => Promise<Result>) => Promise<Result>;

interface Json {
  readonly json?: boolean;
}

interface CreateOptions extends Json {
  readonly scope: readonly string[];
  readonly defaultScope: readonly string[];
  readonly origin: readonly string[];
  readonly audience: readonly string[];
  readonly resourceServer: readonly string[];
  readonly requireOrigin?: boolean;
  readonly refresh: boolean;
  readonly mode: Client['mode'];
  readonly clientId?: string;
  readonly clientSecret?: string;
  readonly allowWeakSecret?: boolean;
  readonly publicKeys?: string;
  readonly requireDpop?: boolean;
  readonly opaque?: boolean;
  readonly accessTtl?: number;
  readonly refreshTtl?: number;
  readonly refreshGrace?: number;
  readonly requestsPerSecond?: number;
}

export function keysCommand(withInstance: WithInstance): Command {
  const withKeys = <Result>(work: (keys: ApiKeys) => Promise<Result>): Promise<Result> =>
    withInstance((instance) => work(manageApiKeys(instance)));
  const keys = new Command('keys').description('make, show, change and end API keys');

  keys
    .command('create')
    .description('make an API key, and show its secret this once')
    .argument('<name>', 'what the key is called, for people')
    .option(
      '--scope <scope>',
      'a scope that the key may have, such as /accounts/{accountID}/transfers.read; may repeat',
      collect,
      [],
    )
    .option('--default-scope <scope>', 'a scope that a request without `scope` gets; may repeat', collect, [])
    .option(
      '--origin <origin>',
      'a web page origin that may use the key, such as https://app.example.com; may repeat',
      collect,
      [],
    )
    .option('--require-origin', 'refuse requests that come from no web page')
    .option('--audience <uri>', 'an API that tokens may be for; may repeat, the first is the default', collect, [])
    .option('--no-refresh', 'give no refresh tokens')
    .option(
      '--resource-server <audience>',
      "an API's own key: may introspect tokens for this audience and follow the revocation feed; may repeat",
      collect,
      [],
    )
    .addOption(new Option('--mode <mode>', 'what the key is for').choices(['live', 'test']).default('live'))
    .option('--client-id <id>', 'import existing credentials: the id')
    .option('--client-secret <secret>', 'import existing credentials: the secret, or - to read it from standard input')
    .option('--allow-weak-secret', 'import a secret that could be guessed')
    .option(
      '--public-keys <file>',
      'a file with a JWK or a JWK Set: the key signs with these, and has no secret (private_key_jwt)',
    )
    .option('--require-dpop', 'give only tokens that are bound to a key of the caller (RFC 9449)')
    .option('--opaque', 'give access tokens that only introspection can read')
    .option(
      '--access-ttl <duration>',
      'how long an access token lives, such as 5m; no longer than the server allows',
      parseSeconds,
    )
    .option('--refresh-ttl <duration>', 'how long a grant lives, such as 12h', parseSeconds)
    .option(
      '--refresh-grace <duration>',
      'how long after a rotation the refresh token before the newest still gets the newest',
      parseSeconds,
    )
    .option('--requests-per-second <count>', 'how many requests a second the key may make', Number)
    .option('--json', 'print JSON')
    .action(async (name: string, options: CreateOptions) => {
      const publicKeys = options.publicKeys === undefined ? undefined : readJwks(options.publicKeys);
      const imported = await readImported(options);
      const made = await withKeys((api) =>
        api.create({
          name,
          mode: options.mode,
          scopes: options.scope,
          defaultScopes: options.defaultScope,
          audiences: options.audience,
          resourceServerFor: options.resourceServer,
          origins: options.origin,
          requireOrigin: options.requireOrigin ?? false,
          refresh: options.refresh,
          requireDpop: options.requireDpop ?? false,
          accessTokenFormat: options.opaque === true ? 'opaque' : 'jwt',
          ...given({
            imported,
            publicKeys,
            accessTtlSeconds: options.accessTtl,
            refreshTtlSeconds: options.refreshTtl,
            refreshGraceSeconds: options.refreshGrace,
            requestsPerSecond: options.requestsPerSecond,
          }),
        }),
      );
      if (options.json === true) return printJson(madeDocument(made));
      printLine(`${good('Made')} the API key ${strong(made.client.name)}.`);
      printMade(made);
    });

  keys
    .command('list')
    .description('list the API keys')
    .option('--json', 'print JSON')
    .action(async ({ json }: Json) => {
      const all = await withKeys((api) => api.list());
      if (json === true) return printJson(all.map(shownDocument));
      if (all.length === 0)
        return printLine('There are no API keys yet. Make one with: hallpass keys create NAME --scope SCOPE');
      printTable(
        ['client_id', 'name', 'mode', 'state', 'last used', 'scopes'],
        all.map((key) => [
          key.clientId,
          key.name,
          key.mode,
          key.disabled ? 'disabled' : 'enabled',
          lastUse(key) ?? 'never',
          key.resourceServerFor.length > 0
            ? `resource server for ${key.resourceServerFor.join(' ')}`
            : key.scopes.join(' '),
        ]),
      );
    });

  keys
    .command('show')
    .description('show one API key')
    .argument('<client_id>')
    .option('--json', 'print JSON')
    .action(async (clientId: string, { json }: Json) => {
      const key = await withKeys((api) => api.show(clientId));
      if (json === true) printJson(shownDocument(key));
      else printKey(key);
    });

  for (const [verb, done, meaning] of [
    ['disable', 'Disabled', 'refuse an API key and end every token it was given, at once'],
    ['enable', 'Enabled', 'let a disabled API key ask for tokens again; its old tokens stay dead'],
  ] as const) {
    keys
      .command(verb)
      .description(meaning)
      .argument('<client_id>')
      .option('--json', 'print JSON')
      .action(async (clientId: string, { json }: Json) => {
        const key = await withKeys((api) => api[verb](clientId));
        if (json === true) printJson(shownDocument(key));
        else printLine(`${good(done)} ${strong(key.name)} (${clientId}).`);
      });
  }

  keys
    .command('update')
    .description('change what an API key may do; what is not named stays as it is')
    .argument('<client_id>')
    .option('--name <name>', 'what the key is called')
    .option('--scope <scope>', 'all its scopes anew; may repeat', collect)
    .option('--default-scope <scope>', 'all its default scopes anew; may repeat', collect)
    .option('--origin <origin>', 'all its origins anew; may repeat', collect)
    .option('--audience <uri>', 'all its audiences anew; may repeat', collect)
    .option('--requests-per-second <count>', 'how many requests a second the key may make', Number)
    .option('--json', 'print JSON')
    .action(async (clientId: string, { json, ...options }: Json & UpdateOptions) => {
      const changes = given({
        name: options.name,
        scopes: options.scope,
        defaultScopes: options.defaultScope,
        origins: options.origin,
        audiences: options.audience,
        requestsPerSecond: options.requestsPerSecond,
      });
      if (Object.keys(changes).length === 0)
        throw new OperatorRefusal('Nothing was named to change. See: hallpass keys update --help');
      const key = await withKeys((api) => api.update(clientId, changes));
      if (json === true) return printJson(shownDocument(key));
      printLine(
        `${good('Changed')} ${strong(key.name)} (${clientId}). Tokens that are out live to their end; to end them: hallpass keys revoke-tokens ${clientId}`,
      );
      printKey(key);
    });

  keys
    .command('revoke-tokens')
    .description('end every token that an API key was given up to now; the key itself goes on')
    .argument('<client_id>')
    .option('--json', 'print JSON')
    .action(async (clientId: string, { json }: Json) => {
      await withKeys((api) => api.revokeTokens(clientId));
      if (json === true) printJson({ client_id: clientId, tokens_revoked: true });
      else printLine(`${good('Ended')} every token of ${clientId}.`);
    });

  keys
    .command('set-public-keys')
    .description(
      'replace the public keys of an API key that signs: the new one, and the old one for as long as it is in use',
    )
    .argument('<client_id>')
    .argument('<file>', 'a file with a JWK or a JWK Set')
    .option('--json', 'print JSON')
    .action(async (clientId: string, file: string, { json }: Json) => {
      const key = await withKeys((api) => api.setPublicKeys(clientId, readJwks(file)));
      if (json === true) printJson(shownDocument(key));
      else printLine(`${good('Changed')} the public keys of ${strong(key.name)} (${clientId}).`);
    });

  keys
    .command('delete')
    .description('delete an API key and end every token it was given, at once')
    .argument('<client_id>')
    .option('--dry-run', 'say what would be deleted, and delete nothing')
    .option('--yes', 'do not ask')
    .option('--json', 'print JSON, and do not ask')
    .action(async (clientId: string, options: Json & { readonly dryRun?: boolean; readonly yes?: boolean }) => {
      const key = await withKeys((api) => api.show(clientId));
      if (options.dryRun === true) {
        if (options.json === true) return printJson({ ...shownDocument(key), deleted: false });
        printLine(
          `${warn('Would delete')} this key. It cannot be brought back; to stop it for a while: hallpass keys disable ${clientId}`,
        );
        return printKey(key);
      }
      const ask = options.yes !== true && options.json !== true && process.stdin.isTTY;
      if (ask && !(await confirm(`Delete ${key.name} (${clientId}) for good?`)))
        return printLine('Nothing was deleted.');
      await withKeys((api) => api.delete(clientId));
      if (options.json === true) return printJson({ ...shownDocument(key), deleted: true });
      printLine(`${good('Deleted')} ${strong(key.name)} (${clientId}).`);
    });

  keys
    .command('rotate-secret')
    .description('give an API key a new secret; the old one works on for a while')
    .argument('<client_id>')
    .option(
      '--overlap <duration>',
      'how long the old secret works on, such as 90s, 15m, 24h, 7d; 0s ends it now',
      parseDuration,
      86_400_000,
    )
    .option('--json', 'print JSON')
    .action(async (clientId: string, { overlap, json }: Json & { readonly overlap: number }) => {
      const made = await withKeys((api) => api.rotateSecret(clientId, overlap));
      if (json === true) return printJson(madeDocument(made));
      const [, old] = made.client.secrets;
      printLine(`${good('Made')} a new secret for ${strong(made.client.name)}.`);
      printMade(made);
      printLine(
        old?.expiresAt === undefined
          ? 'The old secret has ended.'
          : `The old secret works until ${printMoment(old.expiresAt)}.`,
      );
    });

  return keys;
}

interface UpdateOptions {
  readonly name?: string;
  readonly scope?: readonly string[];
  readonly defaultScope?: readonly string[];
  readonly origin?: readonly string[];
  readonly audience?: readonly string[];
  readonly requestsPerSecond?: number;
}

type Given<Options> = { readonly [Name in keyof Options]?: Exclude<Options[Name], undefined> };

/** What was said on the command line, without what was not. */
function given<Options extends object>(options: Options): Given<Options>;
function given(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function readJwks(file: string): readonly unknown[] {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    throw new OperatorRefusal(`This file cannot be read, or is not JSON: ${file}. It should hold a JWK or a JWK Set.`);
  }
  if (typeof document === 'object' && document !== null && 'keys' in document && Array.isArray(document.keys)) {
    return document.keys;
  }
  return [document];
}

function parseSeconds(text: string): number {
  return parseDuration(text) / 1000;
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

const UNIT_MS = new Map([
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

function parseDuration(text: string): number {
  const [, count, unit = ''] = /^([0-9]{1,6})([a-z])$/.exec(text) ?? [];
  const unitMs = UNIT_MS.get(unit);
  if (unitMs === undefined) throw new InvalidArgumentError('A duration is a number with a unit: 90s, 15m, 24h, 7d.');
  return Number(count) * unitMs;
}

async function readImported({
  clientId,
  clientSecret,
  allowWeakSecret = false,
}: CreateOptions): Promise<
  { readonly clientId: string; readonly clientSecret: string; readonly allowWeak: boolean } | undefined
> {
  if (clientId === undefined && clientSecret === undefined) return undefined;
  if (clientId === undefined || clientSecret === undefined) {
    throw new OperatorRefusal('To import credentials give both --client-id and --client-secret.');
  }
  const secret = clientSecret === '-' ? (await readStandardInput()).trim() : clientSecret;
  return { clientId, clientSecret: secret, allowWeak: allowWeakSecret };
}

async function confirm(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${question} Type yes: `);
  terminal.close();
  return answer.trim().toLowerCase() === 'yes';
}

function lastUse({ secrets }: ShownApiKey): string | undefined {
  const last = Math.max(...secrets.map(({ lastUsedAt = 0 }) => lastUsedAt));
  return last > 0 ? printMoment(last) : undefined;
}

/** The members of the JSON forms have the names that the wire has for them. */
function shownDocument(key: Omit<ShownApiKey, 'secrets'> & { readonly secrets: ShownApiKey['secrets'] }): object {
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
    refresh_grace_seconds: key.refreshGraceSeconds ?? null,
    requests_per_second: key.requestsPerSecond ?? null,
    disabled: key.disabled,
    created_at: new Date(key.createdAt).toISOString(),
    updated_at: new Date(key.updatedAt).toISOString(),
    secrets: key.secrets.map(({ secretId, createdAt, expiresAt, lastUsedAt }) => ({
      secret_id: secretId,
      created_at: new Date(createdAt).toISOString(),
      expires_at: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
      last_used_at: lastUsedAt === undefined ? null : new Date(lastUsedAt).toISOString(),
    })),
  };
}

function madeDocument({ client, clientSecret }: MadeApiKey): object {
  return { client_id: client.clientId, client_secret: clientSecret ?? null, ...shownDocument(client) };
}

function printMade({ client, clientSecret }: MadeApiKey): void {
  printFields([
    ['client_id', client.clientId],
    ['client_secret', clientSecret],
    ['scopes', client.scopes.join(' ')],
    ['resource server for', client.resourceServerFor.join(' ')],
  ]);
  if (clientSecret === undefined)
    printLine('It has no secret: it signs an assertion with each request (private_key_jwt).');
  else printLine(warn('The secret is shown this once. Keep it where your other secrets are.'));
}

function printKey(key: ShownApiKey): void {
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
    ['authenticates by', key.authentication === 'private_key_jwt' ? 'signed assertions' : undefined],
    ['bound tokens only', key.requireDpop ? 'yes' : undefined],
    ['access tokens', key.accessTokenFormat === 'opaque' ? 'opaque' : undefined],
    ['access tokens live', seconds(key.accessTtlSeconds)],
    ['grants live', seconds(key.refreshTtlSeconds)],
    ['requests a second', key.requestsPerSecond?.toString()],
    ['made', printMoment(key.createdAt)],
    ['changed', printMoment(key.updatedAt)],
    ...key.secrets.map(({ secretId, createdAt, expiresAt, lastUsedAt }, at) => {
      const until = expiresAt === undefined ? '' : `, until ${printMoment(expiresAt)}`;
      const used = lastUsedAt === undefined ? 'never used' : `last used ${printMoment(lastUsedAt)}`;
      return [`secret ${at + 1}`, `${secretId}, made ${printMoment(createdAt)}${until}, ${used}`] as const;
    }),
  ]);
}

function seconds(count: number | undefined): string | undefined {
  return count === undefined ? undefined : `${count} s`;
}
