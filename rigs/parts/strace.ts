/** Runs a server under strace, which makes its system calls fail, or kills it in the middle of one. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Something that a rig needs is not on this machine: said in a sentence, with exit code 3. */
export class NotHere extends Error {
  override readonly name = 'NotHere';
}

export const EXIT_NOT_HERE = 3;

/** The calls by which a file is made to last. */
export const SYNC_CALLS: readonly string[] = ['fsync', 'fdatasync'];

/**
 * The command to run a server by. strace is a grandchild (`-D`), so that the process that was started is the server.
 * `injection` is what strace(1) takes behind the names of the calls, such as `error=EIO:when=7`; each thread counts its
 * own.
 */
export function straceWith(calls: readonly string[], injection: string): readonly string[] {
  demand('strace');
  const names = calls.join(',');
  const inject = ['-e', `trace=${names}`, '-e', `inject=${names}:${injection}`];
  return ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...inject];
}

/** Throws `NotHere` when a tool is not on the path. */
export function demand(tool: string): void {
  const found = (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, tool)));
  if (!found) {
    throw new NotHere(
      `This rig needs ${tool}, which is not on this machine (Debian: apt-get install strace e2fsprogs).`,
    );
  }
}
