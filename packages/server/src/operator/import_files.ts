/**
 * The files that keys are imported from, as rows of what each key is to be: CSV, JSON as `hallpass keys list --json` prints
 * it, and the client export of Ory Hydra. No sentence about a file repeats what could be a secret.
 */
import { ACCESS_TOKEN_SECONDS_MAX } from '@hallpass/protocol';
import { CLIENTS_MAX } from '../store/store.ts';
import { NAME_LENGTH_MAX, type ImportedCredentials, type NewApiKey } from './key_policy.ts';
import { OperatorRefusal } from './operator_refusal.ts';
import { parseCsv } from './csv.ts';

/** The largest file, in bytes. */
export const IMPORT_BYTES_MAX = 64 * 1024 * 1024;

export const IMPORT_FORMATS = ['csv', 'json', 'hydra'] as const;
export type ImportFormat = (typeof IMPORT_FORMATS)[number];

/** What a key is to be, with credentials that exist already. */
export type ImportedKey = NewApiKey & { readonly imported: ImportedCredentials };

/** A key of the file, or what is wrong with it; `at` says where it stands: `line 7`, `item 3`. */
export type ImportRow = { readonly at: string } & ({ readonly wanted: ImportedKey } | { readonly fault: string });

export interface ImportFile {
  readonly format: ImportFormat;
  readonly rows: readonly ImportRow[];
  /** What whoever imports it should know, in sentences. */
  readonly remarks: readonly string[];
}

export interface ReadOptions {
  /** Left out: guessed from how the file begins. */
  readonly format?: ImportFormat;
  /** What the file does not say; for Hydra's export, whose words are not ours, also what it does say. */
  readonly policy: Partial<Omit<NewApiKey, 'name' | 'imported' | 'publicKeys'>>;
  readonly allowWeak: boolean;
}

/** The rows of a file. Throws `OperatorRefusal` when it cannot be read at all. */
export function readImportFile(bytes: Uint8Array, options: ReadOptions): ImportFile {
  const text = decode(bytes);
  const looksLikeJson = /^\s*[[{]/.test(text);
  if (options.format === 'csv' || (options.format === undefined && !looksLikeJson)) {
    return { format: 'csv', rows: readCsv(text, options), remarks: [] };
  }
  const document = parseJson(text);
  const format = options.format ?? (isHydras(document) ? 'hydra' : 'json');
  return format === 'hydra' ? readHydra(document, options) : { format, rows: readJson(document, options), remarks: [] };
}

function decode(bytes: Uint8Array): string {
  if (bytes.length > IMPORT_BYTES_MAX)
    throw new OperatorRefusal(`The file is larger than ${IMPORT_BYTES_MAX / 1024 / 1024} MiB. Split it.`);
  try {
    // Drops a byte order mark, which spreadsheets put in front.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new OperatorRefusal('The file is not UTF-8. Save it as UTF-8.');
  }
}

/** A value as it stands in JSON, or as CSV is turned into it; an absent one is left out. */
type Members = ReadonlyMap<string, unknown>;

type Kind = 'text' | 'list' | 'flag' | 'number' | 'keys' | 'ignored';

/** What a key of a file may say, by the names that `hallpass keys list --json` has, and the two that it never prints. */
const MEMBERS: Readonly<Record<string, Kind>> = {
  client_id: 'text',
  client_secret: 'text',
  client_secret_hash: 'text',
  name: 'text',
  mode: 'text',
  scopes: 'list',
  default_scopes: 'list',
  audiences: 'list',
  resource_server_for: 'list',
  origins: 'list',
  require_origin: 'flag',
  refresh: 'flag',
  require_dpop: 'flag',
  access_token_format: 'text',
  access_ttl_seconds: 'number',
  refresh_ttl_seconds: 'number',
  refresh_grace_seconds: 'number',
  requests_per_second: 'number',
  disabled: 'flag',
  // In JSON alone: what a cell cannot hold, and what our own output says beside.
  public_keys: 'keys',
  authentication: 'ignored',
  created_at: 'ignored',
  updated_at: 'ignored',
  secrets: 'ignored',
};
const COLUMNS = Object.entries(MEMBERS).flatMap(([name, kind]) =>
  kind === 'keys' || kind === 'ignored' ? [] : [name],
);

/** Something that is wrong with one row. */
class BadRow extends Error {
  override readonly name = 'BadRow';
}

// CSV

function readCsv(text: string, options: ReadOptions): readonly ImportRow[] {
  const records = parseCsv(text, CLIENTS_MAX + 1);
  if ('fault' in records) throw new OperatorRefusal(`Line ${records.line} cannot be read as CSV: ${records.fault}.`);
  const [header, ...rows] = records;
  const columns = checkHeader(header?.fields ?? []);
  return rows.map(({ line, fields }) =>
    readRow(`line ${line}`, () => {
      if (fields.length !== columns.length) {
        throw new BadRow(
          `It has ${fields.length} fields, and the header has ${columns.length}. Quote a field that holds a comma.`,
        );
      }
      const members = columns.flatMap((name, at) => {
        const field = fields[at] ?? '';
        return field === '' ? [] : [[name, valueOf(name, field)] as const];
      });
      return keyOf(new Map(members), options);
    }),
  );
}

function checkHeader(columns: readonly string[]): readonly string[] {
  // A file without a header has a key on its first line, of which nothing may be repeated here.
  if (!columns.includes('client_id'))
    throw new OperatorRefusal(
      `The first line of a CSV file names its columns, and client_id must be among them: ${COLUMNS.join(',')}. (It must not be a key already.)`,
    );
  for (const [at, name] of columns.entries()) {
    if (!COLUMNS.includes(name))
      throw new OperatorRefusal(`There is no column ${shown(name, at)}. Those that are read: ${COLUMNS.join(', ')}.`);
    if (columns.indexOf(name) !== at) throw new OperatorRefusal(`The column ${name} is there twice. Leave one out.`);
  }
  return columns;
}

/** A name that is not ours, if it looks like one and not like a value that stands where a name should. */
function shown(name: string, at: number): string {
  return /^[a-z_]{1,40}$/i.test(name) ? name : `like the ${at + 1}. (not shown: it could be a secret)`;
}

/** A cell as the value that it would be in JSON; what is none stays a text, and is refused as such. */
function valueOf(name: string, field: string): unknown {
  const kind = MEMBERS[name];
  if (kind === 'list') return field.split(' ').filter((item) => item !== '');
  if (kind === 'flag' && (field === 'true' || field === 'false')) return field === 'true';
  return kind === 'number' && /^[0-9]{1,10}$/.test(field) ? Number(field) : field;
}

// JSON

function parseJson(text: string): unknown {
  try {
    const document: unknown = JSON.parse(text);
    return document;
  } catch (error) {
    // Not its sentence, which repeats a piece of the file.
    const [, line] = /\(line ([0-9]+) column [0-9]+\)/.exec(error instanceof Error ? error.message : '') ?? [];
    throw new OperatorRefusal(`The file is not JSON${line === undefined ? '' : `: line ${line}`}.`);
  }
}

function readJson(document: unknown, options: ReadOptions): readonly ImportRow[] {
  if (!Array.isArray(document))
    throw new OperatorRefusal('A JSON file holds an array of keys, as hallpass keys list --json prints it.');
  const items: readonly unknown[] = document;
  checkCount(items);
  return items.map((item, at) =>
    readRow(`item ${at + 1}`, () => {
      const members = membersOf(item);
      for (const [place, name] of [...members.keys()].entries()) {
        if (!Object.hasOwn(MEMBERS, name))
          throw new BadRow(
            `There is no member ${shown(name, place)}. Those that are read: ${COLUMNS.join(', ')}, public_keys.`,
          );
      }
      return keyOf(members, options);
    }),
  );
}

function checkCount(items: readonly unknown[]): void {
  if (items.length > CLIENTS_MAX)
    throw new OperatorRefusal(`The file has more than ${CLIENTS_MAX} keys, which is as many as a store keeps.`);
}

/** The members of an object; null is absent. */
function membersOf(item: unknown): Members {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) throw new BadRow('It is not a JSON object.');
  return new Map(Object.entries(item).filter(([, value]) => value !== null));
}

// A key, by our names

function keyOf(members: Members, { policy, allowWeak }: ReadOptions): ImportedKey {
  const clientId = textOf(members, 'client_id');
  if (clientId === undefined) throw new BadRow('It has no client_id.');
  const clientSecret = textOf(members, 'client_secret');
  const clientSecretHash = textOf(members, 'client_secret_hash');
  const publicKeys = keysOf(members, 'public_keys');
  if (clientSecret === undefined && clientSecretHash === undefined && publicKeys.length === 0)
    throw new BadRow('It has neither client_secret nor client_secret_hash. Give it one of them.');
  const said = {
    mode: choiceOf(members, 'mode', ['test', 'live']),
    scopes: listOf(members, 'scopes'),
    defaultScopes: listOf(members, 'default_scopes'),
    audiences: listOf(members, 'audiences'),
    resourceServerFor: listOf(members, 'resource_server_for'),
    origins: listOf(members, 'origins'),
    requireOrigin: flagOf(members, 'require_origin'),
    refresh: flagOf(members, 'refresh'),
    requireDpop: flagOf(members, 'require_dpop'),
    accessTokenFormat: choiceOf(members, 'access_token_format', ['jwt', 'opaque']),
    accessTtlSeconds: numberOf(members, 'access_ttl_seconds'),
    refreshTtlSeconds: numberOf(members, 'refresh_ttl_seconds'),
    refreshGraceSeconds: numberOf(members, 'refresh_grace_seconds'),
    requestsPerSecond: numberOf(members, 'requests_per_second'),
  };
  return {
    ...policy,
    ...present(said),
    name: textOf(members, 'name') ?? nameAfter(clientId),
    publicKeys,
    imported: {
      clientId,
      allowWeak,
      ...present({ clientSecret, clientSecretHash, disabled: flagOf(members, 'disabled') }),
    },
  };
}

/** What a key is called that has no name of its own. */
function nameAfter(clientId: string): string {
  return clientId.slice(0, NAME_LENGTH_MAX);
}

type Present<Values> = { readonly [Name in keyof Values]?: Exclude<Values[Name], undefined> };

/** What was said, without what was not. */
function present<Values extends object>(values: Values): Present<Values>;
function present(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function textOf(members: Members, name: string): string | undefined {
  const value = members.get(name);
  if (value === undefined || value === '') return undefined;
  if (typeof value === 'string') return value;
  throw new BadRow(`${name} must be a text.`);
}

function listOf(members: Members, name: string): readonly string[] | undefined {
  const value = members.get(name);
  if (value === undefined) return undefined;
  if (isTexts(value)) return value;
  throw new BadRow(`${name} must be a list of texts.`);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function keysOf(members: Members, name: string): readonly unknown[] {
  const value = members.get(name) ?? [];
  if (Array.isArray(value)) return value;
  throw new BadRow(`${name} must be a list of JWKs.`);
}

function flagOf(members: Members, name: string): boolean | undefined {
  const value = members.get(name);
  if (value === undefined || typeof value === 'boolean') return value;
  throw new BadRow(`${name} must be true or false.`);
}

function numberOf(members: Members, name: string): number | undefined {
  const value = members.get(name);
  if (value === undefined || typeof value === 'number') return value;
  throw new BadRow(`${name} must be a whole number.`);
}

function choiceOf<Choice extends string>(
  members: Members,
  name: string,
  choices: readonly Choice[],
): Choice | undefined {
  const value = members.get(name);
  if (value === undefined) return undefined;
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined) throw new BadRow(`${name} must be ${choices.join(' or ')}.`);
  return choice;
}

function readRow(at: string, read: () => ImportedKey): ImportRow {
  try {
    return { at, wanted: read() };
  } catch (error) {
    if (error instanceof BadRow) return { at, fault: error.message };
    throw error;
  }
}

// Ory Hydra

/**
 * Hydra 2.x: `hydra list oauth2-clients --format json` prints `{ "items": [...], "next_page_token", "is_last_page" }`, GET
 * /admin/clients an array, `hydra get oauth2-client` one object; the members are RFC 7591's and some of its own, and
 * those that a key here has nothing like (redirect URIs, consent, log-out) are left out. Neither says secrets: the hashes
 * are in the column `client_secret` of the table `hydra_client`, and belong into the member of that name
 * (docs/operating.md).
 */
function readHydra(document: unknown, options: ReadOptions): ImportFile {
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
function isHydras(document: unknown): boolean {
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
    name: textOf(members, 'client_name') ?? nameAfter(clientId),
    ...hydrasCredentials(members, { clientId, allowWeak }),
  };
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
