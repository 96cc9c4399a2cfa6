/** Three instances on one PostgreSQL: the failover and races rigs at smoke size, and that each catches its planted defect. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig } from './run_rig.ts';

suite('three instances on one database', { skip: process.platform === 'win32', concurrency: 2 }, () => {
  test(
    'its database is killed and failed over, and an instance is killed, under load: nothing acknowledged is lost',
    { timeout: 400_000 },
    async () => {
      // The first three faults of the rig.
      const { code, figures, complaints } = await runRig('failover', '--rounds', '3');
      assert.equal(figures['findings'], 0, complaints);
      assert.equal(code, 0);
      for (const fault of ['failover', 'database-killed', 'instance-killed']) assert.equal(figures[fault], 1, fault);
      assert.ok((figures['acknowledgedRotations'] ?? 0) > 0);
      assert.ok((figures['acknowledgedRevocations'] ?? 0) > 0);
    },
  );

  test('a failover to a standby that lags behind is caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'failover', ['--rounds', '1', '--fault', 'failover'], 'lost');
  });

  test('races for one refresh token have one winner and one answer (contract §3)', { timeout: 300_000 }, async () => {
    const { code, figures, complaints } = await runRig('races', '--rounds', '80', '--engine', 'postgres');
    assert.equal(figures['violations'], 0, complaints);
    assert.equal(code, 0);
  });

  test('a store that lets one token be rotated twice is caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'races', ['--rounds', '8', '--engine', 'sqlite'], 'violations');
  });
});
