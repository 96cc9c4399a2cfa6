/** Files that hold secrets: who else on this machine may read or write them. Windows has no such modes. */
import { chmodSync, closeSync, fstatSync, openSync, readFileSync, statSync, type Stats } from 'node:fs';

const OTHERS = 0o077;
const EVERYONE = 0o007;
const GROUP_READS = 0o040;
const OWNER_WRITES = 0o200;
const ROOT = 0;

/** Who else may read or write a file; undefined: nobody who matters. */
export type Exposure = 'its group' | 'everyone';

/** Who reads a file: the user and the groups of this process. */
export interface Reader {
  readonly uid: number | undefined;
  readonly groups: readonly number[];
}

/**
 * Whom a file is open to. Root may open a file of its own to a group of this process, for reading: that is how Kubernetes
 * mounts a secret for a container that does not run as root (0440, `fsGroup`). Any other group may hold strangers. A server
 * that is root itself has no need of a group: there only a mount, which nobody writes to, is taken as it comes.
 */
export function exposureOf(
  { mode, uid, gid }: Pick<Stats, 'mode' | 'uid' | 'gid'>,
  reader: Reader = readerOfProcess(),
): Exposure | undefined {
  if (process.platform === 'win32' || (mode & OTHERS) === 0) return undefined;
  if ((mode & EVERYONE) !== 0) return 'everyone';
  const isForUs = uid === ROOT && reader.groups.includes(gid) && (mode & OTHERS) === GROUP_READS;
  const isNeeded = reader.uid !== ROOT || (mode & OWNER_WRITES) === 0;
  return isForUs && isNeeded ? undefined : 'its group';
}

function readerOfProcess(): Reader {
  const own = process.getegid?.();
  const groups = [...(process.getgroups?.() ?? []), ...(own === undefined ? [] : [own])];
  return { uid: process.geteuid?.(), groups };
}

/** Whether others may read or write a file. */
export function isOpenToOthers(stats: Stats): boolean {
  return exposureOf(stats) !== undefined;
}

/** A file that may hold secrets. */
export interface SecretFile {
  readonly text: string;
  readonly exposure: Exposure | undefined;
  /** Such as `0644`. */
  readonly mode: string;
}

/** Reads a file whole, without a byte order mark. The mode is that of the very file that is read. Throws as `node:fs` does. */
export function readSecretFile(file: string): SecretFile {
  const descriptor = openSync(file, 'r');
  try {
    const stats = fstatSync(descriptor);
    const text = readFileSync(descriptor, 'utf8').replace(/^\uFEFF/, '');
    return { text, exposure: exposureOf(stats), mode: (stats.mode & 0o7777).toString(8).padStart(4, '0') };
  } finally {
    closeSync(descriptor);
  }
}

/** Closes a file that is there to others. Answers with what was found. */
export function closeToOthers(file: string): 'closed_before' | 'closed_now' | 'cannot_be_closed' {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined || process.platform === 'win32' || (found.mode & OTHERS) === 0) return 'closed_before';
  try {
    chmodSync(file, 0o600);
    return 'closed_now';
  } catch {
    return 'cannot_be_closed';
  }
}
