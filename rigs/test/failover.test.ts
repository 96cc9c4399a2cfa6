/** Three instances on one PostgreSQL: the rigs of failures and of races, and that each would find what it looks for. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig } from './run_rig.ts';

suite('three instances on one database', { skip: process.platform === 'win32' }, () => {
  test(
    'its database killed, restarted, failed over and cut off under load: nothing acknowledged is lost',
    { timeout: 400_000 },
    async () => {
      const { code, figures, complaints } = await runRig('failover', '--rounds', '6');
      assert.equal(figures['findings'], 0, complaints);
      assert.equal(code, 0);
      assert.equal(figures['failover'], 1);
      assert.ok((figures['acknowledgedRotations'] ?? 0) > 0);
      assert.ok((figures['acknowledgedRevocations'] ?? 0) > 0);
    },
  );

  test('a failover to a standby that is behind is caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'failover', ['--rounds', '1', '--fault', 'failover'], 'lost');
  });

  test('races for one refresh token have one winner and one answer (contract §3)', { timeout: 300_000 }, async () => {
    const { code, figures, complaints } = await runRig('races', '--rounds', '80', '--engine', 'postgres');
    assert.equal(figures['violations'], 0, complaints);
    assert.equal(code, 0);
  });

  test('a store that lets one token be rotated twice is caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'races', ['--rounds', '60', '--engine', 'postgres'], 'violations');
  });
});
