/**
 * Builds the packages and packs each into a tarball: `npm run pack [-- --to FOLDER]`; by default they are in `dist/`.
 *
 * It builds in a folder of its own, from the sources as they are: what an earlier build left behind is never packed. It
 * does not rely on lifecycle scripts, which the checkout switches off (ADR 29).
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { includePackages } from './include.ts';
import { entriesOf, PACKAGE_FOLDERS, readPackage, type Package } from './manifest.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const { to } = parseArgs({ options: { to: { type: 'string', default: 'dist' } } }).values;
const destination = resolve(to);

const work = mkdtempSync(join(tmpdir(), 'hallpass-pack-'));
try {
  const built = build(join(work, 'workspace'));
  const packages = PACKAGE_FOLDERS.map((folder) => readPackage(root, folder));
  const stages = packages.map((one) => stage(built, join(work, 'stages', one.folder), one));
  for (const [at, folder] of stages.entries()) await lint(folder, packages[at]?.manifest ?? {});
  for (const file of npmPack(stages)) process.stdout.write(`${file}\n`);
} finally {
  rmSync(work, { recursive: true });
}

/** Compiles a copy of the packages; gives the folder that holds them. */
function build(workspace: string): string {
  const modules = join(workspace, 'node_modules');
  mkdirSync(join(modules, '@hallpass'), { recursive: true });
  for (const name of readdirSync(join(root, 'node_modules'))) {
    // Ours would lead back into the checkout.
    if (name === '@hallpass' || name === 'hallpass' || name.startsWith('.')) continue;
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  for (const file of ['tsconfig.base.json', 'packages/wall.d.ts']) cpSync(join(root, file), join(workspace, file));
  const packages = join(workspace, 'packages');
  for (const folder of PACKAGE_FOLDERS) {
    for (const part of ['package.json', 'tsconfig.json', 'src']) {
      cpSync(join(root, 'packages', folder, part), join(packages, folder, part), { recursive: true });
    }
    if (folder !== 'server') symlinkSync(join(packages, folder), join(modules, '@hallpass', folder));
  }
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const folders = PACKAGE_FOLDERS.map((folder) => join(packages, folder));
  run(process.execPath, [tsc, '-b', '--declarationMap', 'false', ...folders]);
  return packages;
}

/** Lays out a package as it is to be packed; gives its folder. */
function stage(built: string, folder: string, { folder: name, manifest, ours }: Package): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  for (const part of ['README.md', 'LICENSE']) cpSync(join(root, 'packages', name, part), join(folder, part));
  if (name === 'server') cpSync(join(root, 'packages', name, 'bin'), join(folder, 'bin'), { recursive: true });
  cpSync(join(built, name, 'dist'), join(folder, 'dist'), { recursive: true });
  const included = ours.map((other) => ({
    folder: other,
    dist: join(built, other, 'dist'),
    entries: entriesOf(readPackage(root, other).manifest),
  }));
  includePackages(join(folder, 'dist'), included);
  return folder;
}

/** Throws when what `exports`, `bin` or `types` promise is not there, or would not be read as it is meant. */
async function lint(folder: string, manifest: Package['manifest']): Promise<void> {
  const { messages, pkg } = await publint({ pkgDir: folder, pack: false, strict: true });
  if (messages.length === 0) return;
  const sentences = messages.map((message) => formatMessage(message, pkg, { color: false }));
  throw new Error(`publint does not accept ${String(manifest['name'])}:\n${sentences.join('\n')}`);
}

/** Packs folders; gives the files. */
function npmPack(folders: readonly string[]): readonly string[] {
  mkdirSync(destination, { recursive: true });
  // Of a version before, beside which an install of `*.tgz` would find two of each.
  const earlier = readdirSync(destination).filter((name) => /^hallpass-(?:[a-z]+-)?\d+\.\d+\.\d+\.tgz$/.test(name));
  for (const name of earlier) rmSync(join(destination, name));
  // Outside of the checkout, whose settings of npm are not meant for this.
  const names = run('npm', ['pack', '--ignore-scripts', '--pack-destination', destination, ...folders], work);
  return names.split('\n').map((name) => join(destination, basename(name)));
}

/** Runs a program to its end; gives what it printed, and throws with that when it did not succeed. */
function run(file: string, args: readonly string[], cwd = root): string {
  const { status, stdout, stderr, error } = spawnSync(file, args, { cwd, encoding: 'utf8' });
  if (status === 0) return stdout.trim();
  throw new Error(`${basename(file)} ${args[0] ?? ''} did not succeed:\n${stdout}${stderr}`, { cause: error });
}
