/** Runs examples/quickstart as its README says, on free ports. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { run, type Done } from './installed.ts';
import { blocksOf } from './readme_examples.ts';
import { freePort } from '../testing/process/free_port.ts';

const readme = readFileSync(new URL('../examples/quickstart/README.md', import.meta.url), 'utf8');

/** The commands of a block of the README, without their comments. */
export function commandsOf(block: number): readonly string[] {
  const lines = (blocksOf('sh', readme)[block] ?? '').trim().split('\n');
  return lines.map((line) => line.replace(/#.*/, '').trim());
}

export interface Played {
  /** What the first command printed until everything was up. */
  readonly welcome: string;
  readonly calls: Done;
  /** What a shell answers to the token request that was printed, and to the call of the API with that token. */
  readonly pasted: readonly [token: Done, call: Done];
}

/** Starts the example with one command, runs the other beside it, and stops everything as Ctrl-C does. */
export async function playQuickstart(
  [start, calls]: readonly [start: string, calls: string],
  { cwd, dataDir, path = [] }: { readonly cwd: string; readonly dataDir: string; readonly path?: readonly string[] },
): Promise<Played> {
  const [hallpassPort, operatorPort, apiPort] = await Promise.all([freePort(), freePort(), freePort()]);
  const environment = {
    PATH: [...path, process.env['PATH'] ?? ''].join(':'),
    HALLPASS_DATA_DIR: dataDir,
    HALLPASS_PORT: String(hallpassPort),
    HALLPASS_OPERATOR_PORT: String(operatorPort),
    PORT: String(apiPort),
  };
  // A group of its own: a terminal sends Ctrl-C to all of it.
  const child = spawn('sh', ['-c', start], {
    cwd,
    env: { ...process.env, ...environment },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close');
  assert.ok(child.pid !== undefined, 'the shell has started');
  const group = -child.pid;
  try {
    const welcome = await untilPrinted(child, /Bearer TOKEN'\n/);
    const [ask = '', call = ''] = [...welcome.matchAll(/^ {2}(curl (?:[^\n]*\\\n)*[^\n]*)$/gm)].map(([, line]) => line);
    const shell = (line: string): Promise<Done> => run('sh', ['-c', line], { cwd, environment });
    const token = await shell(ask.replace('curl', 'curl -sS'));
    const value = /"access_token":"([^"]+)"/.exec(token.stdout)?.[1] ?? '';
    const pasted = [token, await shell(call.replace('curl', 'curl -sS').replace('TOKEN', value))] as const;
    return { welcome, pasted, calls: await shell(calls) };
  } finally {
    if (child.exitCode === null) process.kill(group, 'SIGINT');
    await ended;
    for (const port of [hallpassPort, apiPort]) await assert.rejects(fetch(`http://localhost:${port}/`), 'it goes on');
  }
}

async function untilPrinted(child: ReturnType<typeof spawn>, wanted: RegExp): Promise<string> {
  let output = '';
  return await new Promise((resolve, reject) => {
    const hear = (text: Buffer): void => {
      output += String(text);
      if (wanted.test(output)) resolve(output);
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.once('exit', (code) => reject(new Error(`the example ended with ${code}: ${output}`)));
  });
}
