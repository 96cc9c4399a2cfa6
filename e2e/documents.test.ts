import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { printDocuments } from '../docs/print.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

test('the documents that come from the source say what the source says (npm run docs)', async () => {
  for (const [path, text] of await printDocuments()) {
    assert.equal(readFileSync(join(root, path), 'utf8'), text, `${path} is out of date: npm run docs`);
  }
});

/** Every test file, from the root of the project. */
const TESTS = ['packages', 'e2e', 'rigs', 'fuzz'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts') && !name.includes('node_modules'))
    .map((name) => `${folder}/${name}`),
);

test('every test that the tables of standards and attacks name exists', () => {
  for (const path of ['docs/rfc.md', 'docs/threats.md']) {
    const rows = readFileSync(join(root, path), 'utf8')
      .split('\n')
      .filter((line) => /^\| (?!---|Clause|Attack)/.test(line));
    assert.ok(rows.length > 20, path);
    const names = rows.flatMap((row) => row.split(' | ').at(-1)?.replace(/ ?\|$/, '').split(', ') ?? []);
    for (const name of names.filter((text) => /^[\w/.-]+$/.test(text))) {
      const [, folder = 'packages/server/test', base = name] =
        /^(packages\/\w+\/test|e2e|rigs\/test|fuzz\/test)\/(.+)$/.exec(name) ?? [];
      const found = TESTS.some((file) => file.startsWith(`${folder}/`) && file.endsWith(`/${base}.test.ts`));
      assert.ok(found || existsSync(join(root, name)), `${path} names ${name}`);
    }
  }
});

test('every link between the documents leads somewhere', () => {
  for (const path of [
    'README.md',
    'ARCHITECTURE.md',
    'CONTRIBUTING.md',
    'docs/operating.md',
    'docs/incidents.md',
    'docs/guard.md',
    'docs/forward-auth.md',
    'docs/verify-with-jwks.md',
    'examples/quickstart/README.md',
  ]) {
    const text = readFileSync(join(root, path), 'utf8');
    for (const [, link = ''] of text.matchAll(/\]\(([^)#]+)\)/g)) {
      assert.ok(existsSync(join(root, dirname(path), link)), `${path} links to ${link}`);
    }
  }
});
