/** Copies of the packages in which mutants live and die; the working tree is only read. */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { applyMutant, type Mutant } from './mutators.ts';
import type { MutatedModule } from './mutant_modules.ts';

export type Fate = 'killed' | 'survived' | 'timeout';

/** Tests that take so much longer than they did with the source as it is are taken to run for ever. */
const TIMEOUT_FACTOR = 5;
const TIMEOUT_SECONDS_MIN = 12;

export class MutantTree {
  readonly #root: string;
  readonly #module: MutatedModule;
  readonly #source: string;
  #timeoutMs = 600_000;

  /** A copy of the packages of `root`, which has them and `node_modules`, for the mutants of one module. */
  constructor(root: string, module: MutatedModule) {
    this.#root = mkdtempSync(join(tmpdir(), 'hallpass-mutants-'));
    this.#module = module;
    const filter = (path: string): boolean => !/(?:^|\/)(?:dist|node_modules)$|tsbuildinfo$/.test(path);
    cpSync(join(root, 'packages'), join(this.#root, 'packages'), { recursive: true, filter });
    cpSync(join(root, 'package.json'), join(this.#root, 'package.json'));
    const [from, to] = [join(root, 'node_modules'), join(this.#root, 'node_modules')];
    mkdirSync(join(to, '@hallpass'), { recursive: true });
    for (const name of readdirSync(from)) {
      if (name !== '@hallpass' && name !== '.bin') symlinkSync(join(from, name), join(to, name));
    }
    // The packages find each other in the copy and nowhere else.
    for (const name of readdirSync(join(root, 'packages'))) {
      symlinkSync(join(this.#root, 'packages', name), join(to, '@hallpass', name));
    }
    this.#source = readFileSync(join(this.#root, module.file), 'utf8');
  }

  remove(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }

  /** How long the tests take, in seconds, with the source as it is. Throws when they do not pass. */
  async measure(): Promise<number> {
    const startedAt = performance.now();
    for (const test of this.#module.tests) {
      const fate = await this.#run(test);
      if (fate !== 'survived') throw new Error(`${test} does not pass with the source as it is (${fate}).`);
    }
    const seconds = (performance.now() - startedAt) / 1000;
    this.#timeoutMs = Math.max(TIMEOUT_SECONDS_MIN, seconds * TIMEOUT_FACTOR) * 1000;
    return seconds;
  }

  /** Killed by the first test that fails. */
  async judge(mutant: Mutant): Promise<Fate> {
    const file = join(this.#root, this.#module.file);
    writeFileSync(file, applyMutant(this.#source, mutant));
    try {
      for (const test of this.#module.tests) {
        const fate = await this.#run(test);
        if (fate !== 'survived') return fate;
      }
      return 'survived';
    } finally {
      writeFileSync(file, this.#source);
    }
  }

  /** One test file in a process of its own, until it ends or the first of its tests fails. */
  #run(test: string): Promise<Fate> {
    return new Promise((resolve, reject) => {
      const options = ['--conditions=hallpass-source', '--test-reporter=tap', test];
      const child = spawn(process.execPath, options, {
        cwd: this.#root,
        stdio: ['ignore', 'pipe', 'ignore'],
        env: { ...process.env, NODE_TEST_CONTEXT: undefined },
      });
      let fate: Fate | undefined;
      const end = (how: Fate): void => {
        fate ??= how;
        child.kill('SIGKILL');
      };
      const timer = setTimeout(end, this.#timeoutMs, 'timeout');
      child.stdout.setEncoding('utf8').on('data', (piece: string) => {
        if (/^\s*not ok /m.test(piece)) end('killed');
      });
      child.on('error', reject);
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve(fate ?? (code === 0 ? 'survived' : 'killed'));
      });
    });
  }
}
