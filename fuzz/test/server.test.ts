import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz } from '../server.ts';

test('random and mutated input makes no parser throw and no answer a 5xx: 30,000 cases, 600 requests', async () => {
  const { findings } = await fuzz({ cases: 30_000, requests: 600, seed: 20_261_123 });
  assert.deepEqual(findings, []);
});
