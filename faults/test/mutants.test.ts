/** The rig of mutants: what it makes of a source, and that it tells tests that notice from tests that do not. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MODULES } from '../mutant_modules.ts';
import { MutantTree } from '../mutant_tree.ts';
import { readEquivalents, ROOT, runMutants, sourceOf, staleEquivalents } from '../mutants.ts';
import { applyMutant, mutantsOf } from '../mutators.ts';

function changesOf(source: string): readonly string[] {
  return mutantsOf(source).map((mutant) => applyMutant(source, mutant));
}

test('a source has the mutants of its operators, conditions, values, statements, patterns and calls', () => {
  for (const [source, ...expected] of [
    ['f(a === b);', ';', 'f(true);', 'f(false);', 'f(a !== b);'],
    ['f(a < 1);', 'f(a <= 1);', 'f(a >= 1);', 'f(a < 2);', 'f(a < 0);'],
    ['f(a && b);', 'f(a || b);', 'f(a);', 'f(b);'],
    ['f(a ?? b);', 'f(a && b);', 'f(a);'],
    ['f(!a);', 'f(a);'],
    ['f(-a + b);', 'f(a + b);', 'f(-a - b);'],
    ['if (a) b(); else c();', 'if (true) b(); else c();', 'if (false) b(); else c();', 'if (a) b(); else {}'],
    ['while (a) b();', 'while (false) b();', 'while (a) {}'],
    ['for (const a of b) { continue; }', 'for (const a of b) { ; }', 'for (const a of b) {}'],
    ['function f(): number { return 1; }', 'function f(): number {}', 'function f(): number { return; }'],
    ['const f = (a: number) => a;', 'const f = (a: number) => undefined;'],
    [
      "const a = [true, '', 'x', `y${b}`];",
      'const a = [];',
      "const a = [false, '', 'x', `y${b}`];",
      "const a = [true, 'mutant', 'x', `y${b}`];",
      "const a = [true, '', '', `y${b}`];",
      "const a = [true, '', 'x', ``];",
    ],
    ['const a = { ...b };', 'const a = ({});', 'const a = { ...[] };'],
    ['a?.b();', 'a.b();'],
    ['a.every(b);', 'a.some(b);'],
    ["a.filter(b).startsWith('c');", "a.startsWith('c');", "a.filter(b).endsWith('c');"],
    [
      'const a = /^[a-c\\d]+(?:x|y)?$/i;',
      'const a = /[a-c\\d]+(?:x|y)?$/i;',
      'const a = /^[^a-c\\d]+(?:x|y)?$/i;',
      'const a = /^[\\d]+(?:x|y)?$/i;',
      'const a = /^[a-c]+(?:x|y)?$/i;',
      'const a = /^[a-c\\d](?:x|y)?$/i;',
      'const a = /^[a-c\\d]+(?:y)?$/i;',
      'const a = /^[a-c\\d]+(?:x)?$/i;',
      'const a = /^[a-c\\d]+(?:x|y)$/i;',
      'const a = /^[a-c\\d]+(?:x|y)?/i;',
      'const a = /^[a-c\\d]+(?:x|y)?$/;',
    ],
    ['throw a;', ';'],
    ['a += 1;', 'a -= 1;'],
  ] as const) {
    const made = changesOf(source);
    for (const change of expected)
      assert.ok(made.includes(change), `${source}: no ${change} among ${made.join(' | ')}`);
  }
});

test('types, names and imports have no mutants, and every mutant is another source that parses', () => {
  const plain =
    "import { a } from './b.ts';\nexport * from './c.ts';\ninterface D { readonly e: 'f' | 1; }\ntype G = D['e'];\n";
  assert.deepEqual(changesOf(plain), []);
  const source = "const a = b as unknown as { readonly c: 'd' };\nconst { e: f } = a;\n";
  assert.deepEqual(changesOf(source), []);
  for (const module of Object.values(MODULES)) {
    const text = sourceOf(module);
    const mutants = mutantsOf(text);
    assert.ok(mutants.length > 5);
    assert.equal(new Set(mutants.map((mutant) => applyMutant(text, mutant))).size, mutants.length);
  }
});

test('every module and every test of the table is there', () => {
  for (const { file, tests } of Object.values(MODULES)) {
    for (const name of [file, ...tests]) assert.ok(existsSync(join(ROOT, name)), name);
    assert.ok(tests.length > 0);
  }
});

test('every equivalent mutant that was reviewed is still there, with its reason', () => {
  for (const { module, because } of readEquivalents()) {
    assert.ok(module in MODULES, module);
    assert.ok(because.length > 20, because);
  }
  for (const [name, module] of Object.entries(MODULES)) {
    assert.deepEqual(staleEquivalents(name, mutantsOf(sourceOf(module))), []);
  }
});

const PATH = { file: 'packages/guard/src/path.ts', tests: ['packages/guard/test/path.test.ts'] };

test('a mutant that lets dot segments in is killed by the tests of its module', async () => {
  const mutant = mutantsOf(sourceOf(PATH)).find(({ from, to }) => from === "'..'" && to === "''");
  assert.ok(mutant !== undefined);
  const tree = new MutantTree(ROOT, PATH);
  try {
    await tree.measure();
    assert.equal(await tree.judge(mutant), 'killed');
  } finally {
    tree.remove();
  }
});

test('a sample of mutants is killed by tests that look, and survives tests that look elsewhere', async () => {
  const options = { sample: 3, seed: 7, workers: 1 };
  const noticed = await runMutants('path', PATH, options);
  assert.equal(noticed.killed, 3, JSON.stringify(noticed.survivors));
  assert.equal(noticed.score, 1);
  const elsewhere = { ...PATH, tests: ['packages/guard/test/event_stream.test.ts'] };
  const unnoticed = await runMutants('path', elsewhere, options);
  assert.equal(unnoticed.killed, 0);
  assert.equal(unnoticed.survivors.length, 3);
  assert.equal(unnoticed.score, 0);
});

test('tests that do not pass with the source as it is are no judges', async () => {
  const tree = new MutantTree(ROOT, { ...PATH, tests: ['packages/guard/test/nobody.test.ts'] });
  try {
    await assert.rejects(tree.measure(), /does not pass with the source as it is/);
  } finally {
    tree.remove();
  }
});
