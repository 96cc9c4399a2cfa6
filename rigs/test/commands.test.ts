/** The interrupted-commands rig at smoke size: a second run completes everything, and a missing row is caught. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig } from './run_rig.ts';

suite('a command that is killed and run again', { skip: process.platform === 'win32', concurrency: 2 }, () => {
  test(
    'a killed restore is complete after the second run, and half of it is never served',
    { timeout: 300_000 },
    async () => {
      const { code, figures, complaints } = await runRig('commands', '--command', 'restore', '--rounds', '1');
      assert.equal(figures['findings'], 0, complaints);
      assert.equal(code, 0);
    },
  );

  test('a killed copy that lacks a row after the second run is caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'commands', ['--command', 'copy', '--rounds', '1'], 'findings');
  });
});
