/**
 * Which route a path comes to, cell by cell: every small policy with every path of up to four segments, against an
 * oracle that was written from the contract (§8) and knows nothing of the code: of all routes that fit, the one with
 * the leftmost literal.
 */
import { compilePolicy, type Policy } from '@hallpass/guard';
import { isRefusal } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';

/** A parameter's place in a pattern; it is given a name when the route is written. */
const ANY = '{}';
type Pattern = readonly string[];

function listsOf(items: readonly string[], length: number): readonly Pattern[] {
  if (length === 0) return [[]];
  return listsOf(items, length - 1).flatMap((list) => items.map((item) => [...list, item]));
}

function upTo(length: number, items: readonly string[]): readonly Pattern[] {
  return Array.from({ length: length + 1 }, (_, at) => listsOf(items, at)).flat();
}

/** What is written in a path, and what it says. No literal says the third, and a careless reader takes it for a template. */
const WORDS: Readonly<Record<string, string>> = { a: 'a', b: 'b', '%7Bx%7D': '{x}' };

interface Path {
  readonly url: string;
  readonly values: readonly string[];
}

function pathsOf(words: readonly Pattern[]): readonly Path[] {
  return words.map((list) => ({ url: `/${list.join('/')}`, values: list.map((word) => WORDS[word] ?? '') }));
}

const PATHS = pathsOf(upTo(4, Object.keys(WORDS)));
const PATTERNS = upTo(4, ['a', 'b', ANY]);

/** Parameters are called by their place. */
function routeOf(pattern: Pattern, name = 'x'): string {
  return `GET /${pattern.map((place, at) => (place === ANY ? `{${name}${at + 1}}` : place)).join('/')}`;
}

function policyOf(patterns: readonly Pattern[]): Policy {
  return compilePolicy<Readonly<Record<string, string>>>(
    Object.fromEntries(patterns.map((pattern, at) => [routeOf(pattern), `/r${at}.read`])),
  );
}

function fits(pattern: Pattern, values: readonly string[]): boolean {
  return pattern.length === values.length && pattern.every((place, at) => place === ANY || place === values[at]);
}

/** Of two that fit the same path, whether the first is meant: at the first place where they differ it has the literal. */
function comesFirst(one: Pattern, other: Pattern): boolean {
  const at = one.findIndex((place, index) => place !== other[index]);
  return one[at] !== ANY;
}

/** By the contract: the route and the values that it binds, or nothing. */
function findByHand(patterns: readonly Pattern[], { values }: Path): string {
  let found: Pattern | undefined;
  for (const pattern of patterns) {
    if (fits(pattern, values) && (found === undefined || comesFirst(pattern, found))) found = pattern;
  }
  if (found === undefined) return 'route_not_allowed';
  let bound = '';
  for (const [at, place] of found.entries()) if (place === ANY) bound += ` x${at + 1}=${values[at] ?? ''}`;
  return `${routeOf(found)}:${bound}`;
}

function findByPolicy(policy: Policy, { url }: Path): string {
  const match = policy.match('GET', url);
  if (isRefusal(match)) return match.refused;
  let bound = '';
  for (const [name, value] of Object.entries(match.values)) bound += ` ${name}=${value}`;
  return `${match.route}:${bound}`;
}

/** How many cells there were, and in how many of them a route was found. */
function compare(policies: Iterable<readonly Pattern[]>, paths: readonly Path[]): { cells: number; found: number } {
  const counted = { cells: 0, found: 0 };
  for (const patterns of policies) {
    const policy = policyOf(patterns);
    for (const path of paths) {
      const expected = findByHand(patterns, path);
      const actual = findByPolicy(policy, path);
      if (actual !== expected) {
        assert.fail(
          `${path.url} of [${patterns.map((pattern) => routeOf(pattern)).join(', ')}]: ${actual}, not ${expected}`,
        );
      }
      counted.cells += 1;
      counted.found += expected === 'route_not_allowed' ? 0 : 1;
    }
  }
  return counted;
}

/** Every choice of so many of these, in one order. */
function* choicesOf<Item>(items: readonly Item[], count: number, from = 0): Generator<readonly Item[]> {
  if (count === 0) return yield [];
  for (let at = from; at < items.length; at++) {
    for (const rest of choicesOf(items, count - 1, at + 1)) yield [...items.slice(at, at + 1), ...rest];
  }
}

test('one route: every pattern with every path of up to four segments: 14,641 cells', () => {
  assert.equal(PATTERNS.length, 1 + 3 + 9 + 27 + 81);
  assert.equal(PATHS.length, 1 + 3 + 9 + 27 + 81);
  // A place and a value: a literal fits one word, a parameter all three.
  assert.deepEqual(compare(choicesOf(PATTERNS, 1), PATHS), {
    cells: 121 * 121,
    found: 1 + 5 + 5 ** 2 + 5 ** 3 + 5 ** 4,
  });
});

test('two routes: every pair, in both orders, with every path of up to four segments: 1,756,920 cells', () => {
  const pairs = [...choicesOf(PATTERNS, 2)];
  const there = compare(pairs, PATHS);
  const back = compare(
    pairs.map((pair) => pair.toReversed()),
    PATHS,
  );
  assert.equal(there.cells + back.cells, 121 * 120 * 121);
  assert.deepEqual(there, back);
});

test('three routes of three segments: every choice, with every path of three: 78,975 cells', () => {
  const threes = PATTERNS.filter(({ length }) => length === 3);
  const paths = PATHS.filter(({ values }) => values.length === 3);
  const { cells } = compare(choicesOf(threes, 3), paths);
  assert.equal(cells, ((27 * 26 * 25) / 6) * 27);
});

test('any number of routes of up to two segments: all 8,192 policies with every path: 106,496 cells', () => {
  const short = PATTERNS.filter(({ length }) => length <= 2);
  const paths = PATHS.filter(({ values }) => values.length <= 2);
  const policies = Array.from({ length: 2 ** short.length }, (_, chosen) =>
    short.filter((_pattern, at) => ((chosen >> at) & 1) === 1),
  );
  assert.equal(compare(policies, paths).cells, 2 ** 13 * 13);
});

test('two routes that differ only in parameter names are refused: 90 pairs', () => {
  let policies = 0;
  for (const pattern of PATTERNS.filter((places) => places.includes(ANY))) {
    const routes = { [routeOf(pattern, 'x')]: '/r.read', [routeOf(pattern, 'y')]: '/r.read' };
    assert.throws(() => compilePolicy<Readonly<Record<string, string>>>(routes), /match the same requests/);
    policies += 1;
  }
  assert.equal(policies, 121 - (1 + 2 + 4 + 8 + 16));
});

test('a scope with every parameter is filled with exactly the values, or refused for a value that no scope can hold: 14,641 cells', () => {
  let cells = 0;
  for (const pattern of PATTERNS) {
    const places = pattern.map((place, at) => (place === ANY ? `{x${at + 1}}` : place));
    const scope = `/${['s', ...places].join('/')}.read`;
    const policy = compilePolicy<Readonly<Record<string, string>>>({ [routeOf(pattern)]: scope });
    for (const { url, values } of PATHS) {
      const match = policy.match('GET', url);
      let expected = 'route_not_allowed';
      if (fits(pattern, values)) {
        expected = values.includes('{x}') ? 'value_not_allowed' : `/${['s', ...values].join('/')}.read`;
      }
      assert.equal(isRefusal(match) ? match.refused : match.scope.text, expected, `${url} of ${routeOf(pattern)}`);
      cells += 1;
    }
  }
  assert.equal(cells, 121 * 121);
});

test('a path with unescaped braces is refused, whatever the policy has in that place: 10,890 cells', () => {
  let cells = 0;
  for (const pattern of PATTERNS) {
    const policy = policyOf([pattern]);
    for (const words of upTo(4, ['a', 'b', '{x}']).filter((list) => list.includes('{x}'))) {
      const match = policy.match('GET', `/${words.join('/')}`);
      assert.ok(isRefusal(match) && match.refused === 'malformed_path', words.join('/'));
      cells += 1;
    }
  }
  assert.equal(cells, 121 * 90);
});

test('every other method is closed on every path: 847 cells', () => {
  const policy = policyOf(PATTERNS.slice(0, 13));
  let cells = 0;
  for (const method of ['HEAD', 'POST', 'get', 'GET ', '', 'GETGET', '__proto__']) {
    for (const { url } of PATHS) {
      const match = policy.match(method, url);
      assert.ok(isRefusal(match) && match.refused === 'route_not_allowed', `${method} ${url}`);
      cells += 1;
    }
  }
  assert.equal(cells, 7 * 121);
});
