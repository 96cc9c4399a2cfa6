/**
 * The files that keys are imported from, as rows of what each key is to be: CSV, JSON as `hallpass keys list --json` prints
 * it, and the client export of Ory Hydra. No sentence about a file repeats what could be a secret.
 */
import { CLIENTS_MAX } from '../../store/store.ts';
import { CSV_SEPARATORS, parseCsv, type CsvSeparator } from './csv.ts';
import { isHydras, readHydra } from './hydra.ts';
import {
  BadRow,
  checkCount,
  choiceOf,
  flagOf,
  keysOf,
  listOf,
  membersOf,
  nameAfter,
  numberOf,
  present,
  readRow,
  textOf,
  type ImportedKey,
  type ImportFile,
  type ImportRow,
  type Members,
  type ReadOptions,
} from './rows.ts';
import { AUTHENTICATIONS, type NewApiKey } from '../key_policy.ts';
import { OperatorRefusal } from '../operator_refusal.ts';

/** The largest file, in bytes. */
export const IMPORT_BYTES_MAX = 64 * 1024 * 1024;

/** The rows of a file. Throws `OperatorRefusal` when it cannot be read at all. */
export function readImportFile(bytes: Uint8Array, options: ReadOptions): ImportFile {
  const text = decode(bytes);
  const looksLikeJson = /^\s*[[{]/.test(text);
  if (options.format === 'csv' || (options.format === undefined && !looksLikeJson)) {
    return readCsv(text, options);
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
  authentication: 'text',
  require_dpop: 'flag',
  access_token_format: 'text',
  access_ttl_seconds: 'number',
  refresh_ttl_seconds: 'number',
  refresh_max_ttl_seconds: 'number',
  refresh_grace_seconds: 'number',
  requests_per_second: 'number',
  disabled: 'flag',
  // In JSON alone: what a cell cannot hold, and what our own output says beside.
  public_keys: 'keys',
  created_at: 'ignored',
  updated_at: 'ignored',
  refresh_suspicions: 'ignored',
  secrets: 'ignored',
};
const COLUMNS = Object.entries(MEMBERS).flatMap(([name, kind]) =>
  kind === 'keys' || kind === 'ignored' ? [] : [name],
);

// CSV

const SEPARATOR_NAMES: Record<CsvSeparator, string> = { ',': 'commas', ';': 'semicolons', '\t': 'tabs' };

/** What separates the columns: whatever leaves `client_id` standing by itself in the first line. Only names stand there. */
function separatorOf(text: string): CsvSeparator {
  const [header = ''] = /[^\r\n]+/.exec(text) ?? [];
  const columns = (separator: CsvSeparator): readonly string[] =>
    header.split(separator).map((name) => name.replaceAll(/^"|"$/g, ''));
  return CSV_SEPARATORS.find((separator) => columns(separator).includes('client_id')) ?? ',';
}

function readCsv(text: string, options: ReadOptions): ImportFile {
  const separator = separatorOf(text);
  const rows = readRows(text, separator, options);
  const remarks = separator === ',' ? [] : [`Its columns are separated by ${SEPARATOR_NAMES[separator]}.`];
  return { format: 'csv', rows, remarks };
}

function readRows(text: string, separator: CsvSeparator, options: ReadOptions): readonly ImportRow[] {
  const records = parseCsv(text, CLIENTS_MAX + 1, separator);
  if ('fault' in records) throw new OperatorRefusal(`Line ${records.line} cannot be read as CSV: ${records.fault}.`);
  const [header, ...rows] = records;
  const columns = checkHeader(header?.fields ?? []);
  return rows.map(({ line, fields }) =>
    readRow(`line ${line}`, () => {
      if (fields.length !== columns.length) {
        throw new BadRow(
          `It has ${fields.length} fields, and the header has ${columns.length}. The header separates them by ${SEPARATOR_NAMES[separator]}: quote a field that holds one.`,
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
      `The first line of a CSV file names its columns, separated by commas, semicolons or tabs, and client_id must be among them: ${COLUMNS.join(',')}. (It must not be a key already.)`,
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
    authentication: authenticationOf(members, { policy, signs: publicKeys.length > 0 }),
    requireDpop: flagOf(members, 'require_dpop'),
    accessTokenFormat: choiceOf(members, 'access_token_format', ['jwt', 'opaque']),
    accessTtlSeconds: numberOf(members, 'access_ttl_seconds'),
    refreshTtlSeconds: numberOf(members, 'refresh_ttl_seconds'),
    refreshMaxTtlSeconds: numberOf(members, 'refresh_max_ttl_seconds'),
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

/** What the options say of the method is for keys with a secret. */
function authenticationOf(
  members: Members,
  { policy, signs }: Pick<ReadOptions, 'policy'> & { readonly signs: boolean },
): NewApiKey['authentication'] {
  const said = choiceOf(members, 'authentication', AUTHENTICATIONS);
  return said ?? (signs ? 'private_key_jwt' : policy.authentication);
}
