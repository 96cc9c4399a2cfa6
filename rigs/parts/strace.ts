/** Runs a server under strace, which makes system calls fail or kills the server in the middle of one. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** This machine lacks something that the rig needs. The message says what; the exit code is 3. */
export class NotHere extends Error {
  override readonly name = 'NotHere';
}

/** The exit code of a rig that cannot run on this machine. */
export const EXIT_NOT_HERE = 3;

/** The calls that make a file durable. */
export const SYNC_CALLS: readonly string[] = ['fsync', 'fdatasync'];

/**
 * The command that runs a server under strace, as a grandchild (`-D`), so that the process you start is the server itself.
 * `injection` is what strace(1) takes after the names of the calls, such as `error=EIO:when=7`. Each thread counts its own.
 */
export function straceWith(calls: readonly string[], injection: string): readonly string[] {
  demand('strace');
  const names = calls.join(',');
  const inject = ['-e', `trace=${names}`, '-e', `inject=${names}:${injection}`];
  return ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...inject];
}

/** Throws `NotHere` if a tool is not in the PATH. */
export function demand(tool: string): void {
  const found = (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, tool)));
  if (!found) {
    throw new NotHere(
      `This rig needs ${tool}, which is not on this machine (Debian: apt-get install strace e2fsprogs).`,
    );
  }
}
