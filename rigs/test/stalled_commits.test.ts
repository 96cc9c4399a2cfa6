/** The rig of stalled commits: that a slow commit leaves no token alive, and that the rig would find one. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertCaught, runRig } from './run_rig.ts';

suite('tokens are ended while the commit takes seconds', () => {
  for (const engine of ['sqlite', 'postgres']) {
    test(
      `${engine}: every token that was issued before the acknowledgement is refused (contract §10)`,
      { timeout: 300_000 },
      async () => {
        const { code, figures, complaints } = await runRig('stalled_commits', '--engine', engine, '--rounds', '4');
        assert.equal(figures['findings'], 0, complaints);
        assert.equal(code, 0);
        assert.ok((figures['tokens'] ?? 0) > 20 && (figures['longestMs'] ?? 0) >= 3_000);
      },
    );
  }

  test('a date that knows nothing of the commit is caught', { timeout: 300_000 }, async (t) => {
    await assertCaught(t, 'stalled_commits', ['--engine', 'sqlite', '--rounds', '1'], 'findings');
  });
});
