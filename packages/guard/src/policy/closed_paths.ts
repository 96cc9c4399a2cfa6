/**
 * Recognises requests for operations that the policy does not open, however a framework may match them. A request for
 * `/items/{id}:archive` must not be taken for `/items/{id}` with a value that ends in `:archive`.
 */

/** The path of a closed operation. */
export interface ClosedPath {
  /** For messages: `POST /items/{id}:archive`. */
  readonly route: string;
  /** `*` means any method. */
  readonly method: string;
  /** The path before the template; undefined when it cannot be known. */
  readonly prefix: string | undefined;
  readonly template: string;
  /** Methods that `*` does not include. */
  readonly except?: ReadonlySet<string>;
}

/** A segment: a literal, a whole parameter (undefined), or the literals around the parameters in it. */
type Segment = string | undefined | readonly string[];

/** A closed path in the form that requests are compared with: decoded, without redundant slashes. */
interface ClosedShape {
  readonly route: string;
  readonly method: string;
  readonly except: ReadonlySet<string>;
  readonly segments: readonly Segment[];
  /** Whether any path may come before it. */
  readonly anyPrefix: boolean;
  /** The literals around the parameters, if one of the parameters may contain slashes. */
  readonly texts: readonly string[] | undefined;
  /** Whether the last segment is a catch-all, which routers try when nothing else matches. */
  readonly catchAll: boolean;
}

/** Marks for a parameter of at most one segment, and for one that may be longer: private-use characters. */
const [ONE, MANY] = ['\ue000', '\ue001'];

/** The paths that a request for a template may have, once parsed. */
function pathsOf({ prefix, template }: Pick<ClosedPath, 'prefix' | 'template'>): readonly string[] {
  const whole = [`${prefix ?? ''}/${template}`];
  // Some tools insert a slash there. Others don't, and then an unknown prefix ends in the same segment.
  if (!template.startsWith('/')) whole.push(`${prefix ?? '/{}'}${template}`);
  return [...new Set(whole.flatMap(readingsOf))];
}

/**
 * A text that is equal for two paths only if the same requests match both. An unknown prefix matches more than no prefix,
 * and a parameter that may contain slashes matches more than one that may not.
 */
export function extentOf(path: Pick<ClosedPath, 'prefix' | 'template'>): string {
  return JSON.stringify([path.prefix === undefined, ...pathsOf(path)]);
}

function shapesOf(closed: ClosedPath): readonly ClosedShape[] {
  const { route, method, prefix, except = new Set() } = closed;
  return pathsOf(closed).map((path) => ({
    route,
    method,
    except,
    segments: segmentsOf(path),
    anyPrefix: prefix === undefined,
    texts: path.includes(MANY) ? path.split(/[\ue000\ue001]+/) : undefined,
    catchAll: path.indexOf(MANY) === path.length - 1 && path.endsWith(`/${MANY}`),
  }));
}

const PLAIN = /^[A-Za-z0-9._~!$&'()*+,=:@-]+$/;

/** The shape as a route of a policy, if it has a known prefix and only literals and whole parameters; else undefined. */
function plainRoute({ method, segments, texts, anyPrefix }: ClosedShape): string | undefined {
  if (texts !== undefined || anyPrefix || !/^[A-Z][A-Z-]*$/.test(method)) return undefined;
  if (!segments.every((segment) => segment === undefined || (typeof segment === 'string' && PLAIN.test(segment))))
    return undefined;
  return `${method} /${segments.map((segment, index) => (typeof segment === 'string' ? segment : `{p${index}}`)).join('/')}`;
}

function segmentsOf(path: string): readonly Segment[] {
  const segments = path === '/' ? [] : path.slice(1).split('/');
  return segments.map((segment) => {
    if (segment === ONE) return undefined;
    return segment.includes(ONE) ? segment.split(/\ue000+/) : segment;
  });
}

/**
 * The ways to read a template. `?` or `#` ends the path, or is a character of a segment, which a request writes as `%3F`.
 * Spaces around a segment belong to it, or are a typing error.
 */
function readingsOf(template: string): readonly string[] {
  const marked = markParameters(template);
  const trimmed = (text: string): string =>
    text
      .split('/')
      .map((segment) => segment.trim())
      .join('/');
  return [marked, marked.replace(/[?#][^]*$/, '')].flatMap((text) => [normalise(text), normalise(trimmed(text))]);
}

function markParameters(template: string): string {
  return (
    template
      .replaceAll(/\{[?&#;][^{}]*\}/g, '')
      .replaceAll(/\{([^{}]*)\}/g, (_, name: string) => (/^[.]|[/*+]|\.\.\./.test(name) ? MANY : ONE))
      // An unmatched brace: a parameter was meant.
      .replaceAll(/[{}][^/]*/g, ONE)
  );
}

/**
 * Normalises a path the way lenient frameworks do: what follows `;` is dropped, and so are trailing and repeated slashes
 * and dot segments.
 */
function normalise(path: string): string {
  const segments: string[] = [];
  for (const segment of decode(path.replaceAll(/;[^/]*/g, '')).split(/[/\\]+/)) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return `/${segments.join('/')}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Folds case, and the ways to encode an accent. */
function fold(text: string): string {
  return text.normalize('NFC').toLowerCase();
}

/** A route with its parameters renamed by position, so that it can be compared with a closed one. */
export function plainNames(route: string): string {
  const [method = '', ...segments] = route.split('/');
  return [method, ...segments.map((segment, index) => (segment.startsWith('{') ? `{p${index}}` : segment))].join('/');
}

/** The closed paths of a policy, and which requests may be meant for them. */
export class ClosedPaths {
  /** The closed paths that can be routes of a policy's own tree, each with the closed operation's name. */
  readonly routes = new Map<string, string>();
  readonly #folded = new Map<string, string>();
  readonly #byMethod = new Map<string, ClosedShape[]>();

  constructor(closed: readonly ClosedPath[]) {
    for (const shape of closed.flatMap(shapesOf)) {
      const route = plainRoute(shape);
      if (route !== undefined) {
        this.routes.set(route, shape.route);
        this.#folded.set(fold(route), shape.route);
        continue;
      }
      const folded = {
        ...shape,
        segments: shape.segments.map((segment) => (typeof segment === 'string' ? fold(segment) : segment?.map(fold))),
        texts: shape.texts?.map(fold),
      };
      const those = this.#byMethod.get(shape.method);
      if (those === undefined) this.#byMethod.set(shape.method, [folded]);
      else those.push(folded);
    }
  }

  /** The closed operation that equals a route except for case and parameter names; undefined if there is none. */
  twinOf(route: string): string | undefined {
    return this.#folded.get(fold(route));
  }

  /** Whether all of them can be routes. */
  get arePlain(): boolean {
    return this.#byMethod.size === 0;
  }

  /**
   * The closed operation that a request may be meant for although a route of the policy matches it; undefined if it is
   * meant for the route. Where one has a literal and the other a parameter, the literal wins, leftmost first (OpenAPI
   * §4.8.8.1).
   */
  find(method: string, segments: readonly string[], routePath: string): string | undefined {
    const folded = segments.map(fold);
    const route = routePath === '/' ? [] : routePath.slice(1).split('/');
    const isMeant = (shape: ClosedShape): boolean => matches(shape, folded) && !isNarrower(route, shape);
    return (
      this.#byMethod.get(method)?.find(isMeant)?.route ??
      this.#byMethod.get('*')?.find((shape) => !shape.except.has(method) && isMeant(shape))?.route
    );
  }
}

function matches({ segments, texts, anyPrefix }: ClosedShape, request: readonly string[]): boolean {
  if (texts !== undefined) return glob(anyPrefix ? ['', ...texts] : texts, `/${request.join('/')}`);
  const more = request.length - segments.length;
  if (anyPrefix ? more < 0 : more !== 0) return false;
  return segments.every((segment, index) => {
    const there = request[more + index] ?? '';
    if (segment === undefined) return true;
    return typeof segment === 'string' ? segment === there : glob(segment, there);
  });
}

/** Whether a text consists of the literals in order, the first at its start and the last at its end. Takes linear time. */
function glob(texts: readonly string[], whole: string): boolean {
  const [first = '', ...middle] = texts;
  const last = middle.pop();
  if (last === undefined) return first === whole;
  if (!whole.startsWith(first) || !whole.endsWith(last) || first.length + last.length > whole.length) return false;
  let at = first.length;
  for (const text of middle) {
    const found = whole.indexOf(text, at);
    if (found === -1) return false;
    at = found + text.length;
  }
  return at + last.length <= whole.length;
}

/** How specific a segment is: a parameter, a parameter with literals, a literal. */
const NARROWNESS = { parameter: 0, part: 1, text: 2 };

function isNarrower(route: readonly string[], { segments, texts, anyPrefix, catchAll }: ClosedShape): boolean {
  if (texts !== undefined && (anyPrefix || !catchAll)) return false;
  const more = anyPrefix ? route.length - segments.length : 0;
  for (const [index, segment] of route.entries()) {
    if (catchAll && index >= segments.length - 1) return true;
    const mine = segment.startsWith('{') ? NARROWNESS.parameter : NARROWNESS.text;
    const theirs = narrowness(index < more ? '' : segments[index - more]);
    if (mine !== theirs) return mine > theirs;
  }
  return false;
}

function narrowness(segment: Segment): number {
  if (segment === undefined) return NARROWNESS.parameter;
  return typeof segment === 'string' ? NARROWNESS.text : NARROWNESS.part;
}
