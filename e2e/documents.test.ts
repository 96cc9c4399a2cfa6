import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { printDocuments } from '../docs/print.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

test('the documents that come from the source say what the source says (npm run docs)', () => {
  for (const [path, text] of printDocuments()) {
    assert.equal(readFileSync(join(root, path), 'utf8'), text, `${path} is out of date: npm run docs`);
  }
});

test('every link between the documents leads somewhere', () => {
  for (const path of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'docs/operating.md']) {
    const text = readFileSync(join(root, path), 'utf8');
    for (const [, link = ''] of text.matchAll(/\]\(([^)#]+)\)/g)) {
      assert.ok(existsSync(join(root, dirname(path), link)), `${path} links to ${link}`);
    }
  }
});
