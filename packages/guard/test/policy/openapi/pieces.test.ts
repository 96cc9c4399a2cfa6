/** Long files: YAML parsed in pieces, and JSON, give the same as YAML parsed as a whole, or are refused. */
import { inspectPolicy } from '@hallpass/guard/openapi';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stringify } from 'yaml';
import type { Place, Source } from '../../../src/policy/openapi/faults.ts';
import { readJson } from '../../../src/policy/openapi/json.ts';
import { readPieces } from '../../../src/policy/openapi/pieces.ts';
import { readYaml } from '../../../src/policy/openapi/yaml.ts';
import { LEDGER_FILE, openFolder } from './harness.ts';
import { caseCount } from '../../../../../testing/case_count.ts';

const FILE = 'api.yaml';
const { fileOf, faultsIn } = openFolder();

function placesOf(value: unknown, place: Place = []): readonly Place[] {
  if (typeof value !== 'object' || value === null) return [place];
  return [place, ...Object.entries(value).flatMap(([name, inner]) => placesOf(inner, [...place, name]))];
}

function assertSame(one: Source, other: Source, text: string): void {
  assert.deepEqual(one.document, other.document, text);
  for (const place of placesOf(one.document)) {
    // A name that is not written at all has no line for sure.
    if (place.includes('')) continue;
    assert.equal(one.lineOf(place), other.lineOf(place), `${JSON.stringify(place)} of ${JSON.stringify(text)}`);
  }
}

/** Lines that are easily mistaken when a text is cut. */
const LINES = [
  ['a: 1', 'b:', 'c: text', 'd: |', 'e: >-', 'f: "x', 'g"', "'h': 1", '"i": {', '}', 'j: [1,', '2]', '- k'],
  ['- l: 1', '-', '# m', '', 'n: &x 1', 'o: *x', '? p', ': q', '---', '...', '%YAML 1.2', 'r: s: t', 'u'],
  ['<<: *x', 'v: !w 1', '__proto__: 1', 'b: # x', 'x: |2', 'y:\t', '~:', '-y: 1', 'a: | # b:', '(:#: |'],
  ["c: '", 'paths:', '/a:', 'get:', '\u2028z: 1'],
].flat();
const line = fc.tuple(fc.constantFrom(0, 0, 2, 2, 4, 6), fc.constantFrom(...LINES));

test('any text parses in pieces as it does as a whole, or is refused (property)', () => {
  const text = fc
    .array(line, { maxLength: 14 })
    .map((lines) => lines.map(([indent, content]) => `${' '.repeat(indent)}${content}\n`).join(''));
  let read = 0;
  fc.assert(
    fc.property(text, fc.constantFrom(1, 8, 30), (whole, pieceLengthMax) => {
      const pieces = readPieces(whole, FILE, pieceLengthMax);
      if (Array.isArray(pieces)) return;
      if (Object.keys(Object(pieces.document)).length === 0) return;
      assertSame(pieces, readYaml(whole, FILE), whole);
      read += 1;
    }),
    { numRuns: caseCount(500) },
  );
  assert.ok(read > caseCount(25), String(read));
});

test('a document as it is commonly printed is parsed in pieces (property)', () => {
  const value = fc.object({
    maxDepth: 4,
    maxKeys: 5,
    key: fc.string({ maxLength: 8 }),
    values: [
      fc.string(),
      fc.lorem({ mode: 'sentences' }),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.constant('a: |\nb:\n\n  c'),
    ],
  });
  let read = 0;
  fc.assert(
    fc.property(value, fc.constantFrom(1, 40, 200), (whole, pieceLengthMax) => {
      const text = `--- # a comment\n${stringify(whole, { aliasDuplicateObjects: false })}`;
      const pieces = readPieces(text, FILE, pieceLengthMax);
      if (Array.isArray(pieces)) return;
      assertSame(pieces, readYaml(text, FILE), text);
      read += 1;
    }),
    { numRuns: caseCount(100) },
  );
  assert.ok(read > caseCount(75), String(read));
});

test('JSON parses as the YAML that it is, with the same lines (property)', () => {
  const value = fc.object({ maxDepth: 4, maxKeys: 5, key: fc.string({ unit: 'binary', maxLength: 6 }) });
  fc.assert(
    fc.property(value, fc.constantFrom(0, 1, 2, '\t'), (whole, indent) => {
      const text = JSON.stringify(whole, undefined, indent);
      const json = readJson(text, FILE);
      assert.ok(json !== undefined);
      assert.deepEqual(json.document, JSON.parse(text));
      if (/[\u007f-\u009f\u2028\u2029\ufeff\ud800-\udfff]/.test(text)) return;
      assertSame(json, readYaml(text, FILE), text);
    }),
    { numRuns: caseCount(100) },
  );
  for (const text of ['{', '{a: 1}', '{"a": 1,}', '[1] # x', '"x', '{"a": 1} {}'])
    assert.equal(readJson(text, FILE), undefined, text);
});

/** Some YAML of more than a megabyte, as generators print it. */
function longYaml(): string {
  const operation = (index: number): string =>
    `  /things${index}/{id}:\n    get:\n      description: |\n        Lists things.\n\n        security: none\n      security:\n      - Hallpass: ['/things${index}.read']\n      responses:\n        "200": { description: ok }\n`;
  const schema = (index: number): string =>
    `    S${index}:\n      type: object\n      properties:\n${`        p: # ${'x'.repeat(80)}\n          type: string\n`.replaceAll('p:', `p${index}:`)}`;
  const many = (make: (index: number) => string, count: number): string =>
    Array.from({ length: count }, (_, index) => make(index)).join('');
  return `openapi: 3.0.3\npaths:\n${many(operation, 3_000)}components:\n  schemas:\n${many(schema, 3_000)}  securitySchemes:\n    Hallpass: { type: oauth2 }\n`;
}

test('a long file is parsed in pieces, and its faults have lines', async () => {
  const text = longYaml();
  assert.ok(text.length > 1024 * 1024);
  const scopes = [0, 1, 1_499, 2_999].map((index) => `      - Hallpass: ['/things${index}.read']`);
  const bad = scopes.reduce((whole, scope) => whole.replace(scope, scope.replace('.read', '')), text);
  const { table } = await inspectPolicy(fileOf(bad));
  assert.equal(table.routes.length, 2_996);
  const lines = text.split('\n');
  // Each fault is at the `security` before its scope.
  assert.deepEqual(
    table.closed.map(({ fault }) => lines[fault?.line ?? 0]),
    scopes,
  );
  assert.match(
    await faultsIn(`${text}  schemas: {}\npaths: {}\n`),
    new RegExp(`^:${lines.length}: 'schemas' is given`, 'm'),
  );
});

test('YAML that cannot be cut is parsed as a whole up to 8 MiB, and refused beyond with what to do', async () => {
  const anchored = (count: number): string => {
    const long = Array.from({ length: count }, (_, index) => `x-k${index}: ${'z'.repeat(300_000)}\n`);
    return `${LEDGER_FILE}x-a: &x [1]\n${long.join('')}x-last: *x\n`;
  };
  assert.deepEqual((await inspectPolicy(fileOf(anchored(5)))).faults, []);
  assert.match(await faultsIn(anchored(30)), /Unresolved alias/);
  const flow = `a: [${'x, '.repeat(3 * 1024 * 1024)}]\n`;
  assert.match(await faultsIn(flow), /^:1: .*cannot be divided\. Write the file as JSON\./);
});
