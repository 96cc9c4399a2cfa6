/** Parsing the text of a policy file: what is accepted, what is refused and how, and the lines of places. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PolicyError, type PolicyFault, type Source } from '../../../src/policy/openapi/faults.ts';
import { parsePolicyText, POLICY_FILE_BYTES_MAX } from '../../../src/policy/openapi/text.ts';

const FILE = 'api.yaml';

function read(text: string): Source {
  return parsePolicyText(new TextEncoder().encode(text), FILE);
}

const documentOf = (text: string): unknown => read(text).document;

function faultsOf(bytes: string | Uint8Array): readonly PolicyFault[] {
  try {
    parsePolicyText(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes, FILE);
  } catch (error) {
    assert.ok(error instanceof PolicyError, String(error));
    return error.faults;
  }
  return [];
}

/** Each as `line: sentence`, the line left out where none is known. */
function saidOf(text: string | Uint8Array): readonly string[] {
  return faultsOf(text).map(({ kind, file, line, pointer, sentence }) => {
    assert.deepEqual([kind, file, pointer], ['malformed', FILE, '']);
    return `${line === undefined ? '' : `${line}: `}${sentence}`;
  });
}

const NOT_READ = 'This YAML or JSON is not accepted: ';

test('YAML has the types of JSON, and no others', () => {
  assert.deepEqual(documentOf('a: [1, 1.5, true, null, ~, text, "2", {b: }]'), {
    a: [1, 1.5, true, null, null, 'text', '2', { b: null }],
  });
  assert.deepEqual(documentOf('[no, yes, on, off, 2026-01-01, 0o17, 1_000, 12:30:45, =]'), [
    'no',
    'yes',
    'on',
    'off',
    '2026-01-01',
    15,
    '1_000',
    '12:30:45',
    '=',
  ]);
  // Whatever version the file claims to have.
  assert.deepEqual(documentOf('%YAML 1.1\n---\n[no, 1_000, 2026-01-01]'), ['no', '1_000', '2026-01-01']);
  assert.deepEqual(documentOf('{"a": {"b": [1, "é"]}}'), { a: { b: [1, 'é'] } });
  assert.equal(documentOf(''), null);
});

test('a name is a string, whatever it looks like, and may not be repeated', () => {
  assert.deepEqual(documentOf('1: a\ntrue: b\nnull: c\n'), { 1: 'a', true: 'b', null: 'c' });
  assert.deepEqual(saidOf('200: a\n201: b\n"200": c\n'), ["3: '200' is given twice. Keep one."]);
  assert.deepEqual(saidOf('a: 1\nb: {c: 1, d: 2,\n  c: 3}\na: 4\na: 5\n'), [
    "4: 'a' is given twice. Keep one.",
    "5: 'a' is given twice. Keep one.",
    "3: 'c' is given twice. Keep one.",
  ]);
  // A name on two lines is reported where it begins.
  assert.deepEqual(saidOf('"a b": 1\n? "a\n  b"\n: 2\n'), ["2: 'a b' is given twice. Keep one."]);
  // Invalid YAML is not searched for duplicates.
  assert.deepEqual(saidOf('a: !x 1\na: 2\n'), [`1: ${NOT_READ}Unresolved tag: !x.`]);
  assert.deepEqual(documentOf('a: {b: 1}\nc: {b: 2}\n'), { a: { b: 1 }, c: { b: 2 } });
  assert.match(saidOf('? [a]\n: b\n').join('\n'), /^1: This YAML .* strings\.$/);
});

test('an unquoted scope with a parameter in a list is explained', () => {
  assert.match(
    saidOf('security: [{oauth: [/a/{b}.read]}]\n')[0] ?? '',
    /^1: .*put a scope that has a \{parameter\} in quotes: /,
  );
  assert.doesNotMatch(saidOf('security: [{oauth: [/a/b.read]}\n').join(), /in quotes/);
  assert.deepEqual(documentOf("security: [{oauth: ['/a/{b}.read']}]"), { security: [{ oauth: ['/a/{b}.read'] }] });
});

test('merge keys are refused, and a quoted << is a name like any other', () => {
  assert.deepEqual(saidOf('a: &a {b: 1}\nc:\n  <<: *a\n'), [
    '3: Merge keys (<<) are not supported. Write out what they merge.',
  ]);
  assert.deepEqual(documentOf('c: {"<<": 1}\n'), { c: { '<<': 1 } });
  assert.deepEqual(documentOf("c: {'<<': 1, <: 2}\n"), { c: { '<<': 1, '<': 2 } });
});

test('tags are refused, including those of older YAML', () => {
  for (const tag of ['!own', '!!binary', '!!set', '!!omap', '!!timestamp', '!!merge']) {
    const [said = '', ...others] = saidOf(`a: 1\nb: ${tag} x\n`);
    assert.match(said, /^2: This YAML or JSON is not accepted: Unresolved tag: \S+\.$/, tag);
    assert.deepEqual(others, []);
  }
});

test('each error of the parser is one sentence on one line, with its line number', () => {
  assert.deepEqual(saidOf('a: 1\nb: [1\n'), [
    `3: ${NOT_READ}Flow sequence in block collection must be sufficiently indented and end with a ].`,
  ]);
  assert.deepEqual(saidOf('a: 1\n---\nb: 2\n'), [
    `2: ${NOT_READ}Source contains multiple documents; please use YAML.parseAllDocuments().`,
  ]);
  // It contains no control characters of the text, and ends in one full stop.
  assert.deepEqual(saidOf('%\u001b[2J x\n---\na: 1\n'), [`1: ${NOT_READ}Unknown directive % [2J.`]);
  assert.deepEqual(saidOf('a: !<!> 1\n'), [`1: ${NOT_READ}Verbatim tags aren't resolved, so !<!> is invalid.`]);
  for (const said of saidOf('a: {\n\tb: "\n')) assert.match(said, /^\d: This [^\n]*[^.]\.$/);
  assert.ok(saidOf('a: [1\nb: 2\nc: "').length > 1);
});

test('bytes that are not UTF-8 are refused, not replaced', () => {
  const [said = '', ...others] = saidOf(Uint8Array.of(0x61, 0x3a, 0x20, 0xff));
  assert.ok(said.startsWith(NOT_READ) && said.length > NOT_READ.length + 10, said);
  assert.match(said, /utf-8/i);
  assert.deepEqual(others, []);
});

test('nesting that is too deep is reported once', () => {
  assert.deepEqual(saidOf('['.repeat(200_000)), [`${NOT_READ}nested too deeply.`]);
  assert.deepEqual(saidOf(`${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`), [`${NOT_READ}nested too deeply.`]);
});

test('the first 20 syntax faults are reported, with the number of others', () => {
  const [tagged, few] = [saidOf('- !x 1\n'.repeat(25)), saidOf('- !x 1\n'.repeat(20))];
  assert.equal(few.length, 20);
  assert.deepEqual(tagged.slice(0, 20), few);
  assert.match(few[19] ?? '', /^20: .*Unresolved tag/);
  assert.deepEqual(tagged.slice(20), [
    '21: There are 5 more from here on. Fix the ones above first: they may cause these.',
  ]);
});

test('a file may have 64 MiB, and not a byte more', () => {
  const whole = new Uint8Array(POLICY_FILE_BYTES_MAX).fill(0x20);
  whole.set(new TextEncoder().encode('{"a": 1}'));
  assert.equal(POLICY_FILE_BYTES_MAX, 67_108_864);
  assert.deepEqual(parsePolicyText(whole, FILE).document, { a: 1 });
  assert.deepEqual(saidOf(new Uint8Array(POLICY_FILE_BYTES_MAX + 1).fill(0x20)), [
    'The file is longer than 67108864 bytes, alone or with the others. Leave out what is not about operations.',
  ]);
});

test('an anchor may be used 9,999 times', () => {
  const used = (count: number): string => `a: &a x\nb: [${Array.from({ length: count }, () => '*a').join(', ')}]\n`;
  assert.deepEqual(faultsOf(used(9_999)), []);
  const [said = '', ...others] = saidOf(used(10_000));
  assert.match(said, /^This YAML or JSON is not accepted: Excessive alias count/);
  assert.deepEqual(others, []);
});

test('a place has its line, or that of the nearest place around it', () => {
  const { lineOf } = read(`openapi: 3.1.0
paths:
  /a: &a
    get:
      security:
        - One: [x]
        -
          Two:
            - y
  /b: *a
  /c: {}
'5': five
6: six
`);
  const lines: readonly (readonly [readonly string[], number | undefined])[] = [
    [[], undefined],
    [['openapi'], 1],
    [['paths'], 2],
    [['paths', '/a'], 3],
    [['paths', '/a', 'get', 'security'], 5],
    [['paths', '/a', 'get', 'security', '0'], 6],
    [['paths', '/a', 'get', 'security', '1'], 8],
    [['paths', '/a', 'get', 'security', '1', 'Two', '0'], 9],
    [['5'], 12],
    [['6'], 13],
    // Through an alias.
    [['paths', '/b'], 10],
    [['paths', '/b', 'get', 'security', '1', 'Two'], 8],
    // Missing members: where they would be.
    [['paths', '/d'], 2],
    [['paths', '/c', 'get'], 11],
    [['paths', '/a', 'get', 'security', '2'], 5],
    [['paths', '/a', 'get', 'security', 'x'], 5],
    [['openapi', 'x', 'y'], 1],
    [['none', '/a'], undefined],
  ];
  // Twice, because look-ups are cached.
  for (const [place, line] of [...lines, ...lines]) assert.equal(lineOf(place), line, place.join(' '));
});

test('an empty value has the line of its name', () => {
  const { lineOf } = read('a:\nb:\n  c:\n');
  assert.deepEqual([lineOf(['a']), lineOf(['b', 'c']), lineOf(['b', 'c', 'd'])], [1, 3, 3]);
});
