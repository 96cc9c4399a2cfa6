/**
 * What a command has of its process: the environment, the standard streams and the exit code. Several commands can run in
 * one process, each with its own: a test runs hundreds without starting a process for any of them.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Readable, Writable } from 'node:stream';

/** The process of one command. `exitCode` is what the command has set so far. */
export interface CommandProcess {
  readonly environment: NodeJS.ProcessEnv;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  exitCode: number;
}

const current = new AsyncLocalStorage<CommandProcess>();

/** Runs a command, which finds this process with `commandProcess`, and returns its exit code. */
export async function inProcess(command: CommandProcess, run: () => Promise<void>): Promise<number> {
  await current.run(command, run);
  return command.exitCode;
}

/** The process of the command that calls this. Outside a command, Node's own process, without its environment. */
export function commandProcess(): CommandProcess {
  return current.getStore() ?? outside;
}

/** Node's own process as that of a command. A stream is opened when it is first used. */
export function ownProcess(environment: NodeJS.ProcessEnv): CommandProcess {
  return {
    environment,
    get stdin() {
      return process.stdin;
    },
    get stdout() {
      return process.stdout;
    },
    get stderr() {
      return process.stderr;
    },
    exitCode: 0,
  };
}

const outside = ownProcess({});
