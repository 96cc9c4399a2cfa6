/**
 * The members of each object at or above an operation, with the version of OpenAPI that introduced them. An unknown member
 * might decide who gets in (a misspelt `security`, a rule of a later version), so none at or above an operation is
 * ignored (ADR 27).
 */
import { isObject } from '@hallpass/protocol';
import { quote, type Spot } from './faults.ts';

/** The minor version of OpenAPI 3 that introduced a member. */
type Since = 0 | 1 | 2 | 3;

/** The last minor version that is read; the first is 3.0. */
export const MINOR_MAX = 3;

const since = (version: Since, names: string): Readonly<Record<string, Since>> =>
  Object.fromEntries(names.split(' ').map((name) => [name, version]));

/** The members of a path item that are methods. */
const METHODS = { ...since(0, 'get put post delete options head patch trace'), ...since(2, 'query') };

/** Members of Swagger 2.0 that are often left over, and say nothing about who gets in. */
const LEFT_OPERATION = since(0, 'consumes produces schemes');
const LEFT_PARAMETER = since(
  0,
  'type format items default enum minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength pattern ' +
    'minItems maxItems uniqueItems multipleOf collectionFormat nullable title readOnly',
);

const OBJECTS = {
  'the document': {
    ...since(0, 'openapi info servers paths components security tags externalDocs'),
    ...since(1, 'jsonSchemaDialect webhooks'),
    ...since(2, '$self'),
  },
  'a path item': {
    ...METHODS,
    ...since(0, '$ref summary description servers parameters'),
    ...since(2, 'additionalOperations'),
    ...since(3, 'security'),
  },
  'an operation': {
    ...since(0, 'tags summary description externalDocs operationId parameters requestBody responses callbacks'),
    ...since(0, 'deprecated security servers'),
    ...LEFT_OPERATION,
  },
  'a parameter': {
    ...since(0, 'name in description required deprecated allowEmptyValue style explode allowReserved schema'),
    ...since(0, 'example examples content'),
    ...LEFT_PARAMETER,
  },
  'a server': { ...since(0, 'url description variables'), ...since(2, 'name') },
  'a server variable': since(0, 'enum default description'),
  'a security scheme': {
    ...since(0, 'type description name in scheme bearerFormat flows openIdConnectUrl'),
    ...since(2, 'oauth2MetadataUrl deprecated'),
  },
  // What may be beside a $ref. Some tools read other members there and some don't.
  'a reference': since(0, '$ref summary description'),
} as const satisfies Readonly<Record<string, Readonly<Record<string, Since>>>>;

/** The kinds of objects, as a sentence names them. */
export type ObjectKind = keyof typeof OBJECTS;

/** Extensions may mean anything, and the specification allows readers to ignore them. */
const EXTENSION = /^x-(?!hallpass-)/;

/** Extensions that look as if they decide who gets in. The guard does not read them, and says so. */
const ABOUT_ACCESS = /auth(?!or(?!i))|secur|scope|permission|privilege|\brole|polic|\bacl\b|access/i;

/** A member that is not understood: where it is, and what to do. */
export interface Stranger {
  readonly spot: Spot;
  readonly sentence: string;
}

/** The first member of an object that this version does not have. Extensions about access are passed to `ignored`. */
export function findStranger(
  kind: ObjectKind,
  { source, place, value }: Spot,
  { minor, ignored }: { readonly minor: number; readonly ignored: (name: string, spot: Spot) => void },
): Stranger | undefined {
  if (!isObject(value)) return undefined;
  const known: ReadonlyMap<string, Since> = TABLES.get(kind) ?? new Map();
  for (const name of Object.keys(value)) {
    const from = known.get(name);
    if (from !== undefined && from <= minor) continue;
    const spot = { source, place: [...place, name], value: value[name] };
    if (from === undefined && EXTENSION.test(name)) {
      if (ABOUT_ACCESS.test(name)) ignored(name, spot);
      continue;
    }
    return {
      spot,
      sentence: `${quote(name)} is not a member of ${kind} in OpenAPI 3.${minor}. ${adviceFor(name, known)}`,
    };
  }
  return undefined;
}

/** All members of an object that this version does not have, except extensions. */
export function strangersOf(kind: ObjectKind, value: unknown, minor: number): readonly (readonly [string, unknown])[] {
  if (!isObject(value)) return [];
  const known = TABLES.get(kind);
  return Object.entries(value).filter(([name]) => {
    const from = known?.get(name);
    return from === undefined ? !EXTENSION.test(name) : from > minor;
  });
}

function adviceFor(name: string, known: ReadonlyMap<string, Since>): string {
  const from = known.get(name);
  if (from !== undefined) return `It exists since OpenAPI 3.${from}.`;
  const meant = [...known.keys()].find((one) => isMisspelt(name, one));
  return meant === undefined ? 'Remove it, or begin its name with x-.' : `Did you mean ${quote(meant)}?`;
}

/** Whether a name is probably a misspelling of another. */
export function isMisspelt(name: string, meant: string): boolean {
  const plain = (text: string): string => text.replaceAll(/[^A-Za-z$]/g, '').toLowerCase();
  return isNear(plain(meant), plain(name));
}

/** Whether two names differ by one letter at most (missing, added or different), or by two swapped letters. */
function isNear(one: string, other: string): boolean {
  let start = 0;
  while (start < one.length && one[start] === other[start]) start += 1;
  const [left, right] = [one.slice(start), other.slice(start)];
  const swapped = left.length > 1 && left[0] === right[1] && left[1] === right[0] && left.slice(2) === right.slice(2);
  return [
    left === right,
    left.slice(1) === right,
    left === right.slice(1),
    left.slice(1) === right.slice(1),
    swapped,
  ].includes(true);
}

const TABLES: ReadonlyMap<ObjectKind, ReadonlyMap<string, Since>> = new Map(
  // oxlint-disable-next-line no-unsafe-type-assertion -- the keys of the table above
  (Object.entries(OBJECTS) as readonly [ObjectKind, Readonly<Record<string, Since>>][]).map(([kind, members]) => [
    kind,
    new Map(Object.entries(members)),
  ]),
);

/** The method members that a path item of a version may have, in lower case. */
export function methodsOf(minor: number): ReadonlySet<string> {
  return new Set(Object.entries(METHODS).flatMap(([name, from]) => (from <= minor ? [name] : [])));
}
