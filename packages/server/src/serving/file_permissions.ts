/** Files that hold secrets: which other users of this machine may read or write them. Windows has no such modes. */
import { chmodSync, closeSync, fstatSync, openSync, readFileSync, statSync, type Stats } from 'node:fs';

const OTHERS = 0o077;
const EVERYONE = 0o007;
const GROUP_READS = 0o040;
const OWNER_WRITES = 0o200;
const ROOT = 0;

/** Who besides the owner may read or write a file. */
export type Exposure = 'its group' | 'everyone';

/** The user and the groups of the process that reads a file. */
export interface Reader {
  readonly uid: number | undefined;
  readonly groups: readonly number[];
}

/**
 * Who else may read or write a file; undefined if nobody who matters. A file of root's may be readable by a group of this
 * process: Kubernetes mounts secrets that way for a container that does not run as root (0440, `fsGroup`). Any other group
 * may have members we don't know. A server running as root needs no group permission, so there we accept it only on a file
 * that even its owner cannot write, such as a mount.
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

/** Whether other users may read or write a file. */
export function isAccessibleToOthers(stats: Stats): boolean {
  return exposureOf(stats) !== undefined;
}

/** A file that may hold secrets. */
export interface SecretFile {
  readonly text: string;
  readonly exposure: Exposure | undefined;
  /** In octal, such as `0644`. */
  readonly mode: string;
}

/**
 * Reads a whole file, without its byte order mark. The mode is read from the open descriptor, so it belongs to the very
 * file whose text is returned. Throws what `node:fs` throws.
 */
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

/** Takes the permissions of all other users from a file, if it exists. Returns whether that was needed and worked. */
export function restrictToOwner(file: string): 'already_restricted' | 'restricted' | 'failed' {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined || process.platform === 'win32' || (found.mode & OTHERS) === 0) return 'already_restricted';
  try {
    chmodSync(file, 0o600);
    return 'restricted';
  } catch {
    return 'failed';
  }
}
