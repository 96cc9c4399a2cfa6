/** What is wrong with a policy or its file, and where. Every fault is collected, so that you can fix them all at once. */
import { flattenControls, isObject } from '@hallpass/protocol';

/** The kinds of faults. */
export type PolicyFaultKind =
  | 'unreadable'
  | 'malformed'
  | 'unsupported'
  | 'unknown_member'
  | 'bad_reference'
  | 'bad_server'
  | 'bad_path'
  | 'bad_scope'
  | 'several_scopes'
  | 'unknown_parameter'
  | 'unmapped'
  | 'ambiguous'
  | 'bad_overlay'
  | 'stale'
  | 'ignored';

/** One fault: what is wrong, where, and what to do about it. */
export interface PolicyFault {
  readonly kind: PolicyFaultKind;
  /** The file; undefined for a document from memory. */
  readonly file?: string;
  /** The line in the file, counted from 1, if it is known. */
  readonly line?: number;
  /** The place in the document, as a JSON Pointer (RFC 6901). */
  readonly pointer: string;
  /** The operation that it is about, if any, such as `GET /accounts`. `*` stands for every method of the path. */
  readonly operation?: string;
  readonly sentence: string;
}

/** The names that lead from the root of a document to a place in it. */
export type Place = readonly string[];

/** A document and where it comes from. */
export interface Source {
  /** Undefined for a document from memory. */
  readonly file?: string;
  readonly document: unknown;
  /** The line of a place, counted from 1, or of the nearest place around it; undefined if lines are unknown. */
  readonly lineOf: (place: Place) => number | undefined;
}

/** A value and where it is written. */
export interface Spot {
  readonly source: Source;
  readonly place: Place;
  readonly value: unknown;
}

/** The whole document of a source. */
export function rootOf(source: Source): Spot {
  return { source, place: [], value: source.document };
}

/** The spot inside another one, by the names that lead there. Its value is undefined if nothing is there. */
export function inside({ source, place, value }: Spot, ...names: Place): Spot {
  return { source, place: [...place, ...names], value: at(value, names) };
}

/** No policy can be made of a document. `faults` holds everything that is wrong; the message has one line for each. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly faults: readonly PolicyFault[];

  constructor(faults: readonly PolicyFault[]) {
    super(faults.map(printFault).join('\n'));
    this.faults = faults;
  }
}

/** Prints a fault on one line: where it is, the operation, what to do. Safe to write to a terminal. */
export function printFault({ file, line, pointer, operation, sentence }: PolicyFault): string {
  const name = file === undefined ? undefined : flattenControls(file);
  const where = line === undefined ? `${name ?? ''}#${pointer}` : `${name ?? 'line'}:${line}`;
  return `${where}: ${operation === undefined ? '' : `${operation}: `}${sentence}`;
}

/** Makes a fault of a kind at a spot. */
export function faultAt(
  kind: PolicyFaultKind,
  { source, place }: Pick<Spot, 'source' | 'place'>,
  sentence: string,
  operation?: string,
): PolicyFault {
  const line = source.lineOf(place);
  return {
    kind,
    pointer: printPointer(place),
    sentence: flattenControls(sentence),
    ...(source.file === undefined ? {} : { file: source.file }),
    ...(line === undefined ? {} : { line }),
    ...(operation === undefined ? {} : { operation: flattenControls(operation) }),
  };
}

/** The same fault, about an operation. */
export function ofOperation(fault: PolicyFault, operation: string): PolicyFault {
  return { ...fault, operation: flattenControls(operation) };
}

/** A fault of a text that cannot be parsed, with its line if it is known. */
export function faultOnLine(file: string, line: number | undefined, sentence: string): PolicyFault {
  return faultAt('malformed', { source: { file, document: undefined, lineOf: () => line }, place: [] }, sentence);
}

/** Whether a value is a fault rather than a spot or a source. */
export function isFault(value: object): value is PolicyFault {
  return 'sentence' in value;
}

/** The most characters of a document that a sentence repeats. */
const QUOTED_LENGTH_MAX = 120;

/** Quotes a text of the document in a sentence: shortened, and without characters that would move a terminal's cursor. */
export function quote(text: string): string {
  return `'${flattenControls(text.length > QUOTED_LENGTH_MAX ? `${text.slice(0, QUOTED_LENGTH_MAX)}...` : text)}'`;
}

function printPointer(place: Place): string {
  return flattenControls(place.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''));
}

/** An object's own member. An inherited one, such as `constructor`, is not found. */
export function own(record: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** The value at a place of a document; undefined if nothing is there. */
export function at(document: unknown, place: Place): unknown {
  let value = document;
  for (const name of place) {
    if (Array.isArray(value)) value = /^(?:0|[1-9]\d{0,8})$/.test(name) ? value[Number(name)] : undefined;
    else value = isObject(value) ? own(value, name) : undefined;
  }
  return value;
}
