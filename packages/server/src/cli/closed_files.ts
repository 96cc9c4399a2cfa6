/** Files that hold secrets: who else on this machine may read or write them. Windows has no such modes. */
import { chmodSync, statSync, type Stats } from 'node:fs';

const OTHERS = 0o077;

/** Whether others than its owner may read or write a file. */
export function isOpenToOthers({ mode }: Stats): boolean {
  return process.platform !== 'win32' && (mode & OTHERS) !== 0;
}

/** Closes a file that is there to others. Answers with what was found. */
export function closeToOthers(file: string): 'closed_before' | 'closed_now' | 'cannot_be_closed' {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined || !isOpenToOthers(found)) return 'closed_before';
  try {
    chmodSync(file, 0o600);
    return 'closed_now';
  } catch {
    return 'cannot_be_closed';
  }
}
