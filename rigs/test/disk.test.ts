/** The disk rig at smoke size: it finds nothing lost, and catches a disk that lies about syncing. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRigWhereItCan } from './run_rig.ts';

suite('a disk that fails under a loaded server', { concurrency: 2 }, () => {
  for (const fault of ['power-cut', 'full', 'failing-sync']) {
    test(`${fault}: nothing that was acknowledged is lost`, { timeout: 300_000 }, async (t) => {
      const ended = await runRigWhereItCan(t, 'disk', '--fault', fault, '--rounds', '1');
      if (ended === undefined) return;
      const { code, figures, complaints } = ended;
      assert.equal(figures['lost'], 0, complaints);
      assert.equal(code, 0);
      assert.ok((figures['acknowledgedRevocations'] ?? 0) > 0);
      assert.ok((figures['acknowledgedRotations'] ?? 0) > 0);
    });
  }

  test('a disk that says it has synced and has not is caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'disk', ['--fault', 'power-cut', '--rounds', '1'], 'lost');
  });
});
