/**
 * The files that keys are imported from, as rows of what each key is to be: CSV, JSON as `keys list` prints it, and the
 * client export of Ory Hydra. No refusal repeats what could be a secret.
 */
import { CLIENTS_MAX } from '../../store/store.ts';
import { KEY_FIELD_ROWS } from '../key_fields.ts';
import { operatorRefusal } from '../operator_refusal.ts';
import { CSV_SEPARATORS, parseCsv, type CsvRecord, type CsvSeparator } from './csv.ts';
import { isHydras, readHydra } from './hydra.ts';
import {
  checkCount,
  fieldsOf,
  flagOf,
  membersOf,
  nameAfter,
  present,
  readRow,
  textOf,
  type FileRemark,
  type ImportedKey,
  type ImportFile,
  type ImportRow,
  type Members,
  type ReadOptions,
} from './rows.ts';

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
  if (bytes.length > IMPORT_BYTES_MAX) throw operatorRefusal('file_too_large', { max: IMPORT_BYTES_MAX });
  try {
    // Drops the byte order mark that spreadsheets put in front.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw operatorRefusal('file_not_utf8', {});
  }
}

// What a row may hold

/** How a cell of CSV is read; `json_only` does not fit into a cell. */
type Kind = 'text' | 'list' | 'flag' | 'number' | 'json_only';

/** Members about the credentials, which no field of the table covers. */
const CREDENTIALS: readonly (readonly [member: string, kind: Kind])[] = [
  ['client_id', 'text'],
  ['client_secret', 'text'],
  ['client_secret_hash', 'text'],
];

const CELL_KINDS = {
  text: 'text',
  choice: 'text',
  list: 'list',
  switch: 'flag',
  number: 'number',
  public_keys: 'json_only',
} as const;

/** What a row may say, with how it is read. */
const IMPORT_MEMBERS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ...CREDENTIALS,
  ...KEY_FIELD_ROWS.map(([, { wire, kind }]) => [wire, CELL_KINDS[kind]] as const),
  ['disabled', 'flag'],
]);

/** The columns that CSV may have. */
const IMPORT_COLUMNS: readonly string[] = [...IMPORT_MEMBERS].flatMap(([name, kind]) =>
  kind === 'json_only' ? [] : [name],
);

/** What `keys list` prints about a key besides, and a row may repeat. */
const IGNORED: ReadonlySet<string> = new Set(['created_at', 'updated_at', 'refresh_suspicions', 'secrets']);

// CSV

const SEPARATOR_REMARKS: Readonly<Record<CsvSeparator, readonly FileRemark[]>> = {
  ',': [],
  ';': ['semicolons'],
  '\t': ['tabs'],
};

function readCsv(text: string, options: ReadOptions): ImportFile {
  const separator = separatorOf(text);
  // A header, as many keys as a store holds, and one more that shows that there are too many.
  const [header, ...records] = parseCsv(text, separator, CLIENTS_MAX + 2);
  checkCount(records);
  const columns = checkHeader(header?.fields ?? []);
  const remarks = SEPARATOR_REMARKS[separator];
  const [separators = 'commas'] = remarks;
  const rows = records.map((record) =>
    readRow(`line ${record.line}`, () => keyOf(membersOfRecord(record, { columns, separators }), options)),
  );
  return { format: 'csv', rows, remarks };
}

/** More than a header of every column needs. */
const HEADER_LENGTH_MAX = 65_536;

/** What separates the columns: whatever leaves `client_id` on its own in the first line. Only names stand there. */
function separatorOf(text: string): CsvSeparator {
  const [header = ''] = /[^\r\n]+/.exec(text.slice(0, HEADER_LENGTH_MAX)) ?? [];
  const columns = (separator: CsvSeparator): readonly string[] =>
    header.split(separator).map((name) => name.replaceAll(/^"|"$/g, ''));
  return CSV_SEPARATORS.find((separator) => columns(separator).includes('client_id')) ?? ',';
}

function checkHeader(columns: readonly string[]): readonly string[] {
  // A file without a header has a key on its first line, and nothing of that may be repeated.
  if (!columns.includes('client_id')) throw operatorRefusal('file_without_header', { columns: IMPORT_COLUMNS });
  for (const [at, name] of columns.entries()) {
    if (!IMPORT_COLUMNS.includes(name))
      throw operatorRefusal('column_unknown', { name: showable(name), at: at + 1, columns: IMPORT_COLUMNS });
    if (columns.indexOf(name) !== at) throw operatorRefusal('column_repeated', { name });
  }
  return columns;
}

/** A name that is not ours, if it looks like a name and not like a value in the wrong place. */
function showable(name: string): string | undefined {
  return /^[a-z_]{1,40}$/i.test(name) ? name : undefined;
}

function membersOfRecord(
  { fields }: CsvRecord,
  { columns, separators }: { readonly columns: readonly string[]; readonly separators: string },
): Members {
  if (fields.length !== columns.length)
    throw operatorRefusal('row_with_other_columns', { fields: fields.length, columns: columns.length, separators });
  const given = columns.flatMap((name, at) => {
    const field = fields[at] ?? '';
    return field === '' ? [] : [[name, valueOf(name, field)] as const];
  });
  return new Map(given);
}

/** A cell as the value that it would be in JSON. One that is malformed stays a text, and is refused as such. */
function valueOf(name: string, field: string): unknown {
  const kind = IMPORT_MEMBERS.get(name);
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
    throw operatorRefusal('file_not_json', { line: line === undefined ? undefined : Number(line) });
  }
}

function readJson(document: unknown, options: ReadOptions): readonly ImportRow[] {
  if (!Array.isArray(document)) throw operatorRefusal('file_not_array', {});
  const items: readonly unknown[] = document;
  checkCount(items);
  return items.map((item, at) =>
    readRow(`item ${at + 1}`, () => {
      const members = membersOf(item);
      for (const [place, name] of [...members.keys()].entries()) {
        if (IMPORT_MEMBERS.has(name) || IGNORED.has(name)) continue;
        const known = [...IMPORT_MEMBERS.keys()];
        throw operatorRefusal('member_unknown', { name: showable(name), at: place + 1, members: known });
      }
      return keyOf(members, options);
    }),
  );
}

// A key, by our names

function keyOf(members: Members, { policy, allowWeak }: ReadOptions): ImportedKey {
  const clientId = textOf(members, 'client_id');
  if (clientId === undefined) throw operatorRefusal('row_without_client_id', {});
  const clientSecret = textOf(members, 'client_secret');
  const clientSecretHash = textOf(members, 'client_secret_hash');
  const { publicKeys = [], ...fields } = fieldsOf(members);
  const signs = publicKeys.length > 0;
  if (clientSecret === undefined && clientSecretHash === undefined && !signs)
    throw operatorRefusal('row_without_credential', {});
  // An option about the method is for keys with a secret.
  const otherwise = signs ? { ...policy, authentication: 'private_key_jwt' as const } : policy;
  return {
    ...otherwise,
    ...fields,
    name: fields.name ?? nameAfter(clientId),
    publicKeys,
    imported: {
      clientId,
      allowWeak,
      ...present({ clientSecret, clientSecretHash, disabled: flagOf(members, 'disabled') }),
    },
  };
}
