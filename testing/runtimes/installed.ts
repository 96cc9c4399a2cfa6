/**
 * The runtimes that the published packages are tested on. npm installs them from a package outside of the workspace:
 * together they are 870 MB, which `npm ci` would have to unpack every time, and three of them want to be `node`. The suite
 * needs Deno alone (92 MB); `npm run test:matrix` needs them all.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const app = fileURLToPath(new URL('app/', import.meta.url));
const cache = fileURLToPath(new URL('../../.cache/', import.meta.url));

/** The name of each on a PATH, and where npm puts its binary. */
const BINARIES = {
  node20: 'node-20/bin/node',
  node22: 'node-22/bin/node',
  node24: 'node-24/bin/node',
  deno: '@deno/linux-x64-glibc/deno',
  bun: '@oven/bun-linux-x64/bin/bun',
  workerd: '@cloudflare/workerd-linux-64/bin/workerd',
} as const;
export type Runtime = keyof typeof BINARIES;

/** The options of npm that leave the others out. `app/package.json` has Deno as its one dependency that is not for development. */
const OMITTED = { deno: ['--omit=dev'], all: [] } as const;

/** A minute on a slow line is normal. */
const INSTALL_MS_MAX = 600_000;

/**
 * Installs Deno or all runtimes, unless they are there. Returns where each is. On other machines than Linux on x64, looks
 * for them on the PATH. Throws when npm fails.
 */
export function installRuntimes(wanted: keyof typeof OMITTED): (runtime: Runtime) => string {
  if (process.platform !== 'linux' || process.arch !== 'x64') return findOnPath;
  const lock = readFileSync(join(app, 'package-lock.json'));
  const version = createHash('sha256').update(lock).digest('hex').slice(0, 12);
  const all = join(cache, `runtimes-${version}`);
  const folder = wanted === 'all' || existsSync(all) ? all : join(cache, `deno-${version}`);
  if (!existsSync(folder)) install(folder, OMITTED[wanted]);
  return (runtime) => join(folder, 'node_modules', BINARIES[runtime]);
}

/** Installs everything into a new folder and renames it, so that no test finds half of it. */
function install(folder: string, omitted: readonly string[]): void {
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(join(cache, 'runtimes-new-'));
  for (const file of ['package.json', 'package-lock.json']) cpSync(join(app, file), join(fresh, file));
  const args = ['ci', ...omitted, '--ignore-scripts', '--no-audit', '--no-fund'];
  const { status, stderr } = spawnSync('npm', args, { cwd: fresh, encoding: 'utf8', timeout: INSTALL_MS_MAX });
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
  throw new Error(`npm has the runtimes for Linux on x64 only. On other machines, put '${runtime}' on the PATH.`);
}
