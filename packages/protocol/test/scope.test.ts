import {
  describeScopeListFault,
  covers,
  fillScope,
  isScope,
  isSegmentValue,
  opens,
  parseScope,
  parseScopeList,
  printScopeList,
  ScopeSet,
  type Scope,
} from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

function scope(text: string): Scope {
  const parsed = parseScope(text);
  assert.ok(isScope(parsed), text);
  return parsed;
}

/**
 * The model: a scope stands for a set of filled scopes, here over a world of three values. Literals use two of them. The
 * third, which no literal names, stands for every value there is, so that "any value" never looks like "a or b".
 */
const WORLD = ['a', 'b', 'other'];

function denotation(text: string): ReadonlySet<string> {
  const parameter = /\{[^}]*\}/.exec(text)?.[0];
  if (parameter === undefined) return new Set([text]);
  return new Set(WORLD.flatMap((value) => [...denotation(text.replace(parameter, value))]));
}

function isSuperset(large: ReadonlySet<string>, small: ReadonlySet<string>): boolean {
  return [...small].every((one) => large.has(one));
}

const someText = fc
  .tuple(
    fc.array(fc.constantFrom('a', 'b', '*'), { minLength: 1, maxLength: 3 }),
    fc.constantFrom('read', 'write'),
    fc.constantFrom('p', 'q'),
  )
  .map(
    ([parts, verb, name]) => `/${parts.map((part, at) => (part === '*' ? `{${name}${at}}` : part)).join('/')}.${verb}`,
  );
const someTexts = fc.array(someText, { maxLength: 5 });

test('covers is "superset of" between the sets that two scopes stand for (contract §7)', () => {
  fc.assert(
    fc.property(someText, someText, (granted, requested) => {
      assert.equal(covers(scope(granted), scope(requested)), isSuperset(denotation(granted), denotation(requested)));
    }),
    { numRuns: 2000 },
  );
});

test('a set contains what the union of its scopes contains', () => {
  fc.assert(
    fc.property(someTexts, someTexts, (granted, requested) => {
      const union = new Set(granted.flatMap((text) => [...denotation(text)]));
      const set = new ScopeSet(granted.map(scope));
      for (const text of requested) assert.equal(set.contains(scope(text)), isSuperset(union, denotation(text)), text);
      const all = requested.every((text) => isSuperset(union, denotation(text)));
      assert.equal(set.containsAll(requested.map(scope)), all);
    }),
    { numRuns: 2000 },
  );
});

test('a set distinguishes templates with parameters in places 1 and 2 from one with a parameter in place 12', () => {
  const literals = Array.from({ length: 13 }, (_, at) => `s${at}`);
  const having = (places: readonly number[], text: (at: number) => string): Scope =>
    scope(`/${literals.map((literal, at) => (places.includes(at) ? text(at) : literal)).join('/')}.read`);
  const early = having([1, 2], (at) => `{p${at}}`);
  const late = having([12], (at) => `{p${at}}`);
  for (const set of [new ScopeSet([early, late]), new ScopeSet([late, early])]) {
    assert.ok(set.contains(having([1, 2], () => 'x')));
    assert.ok(set.contains(having([12], () => 'x')));
    assert.ok(!set.contains(having([1, 12], () => 'x')));
  }
});

test('a question to a set reads no granted scope, so its cost does not depend on their number', () => {
  let looks = 0;
  const counted = (one: Scope): Scope =>
    new Proxy(one, {
      get(target, member) {
        looks += 1;
        const value: unknown = Reflect.get(target, member);
        return value;
      },
    });
  const set = new ScopeSet(Array.from({ length: 1000 }, (_, at) => counted(scope(`/accounts/a${at}/transfers.read`))));
  looks = 0;
  assert.ok(set.contains(scope('/accounts/a999/transfers.read')));
  assert.ok(!set.contains(scope('/accounts/a1000/transfers.read')));
  assert.equal(looks, 0);
});

test('a printed scope parses to the same scope', () => {
  fc.assert(
    fc.property(someText, (text) => {
      assert.equal(printScopeList([scope(text)]), text);
      assert.deepEqual(parseScopeList(text), [scope(text)]);
    }),
  );
});

const someValues = fc.dictionary(
  fc.constantFrom('p0', 'p1', 'p2', 'q0', 'q1', 'q2'),
  fc.constantFrom('a', '..', '{x}', 'a/b', ''),
);

test('filling narrows a scope, never widens it, and accepts only valid values', () => {
  fc.assert(
    fc.property(someText, someValues, (text, values) => {
      const template = scope(text);
      const filled = fillScope(template, values);
      const wanted = template.parameters.map((name) => values[name]);
      assert.equal(
        isScope(filled),
        wanted.every((value) => value !== undefined && isSegmentValue(value)),
      );
      if (!isScope(filled)) return;
      assert.ok(covers(template, filled));
      assert.deepEqual(filled.parameters, []);
      assert.deepEqual(filled, parseScope(filled.text));
    }),
  );
});

test('a parameter may be named like a member of Object, and only own properties fill it', () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const template = scope(`/accounts/{${name}}.read`);
    assert.equal(fillScope(template, {}), 'missing_value');
    const filled = fillScope(template, Object.fromEntries([[name, 'a1']]));
    assert.ok(isScope(filled));
    assert.equal(filled.text, '/accounts/a1.read');
  }
  // A polluted prototype must not fill anything either.
  const inherited: Record<string, string> = Object.create({ id: 'evil' });
  assert.equal(fillScope(scope('/accounts/{id}.read'), inherited), 'missing_value');
});

test('a value must be one plain segment, so that it cannot add, remove or climb one', () => {
  const template = scope('/accounts/{id}.read');
  for (const id of ['a1', 'a.1', '~', '-', 'A_z9', 'x'.repeat(128)])
    assert.ok(isScope(fillScope(template, { id })), id);
  for (const id of [
    '',
    '.',
    '..',
    '.a',
    'a.',
    'a..b',
    'a/b',
    'a b',
    '%61',
    '*',
    '{id}',
    '}',
    '{',
    'a\n',
    'x'.repeat(129),
  ]) {
    assert.equal(fillScope(template, { id }), 'bad_value', JSON.stringify(id));
  }
  const names = ['a', 'b', 'c', 'd'];
  const long = scope(`/${names.map((name) => `{${name}}`).join('/')}.read`);
  const fill = (length: number): unknown =>
    fillScope(long, { a: 'x'.repeat(128), b: 'x'.repeat(128), c: 'x'.repeat(128), d: 'x'.repeat(length) });
  // 3 × 128 + 4 slashes + ".read" leave 119.
  assert.equal(fill(120), 'too_long');
  assert.notEqual(fill(119), 'too_long');
});

const SEGMENT_128 = 'x'.repeat(128);

for (const [good, bad, fault] of [
  ['/a.read', 'a.read', 'not_absolute'],
  ['/a.read', '', 'not_absolute'],
  ['/a.read', ' /a.read', 'not_absolute'],
  ['/a.read', '/a', 'no_verb'],
  ['/a.b.read', '/a.b/read', 'no_verb'],
  ['/a.read', '/', 'no_verb'],
  ['/a.read', '/a.', 'bad_verb'],
  ['/a.read-all', '/a.Read', 'bad_verb'],
  ['/a.read', '/a.read\n', 'bad_verb'],
  ['/a.read', '/a.read2', 'bad_verb'],
  ['/a.read', '/a.{verb}', 'bad_verb'],
  ['/a/b.read', '/a//b.read', 'empty_segment'],
  ['/a/b.read', '//b.read', 'empty_segment'],
  ['/a/b.read', '/a/.read', 'empty_segment'],
  ['/a/b.read', '/a/../b.read', 'dot_segment'],
  ['/a/b.read', '/a/./b.read', 'dot_segment'],
  ['/a.b/c.read', '/a..b/c.read', 'dot_segment'],
  ['/a.b/c.read', '/.a/c.read', 'dot_segment'],
  ['/a.b/c.read', '/a./c.read', 'dot_segment'],
  ['/a.b.read', '/a..read', 'dot_segment'],
  ['/a/b.read', '/a/%62.read', 'bad_character'],
  ['/a/b.read', '/a/*.read', 'bad_character'],
  ['/a/b.read', '/a/b\u0000.read', 'bad_character'],
  ['/a/b.read', '/a\n/b.read', 'bad_character'],
  ['/a/b.read', '/a/b c.read', 'bad_character'],
  ['/a/b.read', '/a/b\\c.read', 'bad_character'],
  // A Cyrillic a.
  ['/a/b.read', '/\u0430/b.read', 'bad_character'],
  ['/{a}/b.read', '/{}/b.read', 'bad_parameter'],
  ['/{a}/b.read', '/{a/b.read', 'bad_parameter'],
  ['/{a}/b.read', '/a}/b.read', 'bad_parameter'],
  ['/{a}/b.read', '/x{a}/b.read', 'bad_parameter'],
  ['/{a}/b.read', '/{{a}}/b.read', 'bad_parameter'],
  ['/{a1}/b.read', '/{1a}/b.read', 'bad_parameter'],
  ['/{A-b_1}/b.read', '/{-A}/b.read', 'bad_parameter'],
  ['/{a}/b.read', '/{a}b/b.read', 'bad_parameter'],
  ['/{_}/b.read', '/{_.}/b.read', 'bad_parameter'],
  ['/{a}/{b}.read', '/{a}/{a}.read', 'repeated_parameter'],
  [`/${SEGMENT_128}.read`, `/${SEGMENT_128}x.read`, 'segment_too_long'],
  [`/{${'x'.repeat(126)}}.read`, `/{${'x'.repeat(127)}}.read`, 'segment_too_long'],
] as const) {
  test(`${good.slice(0, 30)} is a scope, ${JSON.stringify(bad.slice(0, 30))} is not: ${fault} (contract §7, §9)`, () => {
    assert.ok(isScope(parseScope(good)));
    assert.equal(parseScope(bad), fault);
  });
}

test('every character of the alphabet may stand beside one dot, and none beside two', () => {
  for (const character of 'ABCXYZabcxyz0189_~-') {
    const [inside, twice] = [`/${character}.${character}${character}/b.read`, `/${character}..${character}/b.read`];
    assert.ok(isScope(parseScope(inside)), inside);
    assert.equal(parseScope(twice), 'dot_segment');
    assert.equal(parseScope(`/${character}./b.read`), 'dot_segment');
  }
});

test('a scope may have 512 characters, not 513', () => {
  const longest = `/${'a/'.repeat(200)}${'b'.repeat(106)}.read`;
  assert.equal(longest.length, 512);
  assert.ok(isScope(parseScope(longest)));
  assert.equal(parseScope(`${longest}s`), 'too_long');
});

test('no text throws, and an accepted scope has only characters of the grammar', () => {
  const near = fc.string({ unit: fc.constantFrom(...Array.from('/.{}ab-_~%*\\ \n\u0000A1')) });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        near,
        near.map((text) => `/${text}.read`),
      ),
      (text) => {
        const parsed = parseScope(text);
        if (isScope(parsed)) assert.match(text, /^(?:\/(?:[\w~-]+(?:\.[\w~-]+)*|\{[A-Za-z_][\w-]*\}))+\.[a-z-]+$/);
        parseScopeList(text);
        opens(text, scope('/a.read'));
      },
    ),
    { numRuns: 2000 },
  );
});

for (const [list, fault, word] of [
  ['', 'bad_spacing', ['', 1, 1]],
  [' /a.read', 'bad_spacing', ['', 1, 2]],
  ['/a.read ', 'bad_spacing', ['', 2, 2]],
  ['/a.read  /b.read', 'bad_spacing', ['', 2, 3]],
  ['/a.read\t/b.read', 'bad_character', ['/a.read\t/b.read', 1, 1]],
  ['/a.read,/b.read', 'bad_character', ['/a.read,/b.read', 1, 1]],
  ['/a.read b', 'not_absolute', ['b', 2, 2]],
] as const) {
  test(`${JSON.stringify(list)} is not a list of scopes: ${fault}, with the bad word (RFC 6749 §3.3)`, () => {
    const [text, place, of] = word;
    assert.deepEqual(parseScopeList(list), { fault, word: { text, place, of } });
  });
}

function manyScopes(count: number): string {
  return Array.from({ length: count }, (_, at) => `/s${at}.read`).join(' ');
}

test('a list keeps its order and drops duplicates; it may have 100 scopes, not 101 (contract §9)', () => {
  const parsed = parseScopeList('/b.read /a.read /b.read');
  assert.ok(!('fault' in parsed));
  assert.equal(printScopeList(parsed), '/b.read /a.read');
  const hundred = parseScopeList(manyScopes(100));
  assert.ok(!('fault' in hundred));
  assert.equal(printScopeList(hundred), manyScopes(100));
  assert.deepEqual(parseScopeList(manyScopes(101)), { fault: 'too_many' });
  // Counted before doubles are dropped: a limit on work is no limit when repeating is free.
  assert.deepEqual(parseScopeList(Array.from({ length: 101 }, () => '/a.read').join(' ')), { fault: 'too_many' });
  assert.deepEqual(parseScopeList('x'.repeat(8193)), { fault: 'list_too_long' });
  const long = parseScopeList('x'.repeat(8192));
  assert.ok('fault' in long);
  assert.equal(long.fault, 'too_long');
  assert.ok(describeScopeListFault(long).length < 200, 'what is repeated has a bound');
});

for (const [claim, required, opened] of [
  ['/a.read', '/a.read', true],
  ['/b.read /a.read', '/a.read', true],
  ['/a.read', '/a.write', false],
  ['/a.write', '/a.read', false],
  ['/a.read', '/a/b.read', false],
  ['/a/b.read', '/a.read', false],
  ['/A.read', '/a.read', false],
  ['/a.reader', '/a.read', false],
  ['', '/a.read', false],
  // What is a template in a key's policy is a literal in a token.
  ['/{x}.read', '/a.read', false],
  ['/{x}.read', '/{x}.read', false],
  ['/*.read', '/a.read', false],
  ['/a.read', '/{x}.read', false],
] as const) {
  test(`a token with "${claim}" ${opened ? 'opens' : 'does not open'} ${required} (contract §7)`, () => {
    assert.equal(opens(claim, scope(required)), opened);
  });
}

test('a token opens no more than its scopes cover', () => {
  fc.assert(
    fc.property(someTexts, someText, (claim, required) => {
      if (opens(claim.join(' '), scope(required))) assert.ok(new ScopeSet(claim.map(scope)).contains(scope(required)));
    }),
  );
});
