/** A policy from what an API has already: its OpenAPI document, or a file of routes and scopes. */
import { isObject } from '@hallpass/protocol';
import { draftScopes, type Draft, type DraftOptions } from './openapi_draft.ts';
import { Faults, own, PolicyError, type PolicyFault } from './openapi_faults.ts';
import { readOperations, type OperationOptions } from './openapi_operations.ts';
import { applyOverlay } from './openapi_overlay.ts';
import { compileTable, mapOperations, readRouteMap, type PolicyTable } from './openapi_routes.ts';
import { parsePolicyText, POLICY_FILE_BYTES_MAX, type PolicyText } from './openapi_text.ts';
import { compilePolicy, type Policy } from './policy.ts';

export { PolicyError, printFault, type PolicyFault, type PolicyFaultKind } from './openapi_faults.ts';
export { printOverlay, type Draft, type DraftOptions, type Overlay, type Proposal } from './openapi_draft.ts';
export type { PolicyRoute, PolicyTable } from './openapi_routes.ts';
export { POLICY_FILE_BYTES_MAX } from './openapi_text.ts';

export interface OpenAPIOptions extends OperationOptions {
  /** An overlay that is applied before anything is read (OpenAPI Overlay Specification 1.0). */
  readonly overlay?: unknown;
  /** An operation without a scope: nothing is made of the document, or that operation is closed. Default `refuse`. */
  readonly unmapped?: 'refuse' | 'close';
  /**
   * The routes that the code knows, as `hallpass policy types` prints them, for the compiler to know them too. They have
   * to be those of the document.
   */
  readonly routes?: readonly string[];
}

/** Options from which the compiler learns the routes. */
type WithRoutes<Route extends string> = { readonly routes: readonly Route[] };

export interface PolicyFileOptions extends Omit<OpenAPIOptions, 'overlay'> {
  /** The file of an overlay, YAML or JSON. */
  readonly overlay?: string;
}

/**
 * The policy of an OpenAPI document (3.0 to 3.2): each operation is opened by the one scope of its `security`, whose
 * parameters are those of the path, by name. Operations with `security: []` are closed; serve them outside the guard.
 *
 * Throws a PolicyError with everything that is wrong, and a TypeError for options that cannot be meant.
 */
export function policyFromOpenAPI<const Route extends string>(
  document: unknown,
  options: OpenAPIOptions & WithRoutes<Route>,
): Policy<Route>;
export function policyFromOpenAPI(document: unknown, options?: OpenAPIOptions): Policy;
export function policyFromOpenAPI(document: unknown, options: OpenAPIOptions = {}): Policy {
  checkOptions(options);
  const faults = new Faults();
  const whole = options.overlay === undefined ? document : applyOverlay(document, options.overlay, faults);
  // What an overlay could not do leaves other faults behind, which are none of the document's.
  return settle(faults.all.length > 0 ? NOTHING : readOpenAPI(whole, options, faults), faults.all, options);
}

/**
 * The policy of a file, YAML or JSON: an OpenAPI document, or routes and their scopes as `compilePolicy` takes them. For
 * Node, and what reads files as it does.
 *
 * Throws a PolicyError with everything that is wrong, each with its line; a TypeError for options that cannot be meant.
 */
export function readPolicy<const Route extends string>(
  file: string,
  options: PolicyFileOptions & WithRoutes<Route>,
): Promise<Policy<Route>>;
export function readPolicy(file: string, options?: PolicyFileOptions): Promise<Policy>;
export async function readPolicy(file: string, options: PolicyFileOptions = {}): Promise<Policy> {
  const { table, faults } = await inspectPolicy(file, options);
  return settle(table, faults, options);
}

/** What there is to say of a policy file. */
export interface PolicyInspection {
  readonly table: PolicyTable;
  readonly faults: readonly PolicyFault[];
}

/** What `readPolicy` would make of a file, and all that keeps it from that. Throws a TypeError for bad options alone. */
export function inspectPolicy(file: string, options: PolicyFileOptions = {}): Promise<PolicyInspection> {
  checkOptions(options);
  return withDocument(file, options, { table: NOTHING }, (document, faults) => ({
    table: isRoutes(document) ? readRoutes(document, options, faults) : readOpenAPI(document, options, faults),
  }));
}

/**
 * Scopes for the operations of an OpenAPI file that ask for none, as an overlay: taken from what the descriptions say,
 * or from how the other operations do it. The faults are those of the file itself.
 */
export function draftPolicy(
  file: string,
  options: DraftOptions = {},
): Promise<Draft & { readonly faults: readonly PolicyFault[] }> {
  return withDocument(file, {}, NO_DRAFT, (document, faults) => {
    if (!isObject(document)) {
      faults.add('malformed', [], NO_OBJECT);
      return NO_DRAFT;
    }
    // Where requests begin is of no interest here.
    return draftScopes(document, readOperations(document, { basePath: '' }, faults), options);
  });
}

const NO_DRAFT: Draft = { proposals: [], overlay: undefined };
const NOTHING: PolicyTable = { routes: [], open: [], unmapped: [] };
const NO_OBJECT = 'It holds no object. Is this the right file?';

async function withDocument<Result>(
  file: string,
  { overlay }: Pick<PolicyFileOptions, 'overlay'>,
  nothing: Result,
  work: (document: unknown, faults: Faults) => Result,
): Promise<Result & { readonly faults: readonly PolicyFault[] }> {
  try {
    const base = await readText(file);
    let { document } = base;
    if (overlay !== undefined) {
      const over = await readText(overlay);
      const faults = new Faults(overlay, over.lineOf);
      document = applyOverlay(document, over.document, faults);
      if (faults.all.length > 0) return { ...nothing, faults: faults.all };
    }
    const faults = new Faults(file, base.lineOf);
    return { ...work(document, faults), faults: faults.all };
  } catch (error) {
    if (error instanceof PolicyError) return { ...nothing, faults: error.faults };
    throw error;
  }
}

/** A file to its document. Throws a PolicyError. */
async function readText(file: string): Promise<PolicyText> {
  // Not at the top: what is read from memory is compiled where there are no files.
  const { createReadStream } = await import('node:fs');
  const chunks: Uint8Array[] = [];
  try {
    // One byte more than may be is enough to refuse it.
    const source: AsyncIterable<Uint8Array> = createReadStream(file, { end: POLICY_FILE_BYTES_MAX });
    for await (const chunk of source) chunks.push(chunk);
  } catch {
    const faults = new Faults(file);
    faults.add('unreadable', [], 'This file cannot be read. Is there one of that name?');
    throw new PolicyError(faults.all);
  }
  return parsePolicyText(Buffer.concat(chunks), file);
}

/** Routes and scopes, and no OpenAPI document of whatever version. */
function isRoutes(document: unknown): document is Readonly<Record<string, unknown>> {
  return (
    isObject(document) && !['openapi', 'swagger', 'paths', 'overlay'].some((name) => Object.hasOwn(document, name))
  );
}

function readRoutes(
  map: Readonly<Record<string, unknown>>,
  { basePath }: OpenAPIOptions | PolicyFileOptions,
  faults: Faults,
): PolicyTable {
  if (basePath !== undefined) {
    faults.add('unsupported', [], 'A base path is for OpenAPI documents. Write the routes as the guard sees them.');
  }
  return readRouteMap(map, faults);
}

function readOpenAPI(document: unknown, options: OperationOptions, faults: Faults): PolicyTable {
  if (!isObject(document)) {
    faults.add('malformed', [], NO_OBJECT);
    return NOTHING;
  }
  if (own(document, 'overlay') !== undefined) {
    faults.add('unsupported', [], 'This is an overlay. Name the file that it changes, and this one with --overlay.');
    return NOTHING;
  }
  return mapOperations(document, readOperations(document, options, faults), faults);
}

function checkOptions({ basePath = '', unmapped = 'refuse' }: Pick<OpenAPIOptions, 'basePath' | 'unmapped'>): void {
  if (unmapped !== 'refuse' && unmapped !== 'close') throw new TypeError("unmapped must be 'refuse' or 'close'.");
  if (basePath === '') return;
  try {
    compilePolicy<Readonly<Record<string, string>>>({ [`GET ${basePath}`]: '/any.read' });
    if (basePath !== '/') return;
  } catch {
    // Said below.
  }
  throw new TypeError("basePath must be empty, or a path such as '/v1': no slash at its end.");
}

/** A policy, if nothing stands in its way. */
function settle(
  table: PolicyTable,
  faults: readonly PolicyFault[],
  { unmapped = 'refuse', routes }: Pick<OpenAPIOptions, 'unmapped' | 'routes'>,
): Policy {
  const left = faults.filter(({ kind }) => kind !== 'unmapped' || unmapped === 'refuse');
  if (left.length === 0 && routes !== undefined) left.push(...compareRoutes(table, routes));
  if (left.length > 0) throw new PolicyError(left);
  return compileTable(table);
}

/** What the compiler was told of the routes has to be so: a handler would wait for one that never comes. */
function compareRoutes({ routes }: PolicyTable, known: readonly string[]): readonly PolicyFault[] {
  const faults = new Faults();
  const there = new Set(routes.map(({ route }) => route));
  const told = new Set(known);
  const differ = (one: string, sentence: string): void => faults.add('stale', [], `${sentence} ${PRINT_AGAIN}`, one);
  for (const route of there) if (!told.has(route)) differ(route, 'The code does not know this route.');
  for (const route of told) if (!there.has(route)) differ(route, 'The code knows this route, and the policy does not.');
  return faults.all;
}

const PRINT_AGAIN = 'Print its routes again: hallpass policy types.';
