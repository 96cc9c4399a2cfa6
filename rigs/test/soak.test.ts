/** The soak itself: that row counts become flat, and that it would see them grow. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const RIG = fileURLToPath(new URL('../soak.ts', import.meta.url));

function runRig(...words: readonly string[]): { readonly code: number | null; readonly growing: readonly string[] } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--conditions=hallpass-source', RIG, '--hours', '10', '--json', ...words],
    { encoding: 'utf8' },
  );
  assert.notEqual(stdout, '', stderr);
  const { growing }: { readonly growing: readonly string[] } = JSON.parse(stdout);
  return { code: status, growing };
}

for (const engine of ['sqlite', 'postgres']) {
  test(`at a constant rate the rows on ${engine} become as many as they stay`, () => {
    assert.deepEqual(runRig('--engine', engine), { code: 0, growing: [] });
  });
}

test('a server that forgets nothing is seen', () => {
  const { code, growing } = runRig('--planted-defect');
  assert.equal(code, 1);
  assert.deepEqual(growing, ['families', 'revocations', 'used_once']);
});
