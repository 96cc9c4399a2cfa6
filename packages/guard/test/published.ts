/** The packages as others get them, packed from the sources as they are, in a folder that has nothing else. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** A folder in which `@hallpass/guard` and `@hallpass/client` are installed, with what they need; gone after the tests. */
export function installPublished(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-published-'));
  after(() => rmSync(folder, { recursive: true }));
  const dist = join(folder, 'dist');
  npm(['run', '--silent', 'pack', '--', '--to', dist], root);
  const tarballs = readdirSync(dist).filter((name) => /^hallpass-(?:guard|client)-/.test(name));
  const app = join(folder, 'app');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{ "type": "module" }\n');
  const options = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund'];
  npm(['install', ...options, ...tarballs.map((name) => join(dist, name))], app);
  return app;
}

function npm(args: readonly string[], cwd: string): void {
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd, encoding: 'utf8' });
  assert.equal(status, 0, `npm ${args.join(' ')}: ${stdout}${stderr}`);
}
