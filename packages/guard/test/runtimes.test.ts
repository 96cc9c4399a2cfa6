/** The published guard on a runtime that is not Node. `runtimes.matrix.ts` has every runtime that it is for. */
import { test } from 'node:test';
import { installRuntimes } from '../../../testing/runtimes/installed.ts';
import { assertGuards, PATIENCE_MS, startOnDeno } from './runtimes.ts';

const deno = installRuntimes('deno')('deno');

test('Deno: the published guard allows, refuses and learns of a revocation', { timeout: PATIENCE_MS }, async () => {
  await assertGuards(await startOnDeno(deno), /^Deno\/2\./);
});
