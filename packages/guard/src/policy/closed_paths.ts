/**
 * Requests for operations that no policy opens, in whatever way a framework may match them: `/items/{id}:archive` is not
 * `/items/{id}` with a value that ends in `:archive`.
 */

/** An operation's path that is closed. */
export interface ClosedPath {
  /** As people know it: `POST /items/{id}:archive`. */
  readonly route: string;
  /** `*`: any method. */
  readonly method: string;
  /** The path in front of the template; undefined when it cannot be known. */
  readonly prefix: string | undefined;
  readonly template: string;
  /** Methods that `*` leaves out. */
  readonly except?: ReadonlySet<string>;
}

/** A segment: a text, a whole parameter (undefined), or the texts around the parameters in it. */
type Segment = string | undefined | readonly string[];

/** A closed path as requests are compared with it: decoded, and without slashes that are too many. */
interface ClosedShape {
  readonly route: string;
  readonly method: string;
  readonly except: ReadonlySet<string>;
  readonly segments: readonly Segment[];
  /** Whether anything may stand in front. */
  readonly anyPrefix: boolean;
  /** The texts around parameters, where one of them may hold slashes. */
  readonly texts: readonly string[] | undefined;
  /** Whether the last segment takes all that is left: routers try it when nothing else fits. */
  readonly catchAll: boolean;
}

/** Marks of a parameter that is one segment at most, and of one that may be more: characters of private use. */
const [ONE, MANY] = ['\ue000', '\ue001'];

/** The paths that requests for a template come by, as they look after they were read. */
function pathsOf({ prefix, template }: Pick<ClosedPath, 'prefix' | 'template'>): readonly string[] {
  const whole = [`${prefix ?? ''}/${template}`];
  // Some put a slash there, and others do not: then what is not known ends in the same segment, whatever it is.
  if (!template.startsWith('/')) whole.push(`${prefix ?? '/{}'}${template}`);
  return [...new Set(whole.flatMap(readingsOf))];
}

/**
 * Paths of the same text are fit by the same requests. Behind a prefix that is not known there are more than behind none,
 * and a parameter that may hold slashes takes more than one that may not.
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

/** The route that a shape would be in a policy: texts and whole parameters behind a known path; undefined for others. */
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
 * What a template may mean. `?` or `#` ends the path, or is a character of a segment, which a request writes `%3F`; spaces
 * around a segment are part of it, or a slip.
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
      // A brace without its other half: a parameter was meant.
      .replaceAll(/[{}][^/]*/g, ONE)
  );
}

/**
 * A path as requests for it look after they were read: what follows `;` is no part of it, slashes at the end or beside
 * each other are one to some frameworks, case is nothing to others.
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

/** A text without its case and its way to write an accent. */
function fold(text: string): string {
  return text.normalize('NFC').toLowerCase();
}

/** A route with its parameters named as those of closed ones are, so that the two can be compared. */
export function plainNames(route: string): string {
  const [method = '', ...segments] = route.split('/');
  return [method, ...segments.map((segment, index) => (segment.startsWith('{') ? `{p${index}}` : segment))].join('/');
}

/** The closed paths of a policy. */
export class ClosedPaths {
  /** Those that a policy can have as routes, for its own tree: each with the closed operation's name. */
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

  /** The closed operation that a route is, but for its case and the names of its parameters; undefined when none is. */
  twinOf(route: string): string | undefined {
    return this.#folded.get(fold(route));
  }

  /** Whether each of them is a route. */
  get arePlain(): boolean {
    return this.#byMethod.size === 0;
  }

  /**
   * The closed operation for which a request may be meant that a policy's route matches; undefined when it is for that
   * route. Where one path has a text and the other a parameter the text is meant, leftmost first (OpenAPI §4.8.8.1).
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

/** Whether the texts are there in their order, the first at the start and the last at the end; linear in both. */
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

/** How narrow a segment is: a parameter, a part of one, a text. */
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
