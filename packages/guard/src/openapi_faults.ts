/** What is wrong with a policy or its file, gathered, so that whoever mends it sees everything at once. */
import { flattenControls, isObject } from '@hallpass/protocol';

/** What kind of fault it is. */
export type PolicyFaultKind =
  | 'unreadable'
  | 'malformed'
  | 'unsupported'
  | 'bad_reference'
  | 'bad_server'
  | 'bad_path'
  | 'bad_scope'
  | 'several_scopes'
  | 'unknown_parameter'
  | 'unmapped'
  | 'unsure'
  | 'ambiguous'
  | 'bad_overlay'
  | 'stale';

/** One thing that is wrong, where it is, and what to do. */
export interface PolicyFault {
  readonly kind: PolicyFaultKind;
  /** The file; undefined for a document that came from none. */
  readonly file?: string;
  /** The line in the file, from 1, where it is known. */
  readonly line?: number;
  /** Where in the document, as a JSON Pointer (RFC 6901). */
  readonly pointer: string;
  /** The operation, such as `GET /accounts`, if it is about one. */
  readonly operation?: string;
  readonly sentence: string;
}

/** The names that lead from the root of a document to a place in it. */
export type Place = readonly string[];

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

/** Gathers the faults of one document. */
export class Faults {
  readonly #found: PolicyFault[] = [];
  readonly #file: string | undefined;
  readonly #lineOf: (place: Place) => number | undefined;

  constructor(file?: string, lineOf: (place: Place) => number | undefined = () => undefined) {
    this.#file = file;
    this.#lineOf = lineOf;
  }

  get all(): readonly PolicyFault[] {
    return this.#found;
  }

  add(kind: PolicyFaultKind, place: Place, sentence: string, operation?: string): void {
    this.addAtLine(this.#lineOf(place), { kind, pointer: printPointer(place), sentence }, operation);
  }

  addAtLine(
    line: number | undefined,
    fault: Pick<PolicyFault, 'kind' | 'pointer' | 'sentence'>,
    operation?: string,
  ): void {
    this.#found.push({
      ...fault,
      sentence: flattenControls(fault.sentence),
      ...(this.#file === undefined ? {} : { file: this.#file }),
      ...(line === undefined ? {} : { line }),
      ...(operation === undefined ? {} : { operation: flattenControls(operation) }),
    });
  }
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
