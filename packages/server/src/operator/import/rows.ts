/** The rows of a file of keys, and how the members of one are read, whatever the file was. */
import { isObject } from '@hallpass/protocol';
import { CLIENTS_MAX } from '../../store/store.ts';
import { NAME_LENGTH_MAX, type ImportedCredentials, type NewApiKey } from '../key_policy.ts';
import { OperatorRefusal } from '../operator_refusal.ts';

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

/** A value as it stands in JSON, or as CSV is turned into it; an absent one is left out. */
export type Members = ReadonlyMap<string, unknown>;

/** Something that is wrong with one row. */
export class BadRow extends Error {
  override readonly name = 'BadRow';
}

export function checkCount(items: readonly unknown[]): void {
  if (items.length > CLIENTS_MAX)
    throw new OperatorRefusal(`The file has more than ${CLIENTS_MAX} keys, which is as many as a store keeps.`);
}

/** The members of an object; null is absent. */
export function membersOf(item: unknown): Members {
  if (!isObject(item)) throw new BadRow('It is not a JSON object.');
  return new Map(Object.entries(item).filter(([, value]) => value !== null));
}

/** What a key is called that has no name of its own. */
export function nameAfter(clientId: string): string {
  return clientId.slice(0, NAME_LENGTH_MAX);
}

export type Present<Values> = { readonly [Name in keyof Values]?: Exclude<Values[Name], undefined> };

/** What was said, without what was not. */
export function present<Values extends object>(values: Values): Present<Values>;
export function present(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

export function textOf(members: Members, name: string): string | undefined {
  const value = members.get(name);
  if (value === undefined || value === '') return undefined;
  if (typeof value === 'string') return value;
  throw new BadRow(`${name} must be a text.`);
}

export function listOf(members: Members, name: string): readonly string[] | undefined {
  const value = members.get(name);
  if (value === undefined) return undefined;
  if (isTexts(value)) return value;
  throw new BadRow(`${name} must be a list of texts.`);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

export function keysOf(members: Members, name: string): readonly unknown[] {
  const value = members.get(name) ?? [];
  if (Array.isArray(value)) return value;
  throw new BadRow(`${name} must be a list of JWKs.`);
}

export function flagOf(members: Members, name: string): boolean | undefined {
  const value = members.get(name);
  if (value === undefined || typeof value === 'boolean') return value;
  throw new BadRow(`${name} must be true or false.`);
}

export function numberOf(members: Members, name: string): number | undefined {
  const value = members.get(name);
  if (value === undefined || typeof value === 'number') return value;
  throw new BadRow(`${name} must be a whole number.`);
}

export function choiceOf<Choice extends string>(
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

export function readRow(at: string, read: () => ImportedKey): ImportRow {
  try {
    return { at, wanted: read() };
  } catch (error) {
    if (error instanceof BadRow) return { at, fault: error.message };
    throw error;
  }
}
