/** The packages as they are published, built from the sources as they are, in a folder that has nothing else. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const PUBLISHED = ['protocol', 'guard', 'client'];
/** What it takes to compile them. */
const COMPILED_WITH = ['@types', 'undici-types', 'jose', 'yaml', 'fastify', 'hono'];

/** A folder in which `@hallpass/guard` and `@hallpass/client` are installed, with what they need; gone after the tests. */
export function installPublished(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-published-'));
  after(() => rmSync(folder, { recursive: true }));
  const workspace = join(folder, 'workspace');
  compile(workspace);
  const app = join(folder, 'app');
  for (const name of PUBLISHED) {
    // Without the sources, so that nothing can run from them.
    for (const part of ['package.json', 'dist']) {
      cpSync(join(workspace, 'packages', name, part), join(app, 'node_modules/@hallpass', name, part), {
        recursive: true,
      });
    }
  }
  cpSync(join(root, 'node_modules/jose'), join(app, 'node_modules/jose'), { recursive: true });
  writeFileSync(join(app, 'package.json'), '{ "type": "module" }\n');
  rmSync(workspace, { recursive: true });
  return app;
}

function compile(workspace: string): void {
  const modules = join(workspace, 'node_modules');
  mkdirSync(join(modules, '@hallpass'), { recursive: true });
  for (const name of COMPILED_WITH) symlinkSync(join(root, 'node_modules', name), join(modules, name));
  for (const file of ['tsconfig.base.json', 'packages/wall.d.ts']) cpSync(join(root, file), join(workspace, file));
  for (const name of PUBLISHED) {
    const folder = join(workspace, 'packages', name);
    for (const part of ['package.json', 'tsconfig.json', 'src']) {
      cpSync(join(root, 'packages', name, part), join(folder, part), { recursive: true });
    }
    symlinkSync(folder, join(modules, '@hallpass', name));
  }
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const folders = ['guard', 'client'].map((name) => join(workspace, 'packages', name));
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-b', ...folders], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
}
