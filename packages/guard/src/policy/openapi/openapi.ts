/** Makes a policy from what an API already has: its OpenAPI document, or a file of routes and scopes. */
import { flattenControls, isObject } from '@hallpass/protocol';
import { faultAt, inside, own, PolicyError, printFault, rootOf, type PolicyFault, type Source } from './faults.ts';
import { openFiles, readSource, type PolicyFiles } from './files.ts';
import { nothingRead, readOperations, type OperationOptions, type OperationsRead } from './operations.ts';
import { applyOverlay } from './overlay.ts';
import { mapOperations, readRouteMap, type PolicyTable } from './routes.ts';
import { readMapping, SecurityReader } from './security.ts';
import { compileTable } from './table.ts';
import { compilePolicy, type Policy } from '../policy.ts';

export { PolicyError, printFault, type PolicyFault, type PolicyFaultKind } from './faults.ts';
export { POLICY_FILES_MAX } from './files.ts';
export type { ClosedOperation } from './operations.ts';
export { CLOSED_WORD, type PolicyRoute, type PolicyTable } from './routes.ts';
export { POLICY_FILE_BYTES_MAX } from './text.ts';

/** How `policyFromOpenAPI` reads a document. */
export interface OpenAPIOptions extends OperationOptions {
  /** An overlay to apply before anything is read (OpenAPI Overlay Specification 1.0, 1.1). */
  readonly overlay?: unknown;
  /** Hallpass scopes for the document's scopes that are words or URLs: `{ 'payments:read': '/payments.read' }`. */
  readonly scopes?: Readonly<Record<string, string>>;
  /** Refuse a document if any of its operations has to be closed. Default false. */
  readonly strict?: boolean;
  /**
   * The routes that the code knows, as `hallpass policy types` prints them, so that the compiler knows them too. They must
   * be those of the document.
   */
  readonly routes?: readonly string[];
}

/** Options from which the compiler learns the routes. */
type WithRoutes<Route extends string> = { readonly routes: readonly Route[] };

/** How `readPolicy` reads a file. */
export interface PolicyFileOptions extends Omit<OpenAPIOptions, 'overlay' | 'scopes'> {
  /** The file of an overlay, YAML or JSON. */
  readonly overlay?: string;
  /** The file of a mapping of scopes, such as `hallpass policy scopes` proposes. */
  readonly scopes?: string;
  /** Called with the reasons if any operations are closed. Default: print one line to the console. */
  readonly onClosed?: (faults: readonly PolicyFault[]) => void;
}

/** A policy, and what it could not take from its document. */
export interface DocumentPolicy<Route extends string = string> extends Policy<Route> {
  /** Why operations are closed. Each is refused, whatever the token, until you fix its fault. */
  readonly closed: readonly PolicyFault[];
}

/**
 * Makes a policy from an OpenAPI document (3.0 to 3.3). Each operation is opened by the one scope of its `security`, whose
 * parameters are filled from the path by name. Operations with `security: []` are closed: serve them outside the guard.
 * An operation that is not understood, or that a guard cannot match, is closed and named in `closed`.
 *
 * Throws a PolicyError with everything that is wrong if the document cannot be used, if it opens no operation, or, with
 * `strict`, if an operation has to be closed. Throws a TypeError for invalid options.
 */
export function policyFromOpenAPI<const Route extends string>(
  document: unknown,
  options: OpenAPIOptions & WithRoutes<Route>,
): DocumentPolicy<Route>;
export function policyFromOpenAPI(document: unknown, options?: OpenAPIOptions): DocumentPolicy;
export function policyFromOpenAPI(document: unknown, options: OpenAPIOptions = {}): DocumentPolicy {
  checkOptions(options);
  const { overlay, scopes = {} } = options;
  const whole = overlay === undefined ? { document, faults: [] } : applyOverlay(document, inMemory(overlay));
  // A failed overlay causes other faults, which are not the document's.
  if (whole.faults.length > 0) throw new PolicyError(whole.faults);
  const mapping = readMapping(inMemory(scopes));
  if (mapping.faults.length > 0) throw new PolicyError(mapping.faults);
  return settle(readOpenAPI(inMemory(whole.document), { ...options, mapping: mapping.mapping }), options);
}

function inMemory(document: unknown): Source {
  return { document, lineOf: () => undefined };
}

/**
 * Makes a policy from a YAML or JSON file: an OpenAPI document, or routes with their scopes as `compilePolicy` takes them.
 * A document may be split into files of its folder. Needs Node's file system.
 *
 * Throws as `policyFromOpenAPI` does; each fault has its line.
 */
export function readPolicy<const Route extends string>(
  file: string,
  options: PolicyFileOptions & WithRoutes<Route>,
): Promise<DocumentPolicy<Route>>;
export function readPolicy(file: string, options?: PolicyFileOptions): Promise<DocumentPolicy>;
export async function readPolicy(file: string, options: PolicyFileOptions = {}): Promise<DocumentPolicy> {
  const { onClosed = (faults): void => warnOfClosed(file, faults) } = options;
  const policy = settle(await inspectPolicy(file, options), options);
  if (policy.closed.length > 0) onClosed(policy.closed);
  return policy;
}

function warnOfClosed(file: string, { length, 0: first }: readonly PolicyFault[]): void {
  const many = length === 1 ? 'An operation is' : `${length} operations are`;
  const which = first === undefined ? '' : `${printFault(first)} `;
  console.warn(`${many} closed by ${flattenControls(file)}. ${which}All of it: hallpass policy check.`);
}

/** What a policy file holds, and what is wrong with it. */
export interface PolicyInspection {
  readonly table: PolicyTable;
  /** What keeps a policy from being made of it. */
  readonly faults: readonly PolicyFault[];
  /** Extensions that look as if they decide who gets in, and are not read: one for each name. */
  readonly ignored: readonly PolicyFault[];
}

const NOTHING: PolicyTable = { routes: [], open: [], closed: [] };
const NO_OBJECT = 'It does not hold an object. Is this the right file?';

/** What `readPolicy` would make of a file, and everything that is wrong with it. Throws a TypeError for invalid options only. */
export function inspectPolicy(file: string, options: PolicyFileOptions = {}): Promise<PolicyInspection> {
  checkOptions(options);
  return withDocument<Omit<PolicyInspection, 'faults'>>(
    file,
    options,
    { table: NOTHING, ignored: [] },
    ({ source, files, mapping }) =>
      isRoutes(source.document)
        ? { ignored: [], ...readRoutes(source, options) }
        : readOpenAPI(source, { basePath: options.basePath, mapping, files }),
  );
}

/** An operation of an OpenAPI document, for a tool that proposes scopes. */
export interface DocumentOperation {
  /** As a policy names it: `GET /v1/accounts/{accountID}`. */
  readonly route: string;
  readonly method: string;
  /** The path in the document, without that of the server: `/accounts/{accountID}`. */
  readonly template: string;
  /** Every scope that its security names, as the document spells it. */
  readonly scopeNames: readonly string[];
  /** The one scope that it asks for; undefined if it asks for none or several, or if its security cannot be read. */
  readonly scope: string | undefined;
  /** Its description and summary, where it has them. */
  readonly prose: readonly string[];
}

/** An OpenAPI document that was read, for a tool that proposes scopes. */
export interface InspectedDocument {
  readonly operations: readonly DocumentOperation[];
  /**
   * What becomes of the document's operations if each route in `scopes` is opened by the scope given for it. The others
   * keep what the document asks for. Public operations stay public.
   */
  readonly tableWith: (scopes: ReadonlyMap<string, string>) => PolicyTable;
  /** Everything that keeps the document from being read. */
  readonly faults: readonly PolicyFault[];
}

/** Reads the operations of an OpenAPI file and what they ask for. Throws a TypeError for bad options only. */
export function inspectDocument(
  file: string,
  options: Pick<PolicyFileOptions, 'overlay' | 'scopes' | 'basePath'> = {},
): Promise<InspectedDocument> {
  checkOptions(options);
  const nothing = { operations: [], tableWith: () => NOTHING };
  return withDocument<Omit<InspectedDocument, 'faults'>>(file, options, nothing, ({ source, files, mapping }) => {
    const read = readOperationsOf(source, { basePath: options.basePath, files });
    const security = new SecurityReader({ source, minor: read.minor, files, mapping });
    const operations = read.operations.map((operation) => {
      const { route, method, template, spot } = operation;
      const demand = security.demandOf(operation);
      const prose = ['description', 'summary'].map((name) => inside(spot, name).value);
      return {
        route,
        method,
        template,
        scopeNames: security.namesIn(operation),
        scope: demand.asks === 'scope' ? demand.scope : undefined,
        prose: prose.filter((text) => typeof text === 'string'),
      };
    });
    return { operations, tableWith: (scopes) => mapOperations(read, security, scopes), faults: read.faults };
  });
}

interface Opened {
  readonly source: Source;
  readonly files: PolicyFiles;
  readonly mapping: Readonly<Record<string, string>>;
}

async function withDocument<Result extends object>(
  file: string,
  { overlay, scopes }: Pick<PolicyFileOptions, 'overlay' | 'scopes'>,
  nothing: Result,
  work: (opened: Opened) => Result & { readonly faults: readonly PolicyFault[] },
): Promise<Result & { readonly faults: readonly PolicyFault[] }> {
  try {
    const base = await readSource(file);
    const changed =
      overlay === undefined
        ? { document: base.document, faults: [] }
        : applyOverlay(base.document, await readSource(overlay));
    if (changed.faults.length > 0) return { ...nothing, faults: changed.faults };
    const { mapping, faults } =
      scopes === undefined ? { mapping: {}, faults: [] } : readMapping(await readSource(scopes));
    if (faults.length > 0) return { ...nothing, faults };
    const source = { ...base, file, document: changed.document };
    return work({ source, files: await openFiles(source), mapping });
  } catch (error) {
    if (error instanceof PolicyError) return { ...nothing, faults: error.faults };
    throw error;
  }
}

/** Whether a document is a map of routes and scopes, and not an OpenAPI document of any version. */
function isRoutes(document: unknown): boolean {
  return (
    isObject(document) && !['openapi', 'swagger', 'paths', 'overlay'].some((name) => Object.hasOwn(document, name))
  );
}

function readRoutes(
  source: Source,
  { basePath, scopes }: PolicyFileOptions,
): Pick<PolicyInspection, 'table' | 'faults'> {
  const { table, faults } = readRouteMap(source);
  if (basePath === undefined && scopes === undefined) return { table, faults };
  const sentence =
    basePath === undefined
      ? 'A mapping of scopes is for OpenAPI documents. Write the scopes as tokens have them.'
      : 'A base path is for OpenAPI documents. Write the routes as the guard sees them.';
  return { table, faults: [faultAt('unsupported', rootOf(source), sentence), ...faults] };
}

interface ReadingOptions {
  readonly basePath?: string | undefined;
  readonly files?: PolicyFiles | undefined;
}

function readOpenAPI(
  source: Source,
  options: ReadingOptions & { readonly mapping: Readonly<Record<string, string>> },
): PolicyInspection {
  const read = readOperationsOf(source, options);
  const { files, mapping } = options;
  const table = mapOperations(read, new SecurityReader({ source, minor: read.minor, files, mapping }));
  return { table, faults: read.faults, ignored: read.ignored };
}

function readOperationsOf(source: Source, { basePath, files }: ReadingOptions): OperationsRead {
  const root = rootOf(source);
  if (!isObject(root.value)) return nothingRead(faultAt('malformed', root, NO_OBJECT));
  if (own(root.value, 'overlay') !== undefined) {
    const sentence = 'This is an overlay. Name the file that it changes, and this one with --overlay.';
    return nothingRead(faultAt('unsupported', root, sentence));
  }
  return readOperations(source, basePath === undefined ? {} : { basePath }, files);
}

function checkOptions({ basePath = '' }: Pick<OpenAPIOptions, 'basePath'>): void {
  if (basePath === '') return;
  try {
    compilePolicy<Readonly<Record<string, string>>>({ [`GET ${basePath}`]: '/any.read' });
    if (basePath !== '/') return;
  } catch {
    // Reported below.
  }
  throw new TypeError("basePath must be empty, or a path such as '/v1': no slash at its end.");
}

/** Compiles the policy. Throws a PolicyError if anything prevents that. */
function settle(
  { table, faults }: Pick<PolicyInspection, 'table' | 'faults'>,
  { strict = false, routes }: Pick<OpenAPIOptions, 'strict' | 'routes'>,
): DocumentPolicy {
  const closed = table.closed.flatMap(({ fault }) => fault ?? []);
  // If everything is closed, it is probably the wrong file, or one without scopes.
  const isRefused = faults.length > 0 || (closed.length > 0 && (strict || table.routes.length === 0));
  const wrong = isRefused ? [...new Set([...faults, ...closed])] : compareRoutes(table, routes);
  if (wrong.length > 0) throw new PolicyError(wrong);
  return { ...compileTable(table), closed };
}

/** Compares the document's routes with those that the code knows. They must be the same, or a handler is never called. */
function compareRoutes({ routes }: PolicyTable, known: readonly string[] | undefined): readonly PolicyFault[] {
  if (known === undefined) return [];
  const there = new Set(routes.map(({ route }) => route));
  const expected = new Set(known);
  const differ = (one: string, sentence: string): PolicyFault =>
    faultAt('stale', rootOf(inMemory(undefined)), `${sentence} ${PRINT_AGAIN}`, one);
  return [
    ...[...there]
      .filter((route) => !expected.has(route))
      .map((route) => differ(route, 'The code does not know this route.')),
    ...[...expected]
      .filter((route) => !there.has(route))
      .map((route) => differ(route, 'The code knows this route, and the policy does not.')),
  ];
}

const PRINT_AGAIN = 'Print its routes again: hallpass policy types.';
