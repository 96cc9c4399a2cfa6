/** The stalled-commits rig at smoke size: a slow commit leaves no token alive, and a living token is caught. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig } from './run_rig.ts';

suite('tokens are ended while the commit takes seconds', { concurrency: 3 }, () => {
  for (const engine of ['sqlite', 'postgres']) {
    test(
      `${engine}: every token issued before the acknowledgement is refused (contract §10)`,
      { timeout: 300_000 },
      async () => {
        const { code, figures, complaints } = await runRig('stalled_commits', '--engine', engine, '--rounds', '2');
        assert.equal(figures['findings'], 0, complaints);
        assert.equal(code, 0);
        assert.ok((figures['tokens'] ?? 0) > 10 && (figures['longestMs'] ?? 0) >= 2_000);
      },
    );
  }

  test('a revocation dated before its commit is caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'stalled_commits', ['--engine', 'sqlite', '--rounds', '1'], 'findings');
  });
});
