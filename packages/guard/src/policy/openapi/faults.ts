/** What is wrong with a policy or its file, and where: every fault is gathered, so that you can mend them all at once. */
import { flattenControls, isObject } from '@hallpass/protocol';

/** What kind of fault it is. */
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

/** One thing that is wrong, where it is, and what to do. */
export interface PolicyFault {
  readonly kind: PolicyFaultKind;
  /** The file; undefined for a document that came from none. */
  readonly file?: string;
  /** The line in the file, from 1, where it is known. */
  readonly line?: number;
  /** Where in the document, as a JSON Pointer (RFC 6901). */
  readonly pointer: string;
  /** The operation, such as `GET /accounts`, if it is about one. `*` stands for every method of its path. */
  readonly operation?: string;
  readonly sentence: string;
}

/** The names that lead from the root of a document to a place in it. */
export type Place = readonly string[];

/** A document and where it came from. */
export interface Source {
  /** Undefined for a document that came from no file. */
  readonly file?: string;
  readonly document: unknown;
  /** The line of a place, from 1, or of the nearest place around it; undefined where lines are unknown. */
  readonly lineOf: (place: Place) => number | undefined;
}

/** A value, and where it is written. */
export interface Spot {
  readonly source: Source;
  readonly place: Place;
  readonly value: unknown;
}

/** The whole document of a source. */
export function rootOf(source: Source): Spot {
  return { source, place: [], value: source.document };
}

/** What is inside of a spot, by its names; its value is undefined when nothing is there. */
export function inside({ source, place, value }: Spot, ...names: Place): Spot {
  return { source, place: [...place, ...names], value: at(value, names) };
}

/** A document that no policy can be made of. `faults` are all that is wrong with it; the message has each on a line. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly faults: readonly PolicyFault[];

  constructor(faults: readonly PolicyFault[]) {
    super(faults.map(printFault).join('\n'));
    this.faults = faults;
  }
}

/** A fault on one line: where it is, the operation, what to do. */
export function printFault({ file, line, pointer, operation, sentence }: PolicyFault): string {
  const name = file === undefined ? undefined : flattenControls(file);
  const where = line === undefined ? `${name ?? ''}#${pointer}` : `${name ?? 'line'}:${line}`;
  return `${where}: ${operation === undefined ? '' : `${operation}: `}${sentence}`;
}

/** The fault of a kind at a spot. */
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

/** The same fault, of an operation. */
export function ofOperation(fault: PolicyFault, operation: string): PolicyFault {
  return { ...fault, operation: flattenControls(operation) };
}

/** A fault of a text that is no document, on a line where one is known. */
export function faultOnLine(file: string, line: number | undefined, sentence: string): PolicyFault {
  return faultAt('malformed', { source: { file, document: undefined, lineOf: () => line }, place: [] }, sentence);
}

export function isFault(value: object): value is PolicyFault {
  return 'sentence' in value;
}

/** The longest piece of a document that a sentence repeats, in characters. */
const QUOTED_LENGTH_MAX = 120;

/** A text of a document for a sentence: short, and without what would move a terminal's cursor. */
export function quote(text: string): string {
  return `'${flattenControls(text.length > QUOTED_LENGTH_MAX ? `${text.slice(0, QUOTED_LENGTH_MAX)}...` : text)}'`;
}

function printPointer(place: Place): string {
  return flattenControls(place.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''));
}

/** A member of an object; its own alone, so that `constructor` is not found where nobody wrote it. */
export function own(record: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** What is at a place of a document; undefined when nothing is. */
export function at(document: unknown, place: Place): unknown {
  let value = document;
  for (const name of place) {
    if (Array.isArray(value)) value = /^(?:0|[1-9]\d{0,8})$/.test(name) ? value[Number(name)] : undefined;
    else value = isObject(value) ? own(value, name) : undefined;
  }
  return value;
}
