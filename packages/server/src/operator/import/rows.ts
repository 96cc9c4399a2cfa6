/** The rows of a file of keys, and how the members of one are read, whatever the format. */
import { isObject } from '@hallpass/protocol';
import { CLIENTS_MAX } from '../../store/store.ts';
import { hasTypeOf, KEY_FIELD_ROWS, mustBe, NAME_LENGTH_MAX, type KeyFieldValues } from '../key_fields.ts';
import type { ImportedCredentials, NewApiKey } from '../key_policy.ts';
import { OperatorRefusal, operatorRefusal } from '../operator_refusal.ts';

/** The formats of a file of keys: CSV, JSON as `keys list` prints it, and Ory Hydra's client export. */
export const IMPORT_FORMATS = ['csv', 'json', 'hydra'] as const;
/** One of them. */
export type ImportFormat = (typeof IMPORT_FORMATS)[number];

/** What a key is to be, with credentials that already exist. */
export type ImportedKey = NewApiKey & { readonly imported: ImportedCredentials };

/** A key of the file, or why it is refused; `at` is its place: `line 7`, `item 3`. */
export type ImportRow = { readonly at: string } & (
  | { readonly wanted: ImportedKey }
  | { readonly fault: OperatorRefusal }
);

/** What a file holds, with what the operator should know about it. */
export interface ImportFile {
  readonly format: ImportFormat;
  readonly rows: readonly ImportRow[];
  readonly remarks: readonly FileRemark[];
}

/** `incomplete`: it is one page of several. The others: a CSV file that is not separated by commas. */
export type FileRemark = 'semicolons' | 'tabs' | 'incomplete';

/** How to read a file. */
export interface ReadOptions {
  /** Left out: guessed from how the file begins. */
  readonly format?: ImportFormat;
  /** Values for fields that the file leaves out. Hydra's export speaks another language, so for that they win. */
  readonly policy: Omit<KeyFieldValues, 'name' | 'publicKeys'>;
  /** Whether a secret that could be guessed is accepted. */
  readonly allowWeak: boolean;
}

/** Values as JSON has them, or as CSV is turned into them; an absent one is left out. */
export type Members = ReadonlyMap<string, unknown>;

/** Throws when the file has more keys than a store holds. */
export function checkCount(items: readonly unknown[]): void {
  if (items.length > CLIENTS_MAX) throw operatorRefusal('file_with_too_many_keys', { max: CLIENTS_MAX });
}

/** The members of an object; null is absent. */
export function membersOf(item: unknown): Members {
  if (!isObject(item)) throw operatorRefusal('row_not_an_object', {});
  return new Map(Object.entries(item).filter(([, value]) => value !== null));
}

/** The name of a key that has none: its id, cut to the length of a name. */
export function nameAfter(clientId: string): string {
  return clientId.slice(0, NAME_LENGTH_MAX);
}

/** An object without its undefined members. */
export type Present<Values> = { readonly [Name in keyof Values]?: Exclude<Values[Name], undefined> };

/** Leaves out the members that are undefined. */
export function present<Values extends object>(values: Values): Present<Values>;
export function present(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** The values of the table's fields in a row. Throws on one of the wrong type; bounds are checked later. */
export function fieldsOf(members: Members): KeyFieldValues;
export function fieldsOf(members: Members): object {
  const given = KEY_FIELD_ROWS.flatMap(([name, field]) => {
    const value = members.get(field.wire);
    if (value === undefined || (field.kind === 'text' && value === '')) return [];
    if (!hasTypeOf(field, value)) throw malformed(field.wire, mustBe(field));
    return [[name, value] as const];
  });
  return Object.fromEntries(given);
}

/** A text; undefined when it is absent or empty. */
export function textOf(members: Members, name: string): string | undefined {
  const value = members.get(name);
  if (value === undefined || value === '') return undefined;
  if (typeof value === 'string') return value;
  throw malformed(name, 'a string');
}

/** A list of texts; undefined when it is absent. */
export function listOf(members: Members, name: string): readonly string[] | undefined {
  const value = members.get(name);
  if (value === undefined) return undefined;
  if (isTexts(value)) return value;
  throw malformed(name, 'a list of texts');
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/** True, false, or undefined when it is absent. */
export function flagOf(members: Members, name: string): boolean | undefined {
  const value = members.get(name);
  if (value === undefined || typeof value === 'boolean') return value;
  throw malformed(name, 'true or false');
}

function malformed(member: string, must: string): OperatorRefusal {
  return operatorRefusal('member_malformed', { member, must });
}

/** A row, as a key or as the refusal that reading it ended with. */
export function readRow(at: string, read: () => ImportedKey): ImportRow {
  try {
    return { at, wanted: read() };
  } catch (error) {
    if (error instanceof OperatorRefusal) return { at, fault: error };
    throw error;
  }
}
