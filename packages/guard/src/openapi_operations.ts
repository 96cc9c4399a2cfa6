/** The operations of an OpenAPI document (3.0 to 3.2), each with the method and the path that a guard will see. */
import { isObject } from '@hallpass/protocol';
import { at, own, quote, type Faults, type Place } from './openapi_faults.ts';
import { compilePolicy } from './policy.ts';

export interface Operation {
  /** Method and path as a policy names them: `GET /v1/accounts/{accountID}`. */
  readonly route: string;
  readonly method: string;
  /** The path as the document has it, without the server's. */
  readonly template: string;
  /** The names of its path parameters, in order. */
  readonly parameters: readonly string[];
  /** Where the operation is written, which a `$ref` may have moved. */
  readonly place: Place;
  readonly fields: Readonly<Record<string, unknown>>;
  /** The path item around it. */
  readonly item: Readonly<Record<string, unknown>>;
}

export interface OperationOptions {
  /**
   * What stands before the paths of the document in the requests that the guard sees, such as `/v1`; empty where a proxy
   * takes it off. Without it, what `servers` say.
   */
  readonly basePath?: string;
}

const METHODS: ReadonlySet<string> = new Set([
  'get',
  'put',
  'post',
  'delete',
  'options',
  'head',
  'patch',
  'trace',
  'query',
]);

/** Every operation that can be named in a policy; what is wrong with the others goes to the faults. */
export function readOperations(
  document: Readonly<Record<string, unknown>>,
  options: OperationOptions,
  faults: Faults,
): readonly Operation[] {
  const version = own(document, 'openapi');
  if (typeof version !== 'string' || !/^3\.[0-2](?:\.|$)/.test(version)) {
    faults.add(
      'unsupported',
      ['openapi'],
      `openapi must be a text such as '3.1.0'. Read are versions 3.0, 3.1 and 3.2.`,
    );
    return [];
  }
  const paths = own(document, 'paths');
  if (!isObject(paths)) {
    faults.add('malformed', ['paths'], 'There is no object of paths. Is this the right file?');
    return [];
  }
  const reading: Reading = { document, options, faults, prefixes: new Map() };
  const operations = Object.entries(paths).flatMap(([template, item]) =>
    template.startsWith('x-') ? [] : readPathItem(reading, template, item),
  );
  if (operations.length === 0 && faults.all.length === 0) {
    faults.add('malformed', ['paths'], 'There is no operation in it. Is this the right file?');
  }
  return operations;
}

interface Reading {
  readonly document: Readonly<Record<string, unknown>>;
  readonly options: OperationOptions;
  readonly faults: Faults;
  /** By the lists of servers that were read, what they come to: each is complained of once. */
  readonly prefixes: Map<unknown, string | undefined>;
}

function readPathItem(reading: Reading, template: string, written: unknown): readonly Operation[] {
  const { faults } = reading;
  const found = followReference(reading, ['paths', template], written);
  if (found === undefined) return [];
  const { place, item } = found;
  const operations: Operation[] = [];
  for (const [name, fields] of Object.entries(item)) {
    if (METHODS.has(name)) {
      operations.push(
        ...readOperation(reading, template, { method: name.toUpperCase(), place: [...place, name], fields, item }),
      );
    } else if (name === 'additionalOperations' && isObject(fields)) {
      for (const [method, more] of Object.entries(fields)) {
        const inside = [...place, name, method];
        operations.push(...readOperation(reading, template, { method, place: inside, fields: more, item }));
      }
    } else if (METHODS.has(name.toLowerCase())) {
      faults.add('malformed', [...place, name], `${quote(name)} is not read as a method. Write it in lower case.`);
    }
  }
  return operations;
}

/** How many references may lead from one to the next. */
const REFERENCES_MAX = 16;

/** A path item, wherever in this document it is written. */
function followReference(
  { document, faults }: Reading,
  from: Place,
  written: unknown,
): { readonly place: Place; readonly item: Readonly<Record<string, unknown>> } | undefined {
  let [place, item] = [from, written];
  for (let followed = 0; followed <= REFERENCES_MAX; followed++) {
    if (!isObject(item)) {
      const sentence = followed === 0 ? 'A path item must be an object.' : 'Its $ref leads to no path item.';
      faults.add(followed === 0 ? 'malformed' : 'bad_reference', from, sentence);
      return undefined;
    }
    const reference = own(item, '$ref');
    if (reference === undefined) return { place, item };
    if (typeof reference !== 'string' || !reference.startsWith('#/')) {
      faults.add(
        'bad_reference',
        [...place, '$ref'],
        `${typeof reference === 'string' ? quote(reference) : 'Its $ref'} leads out of this file, and no other file is read. Bundle them into one first.`,
      );
      return undefined;
    }
    if (Object.keys(item).some((name) => METHODS.has(name) || name === 'additionalOperations')) {
      faults.add(
        'bad_reference',
        place,
        'It has a $ref and operations of its own, which tools read differently. Keep one.',
      );
      return undefined;
    }
    const target = parsePointer(reference);
    if (target === undefined) {
      faults.add('bad_reference', [...place, '$ref'], `${quote(reference)} is no JSON Pointer.`);
      return undefined;
    }
    [place, item] = [target, at(document, target)];
  }
  faults.add('bad_reference', from, `Its $ref leads on and on: more than ${REFERENCES_MAX} times.`);
  return undefined;
}

/** The pointer of `#/...` (RFC 6901 §6) to a place; undefined when it is malformed. */
function parsePointer(reference: string): Place | undefined {
  try {
    const names = decodeURIComponent(reference.slice(2)).split('/');
    if (names.some((name) => /~(?![01])/.test(name))) return undefined;
    return names.map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  } catch {
    return undefined;
  }
}

type Written = Pick<Operation, 'method' | 'place' | 'item'> & { readonly fields: unknown };

function readOperation(
  reading: Reading,
  template: string,
  { method, place, fields, item }: Written,
): readonly Operation[] {
  const { options, faults } = reading;
  const named = `${method} ${template}`;
  if (!isObject(fields)) {
    faults.add('malformed', place, 'An operation must be an object.', named);
    return [];
  }
  const prefix = options.basePath ?? readPrefix(reading, { place, fields, item });
  if (prefix === undefined) return [];
  const path = template === '/' && prefix !== '' ? prefix : prefix + template;
  const route = `${method} ${path}`;
  const fault = routeFault(route, template);
  if (fault !== undefined) {
    faults.add('bad_path', place, fault, named);
    return [];
  }
  return [{ route, method, template, parameters: parametersOf(path), place, fields, item }];
}

/** The names of a path's parameters, in order. */
export function parametersOf(path: string): readonly string[] {
  return [...path.matchAll(/\{([^{}]*)\}/g)].map(([, name = '']) => name);
}

/** What a policy has against a route, whatever its scope; undefined for one that it takes. */
export function routeFault(route: string, template: string): string | undefined {
  if (!template.startsWith('/')) return 'A path begins with a slash.';
  if (!/^[A-Z][A-Z-]* \//.test(route)) return "A method is a word in capitals, as in 'GET /accounts'.";
  if (template !== '/' && template.endsWith('/'))
    return 'A guard lets no path with a slash at its end in. Take it off.';
  if (/[^/]\{|\}[^/]/.test(template)) {
    return 'A parameter has to be a whole segment of the path, as in /accounts/{accountID}: no part of one can be bound.';
  }
  try {
    compilePolicy<Readonly<Record<string, string>>>({ [route]: '/any.read' });
    return undefined;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // The route is said already.
    return message.replace(`Route '${route}': `, '');
  }
}

/** The path of the servers: of the operation, or of its path item, or of the document, whoever names some first. */
function readPrefix(
  { document, faults, prefixes }: Reading,
  { place, fields, item }: Pick<Operation, 'place' | 'fields' | 'item'>,
): string | undefined {
  const owners = [
    [fields, place],
    [item, place.slice(0, -1)],
    [document, []],
  ] as const;
  const [owner, ownerPlace] = owners.find(([candidate]) => own(candidate, 'servers') !== undefined) ?? [{}, []];
  const servers = own(owner, 'servers');
  if (servers === undefined) return '';
  if (!prefixes.has(servers)) prefixes.set(servers, prefixOf(servers, [...ownerPlace, 'servers'], faults));
  return prefixes.get(servers);
}

function prefixOf(servers: unknown, place: Place, faults: Faults): string | undefined {
  if (!Array.isArray(servers)) {
    faults.add('bad_server', place, 'servers must be a list of objects.');
    return undefined;
  }
  const prefixes = new Set<string>();
  for (const server of servers as readonly unknown[]) {
    const url = at(server, ['url']);
    const found = typeof url === 'string' ? serverPaths(url, at(server, ['variables'])) : undefined;
    if (found === undefined) {
      const said = typeof url === 'string' ? quote(url) : 'A server without a url';
      faults.add('bad_server', place, `${said} does not say which path requests begin with. ${SAY_BASE_PATH}`);
      return undefined;
    }
    for (const prefix of found) prefixes.add(prefix);
  }
  if (prefixes.size > 1) {
    const paths = [...prefixes].map((prefix) => quote(prefix)).join(', ');
    faults.add('bad_server', place, `These servers have different paths: ${paths}. ${SAY_BASE_PATH}`);
    return undefined;
  }
  return [...prefixes][0] ?? '';
}

const SAY_BASE_PATH = `Say which one the guard will see: basePath: '/v1', or --base-path /v1.`;

/** The most paths that the variables of one server's URL may make. */
const SERVER_PATHS_MAX = 100;

/** Either may hold variables; whatever they are, the path begins behind it. */
const SCHEME_AND_HOST = /^(?:[A-Za-z][A-Za-z0-9+.-]*:|\{[^{}/]*\}:)?\/\/[^/?#]*/;

/** The paths of a server's URL, one for each value that its variables may have; undefined for what has none for sure. */
function serverPaths(url: string, variables: unknown): readonly string[] | undefined {
  const path = url.replace(SCHEME_AND_HOST, '');
  if (path !== '' && !path.startsWith('/')) return undefined;
  let paths = [path];
  for (const [whole, name = ''] of path.matchAll(/\{([^{}]*)\}/g)) {
    const variable = isObject(variables) ? own(variables, name) : undefined;
    const values = isObject(variable) ? (own(variable, 'enum') ?? [own(variable, 'default')]) : undefined;
    if (!Array.isArray(values) || paths.length * values.length > SERVER_PATHS_MAX) return undefined;
    // As a file without quotes has it: `default: 2`.
    if (!values.every((value) => typeof value === 'string' || typeof value === 'number')) return undefined;
    paths = paths.flatMap((text) => values.map((value: unknown) => text.replaceAll(whole, () => String(value))));
  }
  if (paths.some((text) => /[?#{}]/.test(text))) return undefined;
  return paths.map((text) => text.replace(/\/$/, ''));
}
