/**
 * Mutation testing: Stryker makes small changes to a module, one at a time, and runs its tests against each. A change that
 * no test notices survives. `npm run mutants` goes through every module, `npm run mutants -- scope jws` through some. Fails
 * when a module's score is below its minimum.
 */
import { Stryker } from '@stryker-mutator/core';
import { MODULES, type MutatedModule } from './modules.ts';

/** By Node's test runner, in the same process: a change that breaks a test file as it loads then counts as noticed, not as an error. */
const RUN_AS_TEST = ['--test', '--test-isolation=none', '--test-reporter=tap'];

const names = process.argv.slice(2);
for (const name of names.length === 0 ? Object.keys(MODULES) : names) {
  const module = MODULES[name];
  if (module === undefined) throw new Error(`no module ${name}; there are ${Object.keys(MODULES).join(', ')}`);
  process.stdout.write(`\n${name}\n`);
  await mutate(name, module);
}

/** Runs Stryker on a module. Sets the exit code when the score is too low. */
async function mutate(name: string, { sources, tests, scoreMin }: MutatedModule): Promise<void> {
  const stryker = new Stryker({
    plugins: ['@stryker-mutator/tap-runner'],
    testRunner: 'tap',
    tap: {
      testFiles: [...tests],
      nodeArgs: ['-r', '{{hookFile}}', '--conditions=hallpass-source', ...RUN_AS_TEST, '{{testFile}}'],
    },
    mutate: [...sources],
    ignorePatterns: ['/.cache', '/dist', '/fuzz'],
    // Nothing is compiled in the sandbox: Stryker looks for a tsconfig.json by itself, and cannot read it by TypeScript 7.
    tsconfigFile: 'none',
    tempDirName: `.cache/stryker/${name}`,
    disableTypeChecks: false,
    reporters: ['clear-text', 'json'],
    jsonReporter: { fileName: `.cache/mutants/${name}.json` },
    clearTextReporter: { allowColor: false, reportTests: false, reportScoreTable: true },
    thresholds: { high: 100, low: scoreMin, break: scoreMin },
    concurrency: 2,
  });
  await stryker.runMutationTest();
}
