import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Budgets, countAlone, Failures, type Count } from '../../src/oauth/limits/counts.ts';
import { openLimits } from '../../src/oauth/limits/limits.ts';
import { StoreUnavailable } from '../../src/store/store.ts';
import { START, TestClock } from '../../../../testing/server/server.ts';

/** How many of so many requests at once are let through, spread over processes that share a counter. */
async function letThrough(processes: readonly Budgets[], requests: number, budget: number): Promise<number> {
  const taking = Array.from({ length: requests }, async (_, at) => {
    const process = processes[at % processes.length];
    return (await process?.take('key', { budget, now: START })) === true ? 1 : 0;
  });
  return (await Promise.all(taking)).reduce<number>((sum, one) => sum + one, 0);
}

test('processes together never give out more than a budget, and one alone gives out all of it (ADR 12)', async () => {
  const size = fc.integer({ min: 1, max: 300 });
  await fc.assert(
    fc.asyncProperty(size, size, fc.integer({ min: 1, max: 5 }), async (budget, requests, number) => {
      const count = countAlone();
      const processes = Array.from({ length: number }, () => new Budgets(count));
      const good = await letThrough(processes, requests, budget);
      const share = Math.ceil(budget / 10);
      assert.ok(good <= Math.min(budget, requests));
      // What the others have taken and not given out is lost, a share each at most.
      assert.ok(good >= Math.min(budget - share * (number - 1), requests), `${good} of ${budget} for ${requests}`);
    }),
  );
});

test('the counter is asked once per share, not once per request', async () => {
  let asked = 0;
  const alone = countAlone();
  const budgets = new Budgets((counter) => {
    asked += 1;
    return alone(counter);
  });
  assert.equal(await letThrough([budgets], 5_000, 1_000), 1_000);
  assert.ok(asked <= 11, `${asked} times`);
});

test('a budget is back in the next second, and no earlier', async () => {
  const budgets = new Budgets(countAlone());
  const take = (now: number): Promise<boolean> => budgets.take('key', { budget: 1, now });
  const second = Math.ceil(START / 1000) * 1000;
  assert.deepEqual([await take(second), await take(second + 999), await take(second + 1000)], [true, false, true]);
  assert.equal(await budgets.take('another', { budget: 1, now: second + 1000 }), true);
});

test('a process learns the failures of all processes when it sees one itself', async () => {
  const count = countAlone();
  const [a, b] = [new Failures(count, 60), new Failures(count, 60)];
  const start = Math.ceil(START / 60_000) * 60_000;
  for (let time = 0; time < 4; time++) await a.add('place', start);
  assert.deepEqual([a.known('place', start), b.known('place', start)], [4, 0]);
  await b.add('place', start);
  assert.deepEqual([b.known('place', start), b.known('elsewhere', start)], [5, 0]);
  assert.deepEqual([a.left(start), a.left(start + 59_999)], [60_000, 1]);
  assert.equal(b.known('place', start + 60_000), 0);
});

test('while the store is away, each process counts on its own', async () => {
  const away: Count = () => Promise.reject(new StoreUnavailable('away for this test'));
  assert.equal(await letThrough([new Budgets(away)], 50, 20), 20);
  const limits = openLimits(
    { keyRequestsPerSecond: 0, addressFailuresPerMinute: 2 },
    { salt: () => new Uint8Array(32), clock: new TestClock(), count: away },
  );
  const attempt = { source: { address: '203.0.113.7' }, clientId: undefined };
  for (let time = 0; time < 2; time++) assert.equal(await limits.countFailure(attempt), undefined);
  assert.equal((await limits.countFailure(attempt))?.refused, 'rate_limited');
});

test('a bug in counting is not treated as an outage', async () => {
  const broken: Count = () => Promise.reject(new TypeError('a bug'));
  await assert.rejects(new Budgets(broken).take('key', { budget: 1, now: START }), TypeError);
});
