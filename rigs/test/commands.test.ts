/** The rig of interrupted commands: that the second run does it all, and that it would be seen if it did not. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig } from './run_rig.ts';

suite('a command that is killed and run again', { skip: process.platform === 'win32' }, () => {
  test(
    'a copy to another store, killed at some moment, is complete after the second run',
    { timeout: 300_000 },
    async () => {
      const { code, figures, complaints } = await runRig('commands', '--command', 'copy', '--rounds', '1');
      assert.equal(figures['findings'], 0, complaints);
      assert.equal(code, 0);
    },
  );

  test(
    'a restore, killed at some moment, is complete after the second run, and half of it is never served',
    { timeout: 300_000 },
    async () => {
      const { code, figures, complaints } = await runRig('commands', '--command', 'restore', '--rounds', '2');
      assert.equal(figures['findings'], 0, complaints);
      assert.equal(code, 0);
    },
  );

  test('a copy that lacks a row is caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'commands', ['--command', 'copy', '--rounds', '1'], 'findings');
  });
});
