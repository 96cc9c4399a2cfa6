/** `hallpass ARGS` without a process: the same command in this one, with its own environment and streams. */
import { Readable, Writable } from 'node:stream';
import { runCommand as run } from '../../packages/server/src/cli/run.ts';

/** Variables for a command. */
export type Environment = Readonly<Record<string, string>>;

/** What a command printed, and its exit code; null if a signal ended its process. */
export interface Done {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command to its end in this process, about ten times as fast as in a process of its own. For anything but signals,
 * pipes, terminals and the start itself.
 */
export async function runCommand(args: readonly string[], environment: Environment, input = ''): Promise<Done> {
  const [stdout, stderr] = [new Collector(), new Collector()];
  const stdin = Readable.from([Buffer.from(input)], { objectMode: false });
  const code = await run(args, { environment, stdin, stdout, stderr, exitCode: 0 });
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

class Collector extends Writable {
  readonly #chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}
