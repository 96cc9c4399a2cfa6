/** Overlays: which targets are supported, what an update does, and what is refused. */
import { policyFromOpenAPI } from '@hallpass/guard/openapi';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, asks, faultsOf, meets, type Members } from './harness.ts';
import { words } from '../../harness.ts';

const DOCUMENT = api(
  { '/a': { get: asks('/a.read') } },
  { 'x-o': { a: 1, deep: { list: [1], text: 'one' } }, 'x-list': [1], 'x-text': 'text', 'x-none': null },
);

const overlayOf = (...actions: readonly unknown[]): Members => ({ overlay: '1.0.0', actions });

/** What is wrong with an overlay; nothing of it may have been applied. */
function refused(overlay: unknown): string {
  const faults = faultsOf(DOCUMENT, { overlay });
  assert.equal(faults.length, 1, JSON.stringify([overlay, faults]));
  return faults[0] ?? '';
}

/** What is wrong with the only action of an overlay. */
function refusedAction(action: unknown): string {
  const fault = refused(overlayOf(action));
  assert.match(fault, /^bad_overlay \/actions\/0: /);
  return fault.slice('bad_overlay /actions/0: '.length);
}

function accept(action: unknown, document = DOCUMENT): void {
  assert.deepEqual(faultsOf(document, { overlay: overlayOf(action) }), [], JSON.stringify(action));
}

/** The scope of a request to the document after these actions. */
function scopeAfter(url: string, ...actions: readonly unknown[]): string {
  return meets(policyFromOpenAPI(DOCUMENT, { overlay: overlayOf(...actions) }), 'GET', url);
}

const NOTHING = /^There is nothing at '/;
const TOO_MUCH = 'The update is too deep or too large.';
const KIND = 'The update is of a different kind than what it is merged with.';

test('an overlay has version 1.0 or 1.1 and a list of actions, and no unknown member, which may be misspelt', () => {
  const actions = [{ target: '$.paths', update: { '/b': { get: asks('/b.read') } } }];
  for (const overlay of ['1.0.0', '1.1.0', '1.0.7']) {
    const whole = { overlay, info: {}, extends: 'api.yaml', 'x-note': 1, actions };
    assert.equal(meets(policyFromOpenAPI(DOCUMENT, { overlay: whole }), 'GET', '/b'), '/b.read');
  }
  const version = "bad_overlay /overlay: An overlay says overlay: '1.0.0', as a string. Is this the right file?";
  for (const overlay of ['1.2.0', '2.0.0', '1.0', '11.0.0', 'x1.0.0', '', 1, null, undefined, ['1.0.0']]) {
    assert.equal(refused({ overlay, actions }), version);
  }
  for (const overlay of [null, 7, 'text', [], { actions }]) assert.equal(refused(overlay), version);
  for (const none of [undefined, null, {}, 'x']) {
    assert.match(refused({ overlay: '1.0.0', actions: none }), /^bad_overlay \/actions: actions must be a list/);
  }
  const misspelt = refused({ overlay: '1.0.0', actions, action: [] });
  assert.equal(misspelt, "bad_overlay /action: 'action' is not a member of an overlay.");
  assert.deepEqual(faultsOf(DOCUMENT, { overlay: overlayOf() }), []);
});

test('actions are applied one after another, and each bad one is reported', () => {
  const [whole, part] = [{ '/b': { get: {} } }, { security: [{ Hallpass: ['/b.read'] }] }];
  const good = [
    { target: '$.paths', update: whole },
    { target: "$.paths['/b'].get", update: part },
  ];
  assert.equal(scopeAfter('/b', ...good), '/b.read');
  const overlay = overlayOf(good[0], { target: '$.none', update: { b: 1 } }, good[1], 7);
  assert.deepEqual(faultsOf(DOCUMENT, { overlay }), [
    "bad_overlay /actions/1: There is nothing at '$.none'. Has the document changed? Remove the action, or correct its target.",
    'bad_overlay /actions/3: An action must be an object with a target.',
  ]);
});

test('an action has a target and either an update or remove: true; unknown members are refused', () => {
  for (const action of [undefined, null, 7, 'text', [], {}, { target: 7 }, { update: {} }]) {
    assert.equal(refusedAction(action), 'An action must be an object with a target.');
  }
  const target = "$['x-o']";
  for (const [action, sentence] of [
    [{ target }, 'The action has neither an update nor remove: true.'],
    [{ target, remove: false }, 'The action has neither an update nor remove: true.'],
    [{ target, remove: 'yes' }, 'remove must be true or false.'],
    [{ target: '$', remove: true }, 'The whole document cannot be removed.'],
    [{ target, update: {}, copy: '$' }, "'copy' is not supported in an action. Use update or remove."],
    [{ target, update: {}, 'not-x-': 1 }, "'not-x-' is not supported in an action. Use update or remove."],
  ] as const) {
    assert.equal(refusedAction(action), sentence);
  }
  accept({ target, update: { c: 2 }, description: 'why', 'x-note': 1, remove: false });
});

test('removing takes away one member only, which need not exist', () => {
  const more = { target: '$.paths', update: { '/b': { get: asks('/b.read'), put: {} } } };
  const remove = { target: "$.paths['/a']", remove: true };
  assert.deepEqual([scopeAfter('/a', more, remove), scopeAfter('/b', more, remove)], ['route_not_allowed', '/b.read']);
  assert.equal(scopeAfter('/a'), '/a.read', 'the document itself is unchanged');
  for (const target of ['$.none', '$.paths.none', '$.none.b', "$['x-o'].a.c.d", '$.constructor']) {
    accept({ target, remove: true });
  }
  for (const target of ["$['x-list'].length", "$['x-o'].a.c"]) {
    assert.equal(refusedAction({ target, remove: true }), 'Only members of objects can be removed.');
  }
});

test('objects are merged, lists are joined, and everything else is replaced by its own kind', () => {
  const get = "$.paths['/a'].get";
  const alternative = { security: [{ Hallpass: ['/other.read'] }] };
  assert.equal(scopeAfter('/a', { target: get, update: { summary: 'text' } }), '/a.read');
  // Joined: the operation asks for either scope now, and closes.
  for (const [target, update] of [
    [get, alternative],
    [`${get}.security`, alternative.security],
    [`${get}.security`, alternative.security[0]],
  ] as const) {
    assert.match(faultsOf(DOCUMENT, { overlay: overlayOf({ target, update }) }).join('\n'), /^several_scopes [^\n]*$/);
  }
  assert.match(refused(overlayOf({ target: '$', update: { openapi: '2.0.0' } })), /^unsupported \/openapi: /);
  for (const update of [{ 'x-text': 7 }, { 'x-text': null }, { 'x-o': { deep: { list: [2, 3], more: null } } }]) {
    accept({ target: '$', update });
  }
  for (const [target, update] of [
    ["$['x-o']", 7],
    ["$['x-o']", [1]],
    ["$['x-o']", null],
    // A target is an object or a list.
    ["$['x-text']", 'new'],
    ["$['x-text']", {}],
    ["$['x-text']", []],
    ...['text', []].map((value) => ['$', { 'x-o': value }] as const),
    ...[{}, []].map((value) => ['$', { 'x-text': value }] as const),
    ...['text', {}].map((value) => ['$', { 'x-list': value }] as const),
    ['$', { 'x-o': { deep: { list: 1 } } }],
  ] as const) {
    assert.equal(refusedAction({ target, update }), KIND, `${target} ${JSON.stringify(update)}`);
  }
  for (const target of words("$['x-list'].length $['x-list']['0'] $['x-text'].length $['x-none'].a")) {
    assert.match(refusedAction({ target, update: {} }), NOTHING, target);
  }
});

test('names such as __proto__ are like any other', () => {
  const proto = (value: unknown): Members => Object.fromEntries([['__proto__', value]]);
  const update = proto({ get: asks('/proto.read') });
  assert.equal(
    scopeAfter('/__proto__', { target: '$.paths', update: { '/__proto__': update['__proto__'] } }),
    '/proto.read',
  );
  accept({ target: '$', update: { 'x-o': proto({ polluted: 1 }) } });
  accept({ target: "$['x-p'].__proto__", update: { polluted: 1 } }, { ...DOCUMENT, 'x-p': proto({ a: 1 }) });
  assert.equal('polluted' in {}, false);
  for (const target of ['$.constructor', "$['x-o'].toString", "$['x-o'].__proto__"]) {
    assert.match(refusedAction({ target, update: { a: 1 } }), NOTHING, target);
  }
});

test('an update may be nested 64 deep and merge 100,000 members', () => {
  const nested = (depth: number): Members => {
    let inner: Members = { leaf: 1 };
    for (let level = 1; level < depth; level++) inner = { a: inner };
    return inner;
  };
  const wide = (count: number): Members =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, index]));
  const target = "$['x-big']";
  for (const [good, bad] of [
    [nested(64), nested(65)],
    [wide(99_999), wide(100_000)],
  ] as const) {
    accept({ target, update: good }, { ...DOCUMENT, 'x-big': good });
    const faults = faultsOf({ ...DOCUMENT, 'x-big': bad }, { overlay: overlayOf({ target, update: bad }) });
    assert.deepEqual(faults, [`bad_overlay /actions/0: ${TOO_MUCH}`]);
  }
  // A value that is merged with nothing is not traversed.
  accept({ target: '$', update: { 'x-new': nested(70) } });
});

test('a target names a single place, and targets of any other form are refused', () => {
  for (const [target, ...place] of [
    ["$['x-a']._a.B9_z", 'x-a', '_a', 'B9_z'],
    ["$['x-a']['/a']", 'x-a', '/a'],
    ['$["x-a"]["/a"]', 'x-a', '/a'],
    ["$['x-a']['']", 'x-a', ''],
    ['$["x-a"][""]', 'x-a', ''],
    ["$['x-it\\'s \\\\ \"so\"']", 'x-it\'s \\ "so"'],
    ['$["x-it\'s \\\\ \\"so\\""]', 'x-it\'s \\ "so"'],
    ["$['x-\\\\\\'']", "x-\\'"],
    ["$['x-a.b[c]']", 'x-a.b[c]'],
    ["$['x-a\nb']['é']", 'x-a\nb', 'é'],
    ["$['x-$']", 'x-$'],
  ] as const) {
    const document = place.toReversed().reduce<unknown>((inner, name) => ({ [name]: inner }), { here: 1 });
    accept({ target, update: { new: 2 } }, { ...DOCUMENT, ...Object(document) });
  }
  const spaced = ['', ' $.a', '$.a ', "$ ['a']"];
  const others = words(String.raw`
      a .a $$ $xx.a.b $a $. $..a $.* $.a-b $.9 $.é $[0] $[*] $[?@.a] $['a' $['a $['a"] $["a'] $['a'b'] $['a\b']
      $['\"'] $["\'"] $["a"b"] $["a\b"] $['a\'] $["a\"] $['a','b'] $['a']x
    `);
  for (const target of [...others, ...spaced]) {
    assert.match(
      refusedAction({ target, update: {} }),
      /^The target '.*' is not supported\. Name a single place, as in \$\.paths\['\/accounts'\]\.get$/,
      target,
    );
  }
  assert.match(refusedAction({ target: `$${'.a'.repeat(32)}`, update: {} }), NOTHING);
  assert.match(refusedAction({ target: `$${'.a'.repeat(33)}`, update: {} }), /^The target .* is not supported/);
});
