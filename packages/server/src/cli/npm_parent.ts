/**
 * A command that npm started ends with npm. On SIGTERM npm signals the shell that it runs a script in, and some shells end
 * without passing that on; on SIGKILL npm signals nobody. Either way the command would go on without an owner, and keep
 * its port.
 */
import { readFileSync } from 'node:fs';

/** How often the processes above this one are looked at, in milliseconds. */
const LOOK_INTERVAL_MS = 250;
/** The parent of what has lost its own. */
const INIT = 1;
const SHELLS: ReadonlySet<string> = new Set(['sh', 'dash', 'bash', 'ash', 'ksh', 'zsh', 'busybox']);

/** Sends this process SIGTERM when npm, or the shell between npm and this process, is gone. */
export function endWithNpm(): void {
  const { ppid } = process;
  // In a container npm itself may be the first process; and a script may start a command in the background on purpose.
  if (ppid === INIT) return;
  const shell = processAt(ppid);
  const above = shell !== undefined && SHELLS.has(shell.name) ? shell.parent : undefined;
  const timer = setInterval(() => {
    const isShellAlone = above !== undefined && above !== INIT && processAt(ppid)?.parent !== above;
    if (process.ppid === ppid && !isShellAlone) return;
    clearInterval(timer);
    process.kill(process.pid, 'SIGTERM');
  }, LOOK_INTERVAL_MS);
  timer.unref();
}

/** The name and the parent of a process; undefined where there is no `/proc`, or no such process any more. */
function processAt(pid: number): { readonly name: string; readonly parent: number } | undefined {
  try {
    // PID (NAME) STATE PARENT ...; the name may hold anything, brackets too.
    const [, name = '', parent] =
      /^[0-9]+ \((.*)\) [A-Za-z] ([0-9]+) /s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    return { name, parent: Number(parent) };
  } catch {
    return undefined;
  }
}
