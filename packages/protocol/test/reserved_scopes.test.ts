/** Hallpass's own scopes (contract §10): only their very text grants them, whatever templates a key has. */
import { covers, fillScope, isReserved, isScope, opens, parseScope, ScopeSet, type Scope } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

function scope(text: string): Scope {
  const parsed = parseScope(text);
  assert.ok(isScope(parsed), text);
  return parsed;
}

for (const [reserved, free] of [
  ['/oauth2/revocations.read', '/oauth/revocations.read'],
  ['/oauth2/a/b.write', '/a/oauth2/b.write'],
  ['/oauth2.read', '/oauth2.a.read'],
  ['/admin/users.read', '/admins/users.read'],
  ['/admin/{id}.read', '/{admin}/id.read'],
  ['/admin.write', '/Admin.write'],
  ['/ping.read', '/ping.write'],
  ['/ping.read', '/ping/a.read'],
  ['/ping.read', '/ping.read-all'],
] as const) {
  test(`${reserved} is reserved, ${free} is not (contract §10)`, () => {
    assert.ok(isReserved(scope(reserved)));
    assert.ok(!isReserved(scope(free)));
  });
}

/** What a place of a scope may be in these tables; `*` is a parameter. */
const PLACES = ['oauth2', 'admin', 'ping', 'a', '*'];
const VERBS = ['read', 'write'];
/** The values there are. No literal names the last, which stands for every other value. */
const VALUES = ['oauth2', 'admin', 'ping', 'a', 'other'];

interface Shape {
  readonly places: readonly string[];
  readonly verb: string;
}

const SHAPES: readonly Shape[] = VERBS.flatMap((verb) =>
  PLACES.flatMap((one) => [
    { places: [one], verb },
    ...PLACES.flatMap((two) => [
      { places: [one, two], verb },
      ...PLACES.map((three) => ({ places: [one, two, three], verb })),
    ]),
  ]),
);

function textOf({ places, verb }: Shape, name: string): string {
  return `/${places.map((place, at) => (place === '*' ? `{${name}${at}}` : place)).join('/')}.${verb}`;
}

/** The filled scopes that a shape stands for, by the contract: one with a parameter stands for none of Hallpass's own. */
function formsOf({ places, verb }: Shape): ReadonlySet<string> {
  let starts: readonly (readonly string[])[] = [[]];
  for (const place of places) {
    starts = starts.flatMap((start) => (place === '*' ? VALUES : [place]).map((value) => [...start, value]));
  }
  const own = ([first = '', ...rest]: readonly string[]): boolean =>
    first === 'oauth2' || first === 'admin' || (first === 'ping' && rest.length === 0 && verb === 'read');
  return new Set(
    starts.filter((values) => !places.includes('*') || !own(values)).map((values) => `/${values.join('/')}.${verb}`),
  );
}

const ALL = SHAPES.map((shape) => ({
  forms: formsOf(shape),
  held: scope(textOf(shape, 'x')),
  wanted: scope(textOf(shape, 'y')),
}));

test('covers and contains, with every pair of scopes of up to three segments on the reserved words: 96,100 cells', () => {
  let cells = 0;
  for (const one of ALL) {
    const set = new ScopeSet([one.held]);
    for (const other of ALL) {
      // What stands for nothing is covered by nothing.
      const expected = other.forms.size > 0 && [...other.forms].every((form) => one.forms.has(form));
      const cell = `${one.held.text} covers ${other.wanted.text}`;
      if (covers(one.held, other.wanted) !== expected) assert.fail(cell);
      if (set.contains(other.wanted) !== expected) assert.fail(`a set: ${cell}`);
      cells += 1;
    }
  }
  assert.equal(cells, (5 + 25 + 125) ** 2 * 4);
});

const someShape = fc.record({
  places: fc.array(fc.constantFrom(...PLACES), { minLength: 1, maxLength: 4 }),
  verb: fc.constantFrom(...VERBS),
});
const someTemplates = fc.array(
  someShape.filter(({ places }) => places.includes('*')),
  { maxLength: 6 },
);
const someReserved = fc
  .tuple(
    fc.constantFrom('oauth2', 'admin'),
    fc.array(fc.constantFrom('oauth2', 'admin', 'ping', 'a', 'b.c'), { maxLength: 3 }),
    fc.constantFrom(...VERBS),
  )
  .map(([first, rest, verb]) => `/${[first, ...rest].join('/')}.${verb}`);
const anyReserved = fc.oneof(someReserved, fc.constant('/ping.read'));

test('no number of templates covers a reserved scope; its exact text does (contract §10)', () => {
  fc.assert(
    fc.property(someTemplates, anyReserved, (templates, text) => {
      const held = templates.map((shape) => scope(textOf(shape, 'x')));
      const reserved = scope(text);
      assert.ok(!held.some((one) => covers(one, reserved)));
      assert.ok(!new ScopeSet(held).contains(reserved));
      assert.ok(!new ScopeSet(held).containsAll([reserved]));
      assert.ok(new ScopeSet([...held, reserved]).contains(reserved));
      assert.ok(covers(reserved, reserved));
    }),
    { numRuns: 2000 },
  );
});

test('a template filled to a reserved scope does not cover it', () => {
  const template = scope('/{org}/{item}.read');
  for (const [org, covered] of [
    ['acme', true],
    ['oauth2', false],
    ['admin', false],
    ['ping', true],
  ] as const) {
    const filled = fillScope(template, { org, item: 'revocations' });
    assert.ok(isScope(filled));
    assert.equal(covers(template, filled), covered, org);
  }
});

test("a token opens a reserved scope by its exact text, like any other scope; a company's own /admin/... too", () => {
  for (const text of ['/admin/users.read', '/oauth2/revocations.read', '/ping.read']) {
    assert.ok(opens(`/a.read ${text}`, scope(text)));
    assert.ok(!opens(text.replace('.read', '.write'), scope(text)));
  }
  assert.ok(!opens('/admin/{id}.read', scope('/admin/users.read')));
});
