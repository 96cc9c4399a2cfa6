/**
 * The scope algebra, cell by cell: every pair of scopes of up to four segments, against an oracle that was written from
 * the contract (§7, §9) and knows nothing of the code. The oracle is slow and plain on purpose.
 */
import { covers, fillScope, isScope, opens, parseScope, ScopeSet, type Scope } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const SEGMENTS_MAX = 4;
const VERBS = ['read', 'write'] as const;
/** A parameter's place; it is given a name when the text is written. */
const ANY = '{}';

/** A scope as the oracle has it: the places with their letters, the parameters numbered by their place. */
interface Shape {
  readonly places: readonly string[];
  readonly verb: string;
}

/** Every list of up to so many of these. */
function listsOf(items: readonly string[], lengthMax: number): readonly (readonly string[])[] {
  const lists: string[][] = [];
  let longest: string[][] = [[]];
  for (let length = 1; length <= lengthMax; length++) {
    longest = longest.flatMap((list) => items.map((item) => [...list, item]));
    lists.push(...longest);
  }
  return lists;
}

/** Every shape of up to so many segments on two letters and a parameter. */
function shapesTo(segmentsMax: number): readonly Shape[] {
  return listsOf(['a', 'b', ANY], segmentsMax).flatMap((places) => VERBS.map((verb) => ({ places, verb })));
}

/** The text of a shape; its parameters are `{x1}`, `{x2}` and so on for the name `x`. */
function textOf({ places, verb }: Shape, name: string): string {
  return `/${places.map((place, at) => (place === ANY ? `{${name}${at + 1}}` : place)).join('/')}.${verb}`;
}

function scope(text: string): Scope {
  const parsed = parseScope(text);
  assert.ok(isScope(parsed), text);
  return parsed;
}

/**
 * The world has three values, so that "any one value" is more than the two that literals name. A scope stands for the
 * filled scopes that it gives in that world.
 */
const VALUES = ['a', 'b', 'c'];

function filledFormsOf({ places, verb }: Shape): ReadonlySet<string> {
  let starts = [''];
  for (const place of places) {
    const choices = place === ANY ? VALUES : [place];
    starts = starts.flatMap((start) => choices.map((choice) => `${start}/${choice}`));
  }
  return new Set(starts.map((start) => `${start}.${verb}`));
}

function holdsAll(held: ReadonlySet<string>, wanted: ReadonlySet<string>): boolean {
  for (const one of wanted) if (!held.has(one)) return false;
  return true;
}

/** Every unordered pair of these, one with itself included. */
function pairsOf<Item>(items: readonly Item[]): readonly (readonly [Item, Item])[] {
  return items.flatMap((one, at) => items.slice(at).map((other): readonly [Item, Item] => [one, other]));
}

const ALL = shapesTo(SEGMENTS_MAX).map((shape) => ({ shape, forms: filledFormsOf(shape) }));
const SHORT = shapesTo(2).map((shape) => ({ shape, forms: filledFormsOf(shape) }));
const granted = new Map(ALL.map(({ shape }) => [shape, scope(textOf(shape, 'x'))]));
/** The other side calls its parameters otherwise: a name is no part of what a scope stands for. */
const requested = new Map(ALL.map(({ shape }) => [shape, scope(textOf(shape, 'y'))]));

function same(actual: unknown, expected: unknown, cell: () => string): void {
  if (actual !== expected) assert.fail(`${cell()}: ${String(actual)}, and by the contract ${String(expected)}`);
}

test('the table has every scope of up to four segments: 120 shapes with two verbs', () => {
  assert.equal(ALL.length, (3 + 9 + 27 + 81) * 2);
  assert.equal(SHORT.length, (3 + 9) * 2);
  assert.equal(new Set(ALL.map(({ shape }) => textOf(shape, 'x'))).size, 240);
});

test('every text of up to four segments on a, b and {x} is a scope, unless it names {x} twice: 240 cells', () => {
  let cells = 0;
  for (const places of listsOf(['a', 'b', '{x}'], SEGMENTS_MAX)) {
    for (const verb of VERBS) {
      const text = `/${places.join('/')}.${verb}`;
      const parsed = parseScope(text);
      const named = places.filter((place) => place === '{x}').length;
      same(isScope(parsed), named <= 1, () => text);
      if (isScope(parsed)) {
        assert.deepEqual({ ...parsed }, { text, segments: places, verb, parameters: named === 0 ? [] : ['x'] });
      }
      cells += 1;
    }
  }
  assert.equal(cells, 240);
});

test('covers: a template covers any one value in each place, a filled scope itself alone: 57,600 cells (contract §7)', () => {
  let cells = 0;
  let covered = 0;
  for (const one of ALL) {
    for (const other of ALL) {
      const [held, wanted] = [granted.get(one.shape), requested.get(other.shape)];
      assert.ok(held !== undefined && wanted !== undefined);
      const expected = holdsAll(one.forms, other.forms);
      same(covers(held, wanted), expected, () => `${held.text} covers ${wanted.text}`);
      same(new ScopeSet([held]).contains(wanted), expected, () => `a set of ${held.text} contains ${wanted.text}`);
      cells += 1;
      covered += expected ? 1 : 0;
    }
  }
  assert.equal(cells, 240 * 240);
  // A place of the grantor's and the requestor's: (a, a), (b, b), ({x}, a), ({x}, b), ({x}, {y}) are covered.
  assert.equal(covered, (5 + 5 ** 2 + 5 ** 3 + 5 ** 4) * 2);
});

test('a set of two contains what either covers, and nothing of both together: 72,000 cells', () => {
  let cells = 0;
  for (const pair of pairsOf(SHORT)) {
    const set = new ScopeSet(pair.map(({ shape }) => scope(textOf(shape, 'x'))));
    for (const { shape, forms } of ALL) {
      const wanted = requested.get(shape);
      assert.ok(wanted !== undefined);
      const expected = pair.some((held) => holdsAll(held.forms, forms));
      same(
        set.contains(wanted),
        expected,
        () => `${pair.map((held) => textOf(held.shape, 'x')).join(' ')} contains ${wanted.text}`,
      );
      cells += 1;
    }
  }
  assert.equal(cells, 300 * 240);
});

test('a set contains all of two when it contains the one and the other; of none, always: 90,300 cells', () => {
  const sets = pairsOf(SHORT);
  const questions = pairsOf(SHORT);
  let cells = 0;
  for (const held of sets) {
    const set = new ScopeSet(held.map(({ shape }) => scope(textOf(shape, 'x'))));
    assert.ok(set.containsAll([]));
    cells += 1;
    for (const asked of questions) {
      const expected = asked.every(({ forms }) => held.some((one) => holdsAll(one.forms, forms)));
      const wanted = asked.flatMap(({ shape }) => requested.get(shapeIn(shape)) ?? []);
      assert.equal(wanted.length, 2);
      same(set.containsAll(wanted), expected, () => `${wanted.map(({ text }) => text).join(' ')} in a set`);
      cells += 1;
    }
  }
  assert.equal(cells, 300 + 300 * 300);
  assert.ok(!new ScopeSet([]).containsAll([scope('/a.read')]));
});

/** The shape of the large table that is like this one. */
function shapeIn(shape: Shape): Shape {
  const text = textOf(shape, 'x');
  const found = ALL.find((one) => textOf(one.shape, 'x') === text);
  assert.ok(found !== undefined);
  return found.shape;
}

/** What may be there for a parameter: two values, none at all, and two that are no plain segment. */
const FILLINGS: readonly (string | undefined)[] = ['a', 'c', undefined, '{x}', '..'];

/** The first parameter from the left that cannot be filled says why; else the text, letter by letter. */
function filledByHand({ places, verb }: Shape, values: readonly (string | undefined)[]): string {
  const segments: string[] = [];
  for (const [at, place] of places.entries()) {
    const value = place === ANY ? values[at] : place;
    if (value === undefined) return 'missing_value';
    if (value !== 'a' && value !== 'b' && value !== 'c') return 'bad_value';
    segments.push(value);
  }
  return `/${segments.join('/')}.${verb}`;
}

test('fillScope: every template with every value in every place gives the text with the values in it: 150,000 cells', () => {
  const assignments = FILLINGS.flatMap((one) =>
    FILLINGS.flatMap((two) => FILLINGS.flatMap((three) => FILLINGS.map((four) => [one, two, three, four]))),
  );
  let cells = 0;
  for (const values of assignments) {
    const named = Object.fromEntries(
      values.flatMap((value, at) => (value === undefined ? [] : [[`x${at + 1}`, value]])),
    );
    for (const { shape } of ALL) {
      const template = granted.get(shape);
      assert.ok(template !== undefined);
      const filled = fillScope(template, named);
      const expected = filledByHand(shape, values);
      same(isScope(filled) ? filled.text : filled, expected, () => `${template.text} with ${JSON.stringify(named)}`);
      if (isScope(filled) && filled.parameters.length > 0) assert.fail(`${filled.text} is not filled`);
      cells += 1;
    }
  }
  assert.equal(cells, 240 * 5 ** 4);
});

test('opens: a token opens the very text that it holds, and a {x} neither opens nor is opened: 129,600 cells (contract §7)', () => {
  let cells = 0;
  let opened = 0;
  for (const held of ALL) {
    for (const wanted of ALL) {
      // The same name on both sides: even the identical template opens nothing.
      const required = granted.get(wanted.shape);
      const claim = textOf(held.shape, 'x');
      assert.ok(required !== undefined);
      const expected = claim === required.text && !required.text.includes('{');
      same(opens(claim, required), expected, () => `${claim} opens ${required.text}`);
      cells += 1;
      opened += expected ? 1 : 0;
    }
  }
  assert.equal(cells, 240 * 240);
  assert.equal(opened, (2 + 4 + 8 + 16) * 2);
  for (const [one, other] of pairsOf(SHORT)) {
    const claims = [textOf(one.shape, 'x'), textOf(other.shape, 'x')];
    for (const wanted of ALL) {
      const required = granted.get(wanted.shape);
      assert.ok(required !== undefined);
      const expected = claims.some((claim) => claim === required.text && !claim.includes('{'));
      same(opens(claims.join(' '), required), expected, () => `${claims.join(' ')} opens ${required.text}`);
      same(opens(claims, required), expected, () => `the words ${claims.join(' ')} opens ${required.text}`);
      cells += 1;
    }
  }
  assert.equal(cells, 240 * 240 + 300 * 240);
});
