/** The packages as others get them: packed by `npm run pack`, and installed by npm in a project that has nothing else. */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Environment } from '../testing/process/process.ts';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');

export interface Done {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, with nothing of the environment that could lead back into the checkout. */
export async function run(
  file: string,
  args: readonly string[],
  {
    cwd,
    environment = {},
    input = '',
  }: { readonly cwd: string; readonly environment?: Readonly<Record<string, string>>; readonly input?: string },
): Promise<Done> {
  const child = execFile(file, args, { cwd, env: { ...outsideEnvironment(), ...environment } });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (text: string) => (stdout += text));
  child.stderr?.on('data', (text: string) => (stderr += text));
  // A program that ends before it has read its input closes the pipe.
  child.stdin?.on('error', () => undefined).end(input);
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

/** A JSON object to its members. */
export function parseObject(text: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(text);
  assert.ok(typeof value === 'object' && value !== null, `not an object: ${text}`);
  return Object.fromEntries(Object.entries(value));
}

/** What it printed; it must have succeeded. */
export async function demand(...command: Parameters<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await run(...command);
  assert.equal(code, 0, `${command[0]} ${command[1].join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** npm needs NODE_EXTRA_CA_CERTS on a network whose proxy signs certificates itself. */
function outsideEnvironment(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => name === 'NODE_EXTRA_CA_CERTS' || !/^(?:HALLPASS_|NODE_|npm_|FORCE_COLOR)/.test(name),
  );
  return Object.fromEntries(inherited);
}

/** Packs all packages into a folder; gives the tarballs. */
export async function packInto(folder: string): Promise<readonly string[]> {
  await demand('npm', ['run', '--silent', 'pack', '--', '--to', folder], { cwd: ROOT });
  return readdirSync(folder).map((name) => join(folder, name));
}

/** A new project, of modules unless stated otherwise, with these installed. */
export async function installProject(
  folder: string,
  wanted: readonly string[],
  type: 'module' | 'commonjs' = 'module',
): Promise<string> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'a-project', private: true, type }));
  const options = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund'];
  await demand('npm', ['install', ...options, ...wanted], { cwd: folder });
  return folder;
}

/** What the compiler finds wrong in files of a project, strictly; a line for each. */
export async function compile(
  project: string,
  files: readonly string[],
  { lib, types = '' }: { readonly lib: string; readonly types?: string },
): Promise<readonly string[]> {
  const strict = ['--strict', '--noEmit', '--ignoreConfig', '--skipLibCheck', 'false', '--module', 'nodenext'];
  const args = [TSC, ...strict, '--target', 'es2022', '--lib', lib, '--types', types, '--pretty', 'false', ...files];
  const { stdout } = await run(process.execPath, args, { cwd: project });
  return stdout.split('\n').filter((line) => line !== '');
}

export interface InstalledServer {
  readonly url: string;
  /** Everything that it has printed and logged so far. */
  readonly output: () => string;
  readonly stop: () => Promise<number | null>;
}

/** Starts the server of a project on free ports; resolves when it is ready. */
export async function serveInstalled(
  node: string,
  project: string,
  environment: Environment,
): Promise<InstalledServer> {
  const ports = { HALLPASS_HOST: '127.0.0.1', HALLPASS_PORT: '0', HALLPASS_OPERATOR_PORT: '0' };
  const env = { ...outsideEnvironment(), ...ports, ...environment };
  const child = spawn(node, [commandOf(project), 'serve'], { cwd: project, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const url = await new Promise<string>((resolve, reject) => {
    const hear = (text: string): void => {
      output += text;
      const ready = /Hallpass is ready: (\S+)/.exec(output)?.[1];
      if (ready !== undefined) resolve(ready);
    };
    child.stdout.setEncoding('utf8').on('data', hear);
    child.stderr.setEncoding('utf8').on('data', hear);
    child.once('exit', (code) => reject(new Error(`hallpass serve ended with ${code}: ${output}`)));
  });
  return { url, output: () => output, stop: () => endOf(child) };
}

async function endOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }
  return child.exitCode;
}

/** The file that npm links as `hallpass`. */
export function commandOf(project: string): string {
  return join(project, 'node_modules/hallpass/bin/hallpass.js');
}
