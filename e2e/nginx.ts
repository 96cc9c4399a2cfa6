/** A real nginx: the machine's, or Debian's package, unpacked without installing it. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CACHE = fileURLToPath(new URL('../.cache/', import.meta.url));
const FOLDER = join(CACHE, 'nginx');
const INSTALL_MS_MAX = 120_000;

/** The program; undefined where there is none and none can be had. */
export function findNginx(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  const installed = folders.map((folder) => join(folder, 'nginx')).find((file) => existsSync(file));
  if (installed !== undefined) return installed;
  const unpacked = join(FOLDER, 'usr/sbin/nginx');
  if (!existsSync(unpacked)) unpack();
  return existsSync(unpacked) && spawnSync(unpacked, ['-v']).status === 0 ? unpacked : undefined;
}

/** What to do where there is none. */
export const NO_NGINX = 'There is no nginx here, and no Debian package of it to be had: apt-get install nginx.';

/** All of it or nothing. */
function unpack(): void {
  mkdirSync(CACHE, { recursive: true });
  const fresh = mkdtempSync(join(CACHE, 'nginx-new-'));
  const run = (command: string, ...args: readonly string[]): boolean =>
    spawnSync(command, args, { cwd: fresh, stdio: 'ignore', timeout: INSTALL_MS_MAX }).status === 0;
  const isDownloaded = run('apt-get', 'download', 'nginx');
  const [file] = readdirSync(fresh).filter((name) => name.endsWith('.deb'));
  if (isDownloaded && file !== undefined && run('dpkg', '-x', file, 'root')) {
    rmSync(FOLDER, { recursive: true, force: true });
    renameSync(join(fresh, 'root'), FOLDER);
  }
  rmSync(fresh, { recursive: true, force: true });
}
