/** The clocks rig at smoke size: it finds nothing within the skew that the contract allows, and catches a larger skew. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig } from './run_rig.ts';

suite('instances whose clocks differ, and are set', { concurrency: 2 }, () => {
  for (const [fault, engine] of [
    ['skew', 'postgres'],
    ['step', 'sqlite'],
    ['start', 'postgres'],
  ] as const) {
    test(
      `${fault} on ${engine}: what was revoked stays dead, and living sessions go on (contract, Many instances)`,
      { timeout: 300_000 },
      async () => {
        const options = ['--engine', engine, '--fault', fault, '--rounds', '1', '--seed', '1'];
        const { code, figures, complaints } = await runRig('clocks', ...options);
        assert.equal(figures['findings'], 0, complaints);
        assert.equal(code, 0);
        assert.ok((figures['checks'] ?? 0) > 20);
      },
    );
  }

  test('clocks further apart than that are caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'clocks', ['--engine', 'sqlite', '--fault', 'skew', '--rounds', '1'], 'findings');
  });
});
