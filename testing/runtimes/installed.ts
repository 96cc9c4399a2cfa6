/**
 * The runtimes that the published packages are tried on. npm brings them from a package of their own, beside the
 * workspace: they are 870 MB, which `npm ci` would have to unpack every time, and three of them want to be `node`.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const wanted = fileURLToPath(new URL('app/', import.meta.url));
const cache = fileURLToPath(new URL('../../.cache/', import.meta.url));

/** By their names on a PATH, where npm puts their binaries. */
const BINARIES = {
  node20: 'node-20/bin/node',
  node22: 'node-22/bin/node',
  node24: 'node-24/bin/node',
  deno: '@deno/linux-x64-glibc/deno',
  bun: '@oven/bun-linux-x64/bin/bun',
  workerd: '@cloudflare/workerd-linux-64/bin/workerd',
} as const;
export type Runtime = keyof typeof BINARIES;

/** Takes a minute on a slow line, in milliseconds. */
const INSTALL_MS_MAX = 600_000;

/** Where each runtime is. Installs them when they are not there; throws when that cannot be done. */
export function installRuntimes(): (runtime: Runtime) => string {
  if (process.platform !== 'linux' || process.arch !== 'x64') return findOnPath;
  const lock = readFileSync(join(wanted, 'package-lock.json'));
  const version = createHash('sha256').update(lock).digest('hex').slice(0, 12);
  const folder = join(cache, `runtimes-${version}`);
  if (!existsSync(folder)) install(folder);
  return (runtime) => join(folder, 'node_modules', BINARIES[runtime]);
}

/** All of it or nothing. */
function install(folder: string): void {
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(join(cache, 'runtimes-new-'));
  for (const file of ['package.json', 'package-lock.json']) cpSync(join(wanted, file), join(fresh, file));
  const options = { cwd: fresh, encoding: 'utf8', timeout: INSTALL_MS_MAX } as const;
  const { status, stderr } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], options);
  if (status !== 0) {
    rmSync(fresh, { recursive: true });
    throw new Error(`npm could not install the runtimes of testing/runtimes/app/package.json:\n${stderr}`);
  }
  try {
    renameSync(fresh, folder);
  } catch (error) {
    // Another test file has installed them meanwhile.
    rmSync(fresh, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
}

function findOnPath(runtime: Runtime): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const found = folders.map((folder) => join(folder, runtime)).find((file) => existsSync(file));
  if (found !== undefined) return found;
  throw new Error(`npm brings the runtimes for Linux on x64 alone: elsewhere, put '${runtime}' on the PATH.`);
}
