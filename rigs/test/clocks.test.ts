/** The rig of clocks: that it finds nothing on clocks as the contract allows them, and that it would find it. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig } from './run_rig.ts';

suite('instances whose clocks are apart, and are stepped', () => {
  for (const [fault, engine] of [
    ['skew', 'postgres'],
    ['step', 'sqlite'],
    ['start', 'sqlite'],
    ['start', 'postgres'],
  ] as const) {
    test(
      `${fault}: what was revoked is dead and what is alive goes on (contract, Many instances)`,
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

  test('clocks that are further apart than that are caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'clocks', ['--engine', 'sqlite', '--fault', 'skew', '--rounds', '1'], 'findings');
  });
});
