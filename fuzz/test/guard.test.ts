import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFECTS } from '../guard_defects.ts';
import { fuzzGuard, INVARIANTS } from '../guard.ts';

const SMOKE = { cases: 20_000, seed: 20_261_123 };

test('what the guard reads of 20,000 random and mutated paths and scopes is what the contract says of them', () => {
  const { findings, ...counts } = fuzzGuard(SMOKE);
  assert.deepEqual(findings, []);
  assert.equal(counts.cases, SMOKE.cases);
  // Enough of each was good, or nothing was shown.
  for (const [what, count] of Object.entries(counts)) assert.ok(count > 300, `${count} ${what}`);
});

const finders = new Set<string>();

for (const name of Object.keys(DEFECTS)) {
  test(`a guard with a planted defect is found out: ${name}`, () => {
    const { findings } = fuzzGuard({ ...SMOKE, defect: name });
    assert.notDeepEqual(findings, []);
    for (const finding of findings) finders.add(finding.slice(0, finding.indexOf(' (')));
  });
}

test('each invariant found a defect: none is there for show', () => {
  assert.deepEqual(
    INVARIANTS.filter((invariant) => !finders.has(invariant)),
    [],
  );
});
