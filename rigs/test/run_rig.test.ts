/** The search for a planted defect itself: it goes on until it is found, and not for ever. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PLANTED_RUNS_MAX, runUntilCaught, type RigEnded } from './run_rig.ts';

/** Runs with these figures, one after another; the last is repeated. */
function runsWith(...all: readonly (RigEnded['figures'] | undefined)[]) {
  let runs = 0;
  return {
    count: () => runs,
    make: async (run: number): Promise<RigEnded | undefined> => {
      assert.equal(run, ++runs, 'each run has a number of its own');
      const figures = all[Math.min(runs, all.length) - 1];
      if (figures === undefined) return undefined;
      return { code: Object.values(figures).some((count) => count > 0) ? 1 : 0, figures, complaints: '' };
    },
  };
}

test('a defect that chance spares at first is looked for again, until it is caught', async () => {
  const runs = runsWith({ lost: 0 }, { lost: 0 }, { lost: 2 });
  await runUntilCaught(runs.make, ['lost']);
  assert.equal(runs.count(), 3);
});

test('what one run has found, another need not find again', async () => {
  const runs = runsWith({ revocations: 1, rotations: 0 }, { revocations: 0, rotations: 1 });
  await runUntilCaught(runs.make, ['revocations', 'rotations']);
  assert.equal(runs.count(), 2);
});

test('a rig that never sees it fails, after as many runs as there may be', async () => {
  const runs = runsWith({ revocations: 1, rotations: 0 });
  await assert.rejects(runUntilCaught(runs.make, ['revocations', 'rotations']), /was not seen in: rotations$/);
  assert.equal(runs.count(), PLANTED_RUNS_MAX);
});

test('a rig that sees something and says that all is well fails at once', async () => {
  const lying = async (): Promise<RigEnded> => ({ code: 0, figures: { lost: 1 }, complaints: '' });
  await assert.rejects(runUntilCaught(lying, ['lost']));
});

test('a rig that cannot run here is not repeated', async () => {
  const runs = runsWith(undefined);
  await runUntilCaught(runs.make, ['lost']);
  assert.equal(runs.count(), 1);
});
