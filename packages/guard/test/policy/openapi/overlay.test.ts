/** Overlays: which targets are supported, what an update does, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyOverlay } from '../../../src/policy/openapi/overlay.ts';
import type { Members } from './harness.ts';

interface Applied {
  readonly document: unknown;
  readonly faults: readonly string[];
}

function apply(document: unknown, overlay: unknown): Applied {
  const applied = applyOverlay(document, { document: overlay, lineOf: () => undefined });
  return {
    document: applied.document,
    faults: applied.faults.map(({ kind, pointer, sentence }) => `${kind} ${pointer} ${sentence}`),
  };
}

const run = (document: unknown, ...actions: readonly unknown[]): Applied =>
  apply(document, { overlay: '1.0.0', actions });

/** The document after one action, which must succeed. */
function changed(document: unknown, action: Members): unknown {
  const { document: after, faults } = run(document, action);
  assert.deepEqual(faults, [], JSON.stringify(action));
  return after;
}

/** The sentence that refuses an action. The document must be unchanged. */
function refused(document: unknown, action: unknown): string {
  const { document: after, faults } = run(document, action);
  assert.equal(after, document);
  assert.equal(faults.length, 1);
  return (faults[0] ?? '').replace('bad_overlay /actions/0 ', '');
}

const TOO_MUCH = 'The update is too deep or too large.';
const KIND = 'The update is of a different kind than what it is merged with.';

test('an overlay has version 1.0 or 1.1 and a list of actions', () => {
  const document = { a: 1 };
  const update = [{ target: '$', update: { b: 2 } }];
  for (const overlay of ['1.0.0', '1.1.0', '1.0.7']) {
    assert.deepEqual(apply(document, { overlay, actions: update }), { document: { a: 1, b: 2 }, faults: [] });
  }
  const version = "bad_overlay /overlay An overlay says overlay: '1.0.0', as a string. Is this the right file?";
  for (const overlay of ['1.2.0', '2.0.0', '1.0', '11.0.0', 'x1.0.0', '', 1, null, undefined, ['1.0.0']]) {
    assert.deepEqual(apply(document, { overlay, actions: update }), { document, faults: [version] }, String(overlay));
  }
  for (const overlay of [undefined, null, 7, 'text', [], { actions: update }]) {
    assert.deepEqual(apply(document, overlay), { document, faults: [version] });
  }
  for (const actions of [undefined, null, {}, 'x']) {
    assert.deepEqual(apply(document, { overlay: '1.0.0', actions }), {
      document,
      faults: ['bad_overlay /actions actions must be a list of objects.'],
    });
  }
  assert.deepEqual(apply(document, { overlay: '1.0.0', actions: [] }), { document, faults: [] });
});

test('actions are applied one after another; a bad one is reported and skipped', () => {
  const { document, faults } = run(
    { a: {} },
    { target: '$.a', update: { b: {} } },
    { target: '$.none', update: { b: 1 } },
    { target: '$.a.b', update: { c: 1 } },
    7,
  );
  assert.deepEqual(document, { a: { b: { c: 1 } } });
  assert.deepEqual(faults, [
    "bad_overlay /actions/1 There is nothing at '$.none'. Has the document changed? Remove the action, or correct its target.",
    'bad_overlay /actions/3 An action must be an object with a target.',
  ]);
});

test('an action has a target and either an update or remove: true; unknown members are refused', () => {
  const document = { a: { b: 1 } };
  for (const action of [undefined, null, 7, 'text', [], {}, { target: 7 }, { update: {} }]) {
    assert.equal(refused(document, action), 'An action must be an object with a target.');
  }
  const neither = 'The action has neither an update nor remove: true.';
  assert.equal(refused(document, { target: '$.a' }), neither);
  assert.equal(refused(document, { target: '$.a', remove: false }), neither);
  assert.equal(refused(document, { target: '$.a', remove: 'yes' }), 'remove must be true or false.');
  assert.equal(refused(document, { target: '$', remove: true }), 'The whole document cannot be removed.');
  assert.equal(
    refused(document, { target: '$.a', update: {}, copy: '$' }),
    "'copy' is not supported in an action. Use update or remove.",
  );
  assert.match(refused(document, { target: '$.a', update: {}, 'not-x-': 1 }), /^'not-x-' is not supported/);
  const said = { target: '$.a', update: { c: 2 }, description: 'why', 'x-note': 1 };
  assert.deepEqual(changed(document, said), { a: { b: 1, c: 2 } });
  assert.deepEqual(changed(document, { target: '$.a', update: { c: 2 }, remove: false }), { a: { b: 1, c: 2 } });
});

test('removing takes away one member only, which need not exist', () => {
  const document = { a: { b: 1, c: 2 }, d: [1] };
  assert.deepEqual(changed(document, { target: '$.a.b', remove: true }), { a: { c: 2 }, d: [1] });
  assert.deepEqual(changed(document, { target: '$.a', remove: true }), { d: [1] });
  assert.deepEqual(document, { a: { b: 1, c: 2 }, d: [1] });
  for (const target of ['$.none', '$.a.none', '$.none.b', '$.a.b.c.d', '$.constructor']) {
    assert.deepEqual(changed(document, { target, remove: true }), document, target);
  }
  for (const target of ['$.d.length', '$.a.b.c']) {
    assert.equal(refused(document, { target, remove: true }), 'Only members of objects can be removed.');
  }
});

test('objects are merged, lists are joined, and everything else is replaced by its own kind', () => {
  const document = { o: { a: 1, deep: { x: [1], y: 'one' } }, list: [1, 2], text: 'old' };
  const at = (target: string, update: unknown): unknown => changed(document, { target, update });
  assert.deepEqual(at('$.o', { a: 2, b: { c: 3 }, deep: { x: [2, 3], y: 'two', z: null } }), {
    ...document,
    o: { a: 2, deep: { x: [1, 2, 3], y: 'two', z: null }, b: { c: 3 } },
  });
  assert.deepEqual(at('$.list', [3, [4]]), { ...document, list: [1, 2, 3, [4]] });
  assert.deepEqual(at('$.list', 3), { ...document, list: [1, 2, 3] });
  assert.deepEqual(at('$.list', { a: 1 }), { ...document, list: [1, 2, { a: 1 }] });
  assert.deepEqual(at('$', { text: 7 }), { ...document, text: 7 });
  assert.deepEqual(at('$', { text: null }), { ...document, text: null });
  for (const [target, update] of [
    ['$.o', 7],
    ['$.o', [1]],
    ['$.o', null],
    // A target is an object or a list.
    ['$.text', 'new'],
    ['$.text', {}],
    ['$.text', []],
    ['$', { o: 'text' }],
    ['$', { o: [] }],
    ['$', { text: {} }],
    ['$', { text: [] }],
    ['$', { list: 'text' }],
    ['$', { list: {} }],
    ['$', { o: { deep: { x: 1 } } }],
  ] as const) {
    assert.equal(refused(document, { target, update }), KIND, `${target} ${JSON.stringify(update)}`);
  }
  for (const target of ['$.list.length', "$.list['0']", '$.text.length', '$.none.a']) {
    assert.match(refused({ ...document, none: null }, { target, update: {} }), /^There is nothing at '/, target);
  }
  // The original is unchanged.
  assert.deepEqual(document, { o: { a: 1, deep: { x: [1], y: 'one' } }, list: [1, 2], text: 'old' });
});

test('names such as __proto__ are like any other', () => {
  const named = (name: string, value: unknown): Members => Object.fromEntries([[name, value]]);
  const document = named('__proto__', { a: 1 });
  const after = changed(document, { target: '$.__proto__', update: { b: 2 } });
  assert.deepEqual(Object.entries(Object.fromEntries(Object.entries(after ?? {}))), [['__proto__', { a: 1, b: 2 }]]);
  assert.equal('b' in {}, false);
  const inside = changed({ o: {} }, { target: '$', update: { o: named('__proto__', { c: 3 }) } });
  assert.equal('c' in {}, false);
  assert.match(JSON.stringify(inside), /"__proto__":\{"c":3\}/);
  for (const target of ['$.constructor', '$.o.toString', '$.o.__proto__']) {
    assert.match(refused({ o: {} }, { target, update: { a: 1 } }), /^There is nothing at '/, target);
  }
});

test('an update may be nested 64 deep and merge 100,000 members', () => {
  const nested = (depth: number): Members => {
    let inner: Members = { leaf: 1 };
    for (let level = 1; level < depth; level++) inner = { a: inner };
    return inner;
  };
  assert.deepEqual(changed(nested(64), { target: '$', update: nested(64) }), nested(64));
  assert.equal(refused(nested(65), { target: '$', update: nested(65) }), TOO_MUCH);
  // A value that is merged with nothing is not traversed.
  assert.deepEqual(changed({}, { target: '$', update: nested(70) }), nested(70));
  const wide = (count: number): Members =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, index]));
  assert.deepEqual(changed(wide(99_999), { target: '$', update: wide(99_999) }), wide(99_999));
  assert.equal(refused(wide(100_000), { target: '$', update: wide(100_000) }), TOO_MUCH);
});

test('a target names a single place', () => {
  const names: readonly (readonly [string, readonly string[]])[] = [
    ['$', []],
    ['$.paths', ['paths']],
    ['$._a.B9_z', ['_a', 'B9_z']],
    ["$['/a']", ['/a']],
    ['$["/a"]', ['/a']],
    ["$['']", ['']],
    ['$[""]', ['']],
    ["$.paths['/a'].get", ['paths', '/a', 'get']],
    ["$['it\\'s \\\\ \"so\"']", ['it\'s \\ "so"']],
    ['$["it\'s \\\\ \\"so\\""]', ['it\'s \\ "so"']],
    ["$['\\\\\\'']", ["\\'"]],
    ["$['a.b[c]']", ['a.b[c]']],
    ["$['a\nb']['é']", ['a\nb', 'é']],
    ["$['a']['b'].c", ['a', 'b', 'c']],
    ["$['$']", ['$']],
  ];
  for (const [target, place] of names) {
    const document = place.toReversed().reduce<unknown>((inner, name) => ({ [name]: inner }), { here: 1 });
    const after = place.toReversed().reduce<unknown>((inner, name) => ({ [name]: inner }), { here: 1, new: 2 });
    assert.deepEqual(changed(document, { target, update: { new: 2 } }), after, target);
  }
});

test('an unknown member of an overlay is refused, because it may be misspelt', () => {
  const actions = [{ target: '$', update: { b: 2 } }];
  const { document, faults } = apply({ a: 1 }, { overlay: '1.0.0', actions, action: [] });
  assert.deepEqual([document, faults], [{ a: 1 }, ["bad_overlay /action 'action' is not a member of an overlay."]]);
  const known = { overlay: '1.0.0', info: {}, extends: 'api.yaml', 'x-note': 1, actions };
  assert.deepEqual(apply({ a: 1 }, known), { document: { a: 1, b: 2 }, faults: [] });
});

test('targets of any other form are refused', () => {
  for (const target of [
    '',
    'a',
    '.a',
    ' $.a',
    '$$',
    '$xx.a.b',
    '$a',
    '$.',
    '$..a',
    '$.*',
    '$.a-b',
    '$.9',
    '$.é',
    '$.a ',
    '$[0]',
    '$[*]',
    '$[?@.a]',
    "$['a'",
    "$['a",
    '$[\'a"]',
    '$["a\']',
    "$['a'b']",
    "$['a\\b']",
    "$['\\\"']",
    '$["\\\'"]',
    '$["a"b"]',
    '$["a\\b"]',
    "$['a\\']",
    '$["a\\"]',
    "$['a','b']",
    "$ ['a']",
    "$['a']x",
  ]) {
    assert.match(
      refused({ a: {} }, { target, update: {} }),
      /^The target '.*' is not supported\. Name a single place, as in \$\.paths\['\/accounts'\]\.get$/,
      target,
    );
  }
  const deep = (depth: number): string => `$${'.a'.repeat(depth)}`;
  assert.match(refused({ a: {} }, { target: deep(32), update: {} }), /^There is nothing at/);
  assert.match(refused({ a: {} }, { target: deep(33), update: {} }), /^The target .* is not supported/);
});
