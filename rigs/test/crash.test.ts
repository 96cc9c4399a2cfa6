/** The kill -9 rig at smoke size: it finds nothing lost, and catches a store that loses what it acknowledged. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig, runRigWhereItCan } from './run_rig.ts';

suite('a server that is killed under load', { skip: process.platform === 'win32', concurrency: 2 }, () => {
  test('nothing that was acknowledged is lost (contract §3, §4)', { timeout: 400_000 }, async (t) => {
    const { code, figures, complaints } = await runRig('crash', '--rounds', '4');
    t.diagnostic(JSON.stringify(figures));
    assert.equal(figures['lost'], 0, complaints);
    assert.equal(code, 0);
    // Without load the rig would find nothing either.
    assert.ok((figures['acknowledgedRevocations'] ?? 0) > 4);
    assert.ok((figures['acknowledgedRotations'] ?? 0) > 8);
  });

  test('nor when it is killed while it writes, syncs or answers', { timeout: 400_000 }, async (t) => {
    const ended = await runRigWhereItCan(t, 'crash', '--point', 'each', '--rounds', '3', '--seed', '5');
    if (ended === undefined) return;
    const { code, figures, complaints } = ended;
    t.diagnostic(JSON.stringify(figures));
    assert.equal(figures['lost'], 0, complaints);
    assert.equal(code, 0);
    const kills = ['write', 'sync', 'answer', 'starting'].map((point) => figures[point] ?? 0);
    assert.ok(kills.some((count) => count > 0));
  });

  test('a store that loses what it acknowledged is caught', { timeout: 400_000 }, async (t) => {
    await assertCaught(t, 'crash', ['--rounds', '1'], 'lostRevocations', 'lostRotations');
  });
});
