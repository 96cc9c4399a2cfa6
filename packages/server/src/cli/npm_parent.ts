/**
 * A command that npm started ends with npm. On SIGTERM npm signals the shell that runs the script, and some shells exit
 * without passing the signal on. On SIGKILL npm signals nobody. Either way the command would keep running without an owner,
 * and keep its port.
 */
import { readFileSync } from 'node:fs';

/** How often the processes above this one are checked, in milliseconds. */
const LOOK_INTERVAL_MS = 250;
/** The parent of processes that have lost theirs. */
const INIT = 1;
const SHELLS: ReadonlySet<string> = new Set(['sh', 'dash', 'bash', 'ash', 'ksh', 'zsh', 'busybox']);
/** The process name of `run.cjs`, with which a checkout runs a command when the machine's Node is too old. */
const LAUNCHER = 'hallpass-node';

/** What npm sets for the commands that it starts. */
interface ByNpm {
  readonly npm_lifecycle_event?: string;
}

/** Sends this process SIGTERM when npm, or a process between npm and this one, is gone. */
export function endWithNpm({ npm_lifecycle_event: script }: ByNpm): void {
  const { ppid } = process;
  // In a container npm itself may be the first process; and a script may start a command in the background on purpose.
  if (ppid === INIT) return;
  const byNpm = script !== undefined;
  // Without npm, a launcher may lose its own parent on purpose: `nohup hallpass serve &`.
  if (!byNpm && processAt(ppid)?.name !== LAUNCHER) return;
  const between = byNpm ? linksBetween(ppid) : [];
  const timer = setInterval(() => {
    if (process.ppid === ppid && between.every(({ pid, parent }) => processAt(pid)?.parent === parent)) return;
    clearInterval(timer);
    process.kill(process.pid, 'SIGTERM');
  }, LOOK_INTERVAL_MS);
  timer.unref();
}

interface Link {
  readonly pid: number;
  readonly parent: number;
}

/** The launcher and the shell above this process, if npm started the command through them. */
function linksBetween(ppid: number): readonly Link[] {
  const links: Link[] = [];
  let pid = ppid;
  for (const isOne of [(name: string) => name === LAUNCHER, (name: string) => SHELLS.has(name)]) {
    const found = processAt(pid);
    if (found === undefined || !isOne(found.name) || found.parent === INIT) continue;
    links.push({ pid, parent: found.parent });
    pid = found.parent;
  }
  return links;
}

/** The name and the parent of a process; undefined without `/proc`, or when the process is gone. */
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
