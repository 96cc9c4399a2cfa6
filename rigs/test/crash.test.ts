/** The kill -9 rig itself: that it finds nothing lost, and that it would find it. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig, runRigWhereItCan } from './run_rig.ts';

suite('a server that is killed under load', { skip: process.platform === 'win32' }, () => {
  test('nothing that was acknowledged is lost in 20 kills (contract §3, §4)', { timeout: 400_000 }, async (t) => {
    const { code, figures, complaints } = await runRig('crash', '--rounds', '20');
    t.diagnostic(JSON.stringify(figures));
    assert.equal(figures['lost'], 0, complaints);
    assert.equal(code, 0);
    // A rig without load would find nothing either.
    assert.ok((figures['acknowledgedRevocations'] ?? 0) > 20);
    assert.ok((figures['acknowledgedRotations'] ?? 0) > 20);
  });

  test(
    'nor when it is killed in the middle of writing, of making that last, of answering',
    { timeout: 400_000 },
    async (t) => {
      const options = ['--point', 'each', '--rounds', '3', '--seed', '5'];
      const ended = await runRigWhereItCan(t, 'crash', ...options);
      if (ended === undefined) return;
      const { code, figures, complaints } = ended;
      t.diagnostic(JSON.stringify(figures));
      assert.equal(figures['lost'], 0, complaints);
      assert.equal(code, 0);
      assert.equal((figures['write'] ?? 0) + (figures['sync'] ?? 0) + (figures['answer'] ?? 0), 3);
    },
  );

  test('a store that loses what it acknowledged is caught', { timeout: 400_000 }, async (t) => {
    await assertCaught(t, 'crash', ['--rounds', '3'], 'lostRevocations', 'lostRotations');
  });
});
