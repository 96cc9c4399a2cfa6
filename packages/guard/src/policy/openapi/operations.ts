/**
 * Reads the operations of an OpenAPI document (3.0 to 3.3), each with the method and path that a guard will see. If
 * anything in an operation or above it is not understood, the operation is closed, and so is every request that could be
 * meant for it (ADR 27).
 */
import { isObject } from '@hallpass/protocol';
import type { ClosedPath } from '../closed_paths.ts';
import {
  at,
  faultAt,
  inside,
  isFault,
  ofOperation,
  quote,
  rootOf,
  type PolicyFault,
  type Source,
  type Spot,
} from './faults.ts';
import type { PolicyFiles } from './files.ts';
import {
  findStranger,
  isMisspelt,
  methodsOf,
  MINOR_MAX,
  strangersOf,
  type ObjectKind,
  type Stranger,
} from './members.ts';
import { besideReference, follow } from './references.ts';
import { readPrefix } from './servers.ts';
import { compilePolicy } from '../policy.ts';

/** An operation of the document, as a route of a policy. */
export interface Operation {
  /** Method and path as a policy names them: `GET /v1/accounts/{accountID}`. */
  readonly route: string;
  readonly method: string;
  /** The path in the document, without that of the server. */
  readonly template: string;
  /** The path before it. */
  readonly prefix: string;
  /** The names of its path parameters, in order. */
  readonly parameters: readonly string[];
  /** Where the operation is written, after following any `$ref`. */
  readonly spot: Spot;
  /** Its own security or that of its path item; undefined if the document's applies. */
  readonly security: Spot | undefined;
}

/** An operation that the guard does not open, and why. */
export interface ClosedOperation extends ClosedPath {
  /** Undefined for public operations, and for routes that a route map closes on purpose. */
  readonly fault?: PolicyFault;
}

/** How the operations of a document are read. */
export interface OperationOptions {
  /**
   * The path before those of the document in the requests that the guard sees, such as `/v1`; empty if a proxy removes it.
   * Default: what `servers` say.
   */
  readonly basePath?: string;
}

/** What was read from a document. */
export interface OperationsRead {
  readonly operations: readonly Operation[];
  readonly closed: readonly ClosedOperation[];
  /** What keeps the whole document from being read. */
  readonly faults: readonly PolicyFault[];
  /** Extensions that look as if they decide who gets in, and are not read: one fault for each name. */
  readonly ignored: readonly PolicyFault[];
  readonly minor: number;
}

const VERSION = `openapi must be a string such as '3.1.0'. Versions 3.0, 3.1, 3.2 and 3.3 are supported.`;
const WRONG_FILE = 'Is this the right file?';

/** The result for a document that cannot be read at all, with the reason. */
export function nothingRead(fault: PolicyFault): OperationsRead {
  return { operations: [], closed: [], faults: [fault], ignored: [], minor: 0 };
}

/** Reads every operation: those that a policy can name, and those that are closed. */
export function readOperations(source: Source, options: OperationOptions, files?: PolicyFiles): OperationsRead {
  const root = rootOf(source);
  const version = inside(root, 'openapi');
  const minor =
    typeof version.value === 'string' ? Number(/^3\.(\d)(?:\.|$)/.exec(version.value)?.[1] ?? Infinity) : Infinity;
  if (minor > MINOR_MAX) return nothingRead(faultAt('unsupported', version, VERSION));
  const reading = new Reading(source, { minor, files, options });
  const stranger = reading.check('the document', root);
  if (stranger !== undefined) return nothingRead(faultAt('unknown_member', stranger.spot, stranger.sentence));
  const paths = inside(root, 'paths');
  if (!isObject(paths.value)) return nothingRead(faultAt('malformed', paths, `It has no paths object. ${WRONG_FILE}`));
  if (Object.hasOwn(paths.value, '$ref')) {
    return nothingRead(
      faultAt('bad_reference', inside(paths, '$ref'), 'paths as a whole may not be a $ref. Bundle it first.'),
    );
  }
  for (const template of Object.keys(paths.value)) {
    if (!template.startsWith('x-')) readPathItem(reading, template, inside(paths, template));
  }
  const { operations, closed, faults, ignored } = reading;
  if (operations.length + closed.length + faults.length === 0) {
    return nothingRead(faultAt('malformed', paths, `It has no operations. ${WRONG_FILE}`));
  }
  // With an unknown prefix, their routes are not what they look like.
  const routes = faults.length > 0 ? [] : operations;
  return { operations: routes, closed, faults, ignored: [...ignored.values()].map(printIgnored), minor };
}

/** Collects what is found while a document is read. */
class Reading {
  readonly operations: Operation[] = [];
  readonly closed: ClosedOperation[] = [];
  readonly faults: PolicyFault[] = [];
  readonly ignored = new Map<string, { readonly name: string; readonly spot: Spot; times: number }>();
  readonly files: PolicyFiles | undefined;
  readonly methods: ReadonlySet<string>;
  readonly #minor: number;
  readonly #options: OperationOptions;
  readonly #root: Spot;
  #rootPrefix: string | undefined;

  constructor(
    source: Source,
    {
      minor,
      files,
      options,
    }: { readonly minor: number; readonly files: PolicyFiles | undefined; readonly options: OperationOptions },
  ) {
    this.#root = rootOf(source);
    this.#minor = minor;
    this.#options = options;
    this.files = files;
    this.methods = methodsOf(minor);
  }

  readonly check = (kind: ObjectKind, spot: Spot): Stranger | undefined =>
    findStranger(kind, spot, { minor: this.#minor, ignored: this.#ignore });

  readonly #ignore = (name: string, spot: Spot): void => {
    const found = this.ignored.get(name);
    if (found === undefined) this.ignored.set(name, { name, spot, times: 1 });
    else found.times += 1;
  };

  /** A path item or an operation, wherever it is written. */
  follow(noun: 'a path item' | 'an operation', written: Spot): Spot | PolicyFault {
    const { files } = this;
    const onReference = (spot: Spot): PolicyFault | undefined => besideReference((kind) => this.check(kind, spot));
    const found = follow(written, { noun, files, onReference });
    if (isFault(found) || found.source === this.#root.source) return found;
    // What it does not say itself, some tools take from that description's security and servers, others from ours.
    return at(found.source.document, ['openapi']) === undefined ? found : faultAt('bad_reference', written, ANOTHER);
  }

  /** Whether an object has a member that is not understood and may be `servers`, or lead to some. */
  hasMover(kind: ObjectKind, value: unknown): boolean {
    // In an empty list, only the name tells servers from security. Tools disagree on what empty servers mean.
    return strangersOf(kind, value, this.#minor).some(([name, inner]) => mayMove(inner) || isMisspelt(name, 'servers'));
  }

  /** Whether the requests for an operation may have another prefix than its path item. */
  isMoved(operation: unknown): boolean {
    return mayMove(operation, 1) || this.hasMover('an operation', operation);
  }

  /** The prefix of an operation: from its own servers, its path item's, or the document's. */
  prefixOf(...owners: readonly Spot[]): string | PolicyFault {
    const { basePath } = this.#options;
    if (basePath !== undefined) return basePath;
    const owner = owners.find(({ value }) => isObject(value) && Object.hasOwn(value, 'servers'));
    if (owner === undefined) return this.rootPrefix();
    const servers = inside(owner, 'servers');
    // Some tools take an empty list for the document's servers, others for none.
    if (Array.isArray(servers.value) && servers.value.length === 0) {
      return faultAt('bad_server', servers, 'Tools disagree on an empty list of servers. Remove it.');
    }
    return readPrefix(servers, this.check);
  }

  /** The prefix from the document's own servers. Without it, nothing can be made of the document. */
  rootPrefix(): string {
    const { basePath } = this.#options;
    if (basePath !== undefined) return basePath;
    if (this.#rootPrefix !== undefined) return this.#rootPrefix;
    const servers = inside(this.#root, 'servers');
    const read = servers.value === undefined ? '' : readPrefix(servers, this.check);
    if (typeof read !== 'string') this.faults.push(read);
    this.#rootPrefix = typeof read === 'string' ? read : '';
    return this.#rootPrefix;
  }

  /** Closes an operation. With an undefined `prefix`, every request whose path ends in this one is closed. */
  close({ method, template, prefix, except }: Omit<ClosedPath, 'route'>, fault: PolicyFault): void {
    const known = this.#options.basePath ?? prefix;
    const route = `${method} ${known ?? ''}${template}`;
    this.closed.push({
      method,
      template,
      prefix: known,
      route,
      fault: ofOperation(fault, fault.operation ?? route),
      ...(except === undefined ? {} : { except }),
    });
  }
}

function printIgnored({
  name,
  spot,
  times,
}: {
  readonly name: string;
  readonly spot: Spot;
  readonly times: number;
}): PolicyFault {
  const often = times === 1 ? '' : ` There are ${times} of them.`;
  return faultAt('ignored', spot, `${quote(name)} is not read: only security decides who gets in.${often}`);
}

/** Reads a path item. Its operations share its members, so if one is not understood, all of them are closed. */
function readPathItem(reading: Reading, template: string, written: Spot): void {
  const { methods } = reading;
  const any = { method: '*', template, prefix: undefined };
  const item = reading.follow('a path item', written);
  // A value that is not an object cannot hold servers.
  if (isFault(item)) {
    const prefix = isObject(written.value) ? undefined : reading.rootPrefix();
    return reading.close({ ...any, prefix }, item);
  }
  const wrong = findWrong(reading, item, 'a path item');
  if (wrong !== undefined) {
    const moved = Object.entries(isObject(item.value) ? item.value : {}).some(
      ([name, value]) =>
        (methods.has(name) && reading.isMoved(value)) ||
        (name === 'additionalOperations' &&
          (mayMove(value) || Object.values(isObject(value) ? value : {}).some((one) => reading.isMoved(one)))),
    );
    return reading.close({ ...any, prefix: moved ? undefined : prefixBeside(reading, wrong, item) }, wrong.fault);
  }
  if (!isObject(item.value)) return undefined;
  const documented = new Set(
    Object.keys(item.value)
      .filter((name) => methods.has(name))
      .map((name) => name.toUpperCase()),
  );
  for (const name of Object.keys(item.value)) {
    const inner = inside(item, name);
    if (methods.has(name)) readOperation(reading, { method: name.toUpperCase(), template, item, written: inner });
    if (name !== 'additionalOperations') continue;
    if (!isObject(inner.value)) {
      reading.close(
        { ...any, prefix: undefined },
        faultAt('malformed', inner, 'additionalOperations must be an object.'),
      );
      continue;
    }
    for (const method of Object.keys(inner.value)) {
      const more = inside(inner, method);
      const isOrdinary = methods.has(method.toLowerCase());
      if (isOrdinary || !/^[A-Z][A-Z-]*$/.test(method)) {
        const prefix = reading.isMoved(more.value) ? undefined : prefixBeside(reading, { moves: false }, item);
        const fault = faultAt('bad_path', more, isOrdinary ? NO_ADDITION : NO_METHOD, `${method} ${template}`);
        // Any other word may mean any method that the path item does not have.
        const closed = isOrdinary ? { method: method.toUpperCase() } : { method: '*', except: documented };
        reading.close({ template, prefix, ...closed }, fault);
      } else readOperation(reading, { method, template, item, written: more });
    }
  }
  return undefined;
}

const ANOTHER =
  'It leads into another description, with its own security and servers. Refer to a file of the operation alone.';
const NO_METHOD = "A method is a word in capitals, as in 'GET /accounts'.";
const NO_ADDITION = 'This method has a member of its own in a path item. Write it there, in lower case.';

/** Something that is not understood: the first fault, and whether anything there may be servers, or lead to some. */
interface Wrong {
  readonly fault: PolicyFault;
  readonly moves: boolean;
}

/** The first thing that is not understood in a path item or an operation, or in its parameters. */
function findWrong(reading: Reading, spot: Spot, kind: 'a path item' | 'an operation'): Wrong | undefined {
  const stranger = reading.check(kind, spot);
  if (stranger !== undefined) {
    const fault = faultAt('unknown_member', stranger.spot, stranger.sentence);
    return { fault, moves: reading.hasMover(kind, spot.value) };
  }
  const parameters = inside(spot, 'parameters');
  const fault = findWrongParameter(reading, parameters);
  return fault === undefined ? undefined : { fault, moves: false };
}

function findWrongParameter(reading: Reading, parameters: Spot): PolicyFault | undefined {
  if (parameters.value === undefined) return undefined;
  if (!Array.isArray(parameters.value))
    return faultAt('malformed', parameters, 'parameters must be a list of objects.');
  for (const index of parameters.value.keys()) {
    const found = follow(inside(parameters, String(index)), {
      noun: 'a parameter',
      files: reading.files,
      // Members beside the $ref of a parameter are ignored, as the specification says (3.0 §4.7.23).
      onReference: () => undefined,
    });
    if (isFault(found)) return found;
    const stranger = reading.check('a parameter', found);
    if (stranger !== undefined) return faultAt('unknown_member', stranger.spot, stranger.sentence);
    const [where, style] = [inside(found, 'in').value, inside(found, 'style')];
    // With other styles the segment holds more than the value: `;id=7`, `.7`.
    if (where === 'path' && style.value !== undefined && style.value !== 'simple') {
      return faultAt('unsupported', style, `A parameter of the path is the whole segment: style must be 'simple'.`);
    }
  }
  return undefined;
}

/**
 * The prefix of something that is not understood; undefined if it may differ from that of its neighbours, because an
 * unknown member may be a misspelt `servers`, or lead to some.
 */
function prefixBeside(
  reading: Reading,
  { moves }: Pick<Wrong, 'moves'>,
  ...owners: readonly Spot[]
): string | undefined {
  if (moves) return undefined;
  const prefix = reading.prefixOf(...owners);
  return typeof prefix === 'string' ? prefix : undefined;
}

/** Whether a value looks like servers or a reference, or contains one, as an operation or a map of operations may. */
function mayMove(value: unknown, depth = 0): boolean {
  if (typeof value === 'string') return depth === 0 && /^\S*[#/.]\S*$/.test(value);
  if (Array.isArray(value)) return (value as readonly unknown[]).some((one) => typeof at(one, ['url']) === 'string');
  if (!isObject(value)) return false;
  if (Object.hasOwn(value, 'servers') || Object.hasOwn(value, '$ref')) return true;
  return depth < 1 && Object.values(value).some((inner) => mayMove(inner, depth + 1));
}

interface Written {
  readonly method: string;
  readonly template: string;
  readonly item: Spot;
  readonly written: Spot;
}

function readOperation(reading: Reading, { method, template, item, written }: Written): void {
  const close = (prefix: string | undefined, fault: PolicyFault): void =>
    reading.close({ method, template, prefix }, fault);
  const operation = reading.follow('an operation', written);
  if (isFault(operation)) {
    const prefix = isObject(written.value) ? undefined : reading.prefixOf(item);
    return close(typeof prefix === 'string' ? prefix : undefined, ofOperation(operation, `${method} ${template}`));
  }
  const wrong = findWrong(reading, operation, 'an operation');
  if (wrong !== undefined) return close(prefixBeside(reading, wrong, operation, item), wrong.fault);
  const prefix = reading.prefixOf(operation, item);
  if (typeof prefix !== 'string') return close(undefined, ofOperation(prefix, `${method} ${template}`));
  const path = template === '/' && prefix !== '' ? prefix : prefix + template;
  const route = `${method} ${path}`;
  const fault = routeFault(route, template);
  if (fault !== undefined) return close(prefix, faultAt('bad_path', operation, fault, `${method} ${template}`));
  const security = [operation, item].find(({ value }) => isObject(value) && Object.hasOwn(value, 'security'));
  reading.operations.push({
    route,
    method,
    template,
    prefix,
    parameters: parametersOf(path),
    spot: operation,
    security: security === undefined ? undefined : inside(security, 'security'),
  });
  return undefined;
}

/** The names of a path's parameters, in order. */
export function parametersOf(path: string): readonly string[] {
  return [...path.matchAll(/\{([^{}]*)\}/g)].map(([, name = '']) => name);
}

/** Why a policy cannot have a route, whatever its scope; undefined if it can. */
export function routeFault(route: string, template: string): string | undefined {
  if (!template.startsWith('/')) return 'A path begins with a slash.';
  if (!/^[A-Z][A-Z-]* \//.test(route)) return NO_METHOD;
  if (template !== '/' && template.endsWith('/')) return 'A guard refuses paths that end in a slash. Remove it.';
  if (/[^/]\{|\}[^/]/.test(template)) {
    return 'A parameter has to be a whole segment of the path, as in /accounts/{accountID}.';
  }
  try {
    compilePolicy<Readonly<Record<string, string>>>({ [route]: '/any.read' });
    return undefined;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // The fault names the route already.
    return message.replace(`Route '${route}': `, '');
  }
}
