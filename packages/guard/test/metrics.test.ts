import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NOW_SECONDS } from './issuer.ts';
import { openBench } from './harness.ts';

test('a guard counts what it allows, what it refuses by reason, and its events', async () => {
  const { issuer, guard, check, events } = await openBench();
  assert.deepEqual([guard.metrics().allowed, guard.metrics().refused], [0, {}]);
  const good = await issuer.token();
  for (const _ of [1, 2]) assert.ok((await check(good)).allowed);
  await check(good, '/accounts.write');
  await check(`${good}x`);
  await check(await issuer.token({ exp: NOW_SECONDS - 100, iat: NOW_SECONDS - 1_000 }));
  await guard.check({ method: 'GET', url: '/accounts', headers: {} }, '/accounts.read');
  const metrics = guard.metrics();
  assert.equal(metrics.allowed, 2);
  assert.deepEqual(metrics.refused, {
    insufficient_scope: 1,
    token_not_good: 1,
    token_expired: 1,
    missing_credentials: 1,
  });
  assert.equal(metrics.events.feed_connected, events.count('feed_connected'));
  assert.equal(metrics.events.key_set_fetched, 1);
  const lost = events.next('feed_lost');
  issuer.drop();
  await lost;
  assert.equal(guard.metrics().events.feed_lost, 1);
  // The earlier result is a copy and hasn't changed.
  assert.equal(metrics.events.feed_lost, 0);
});

test('metric names come from closed sets: no token, path or client adds one', async () => {
  const { issuer, guard, check } = await openBench();
  await check(await issuer.token());
  await check('a.b.c');
  const before = guard.metrics();
  for (let at = 0; at < 50; at++) {
    await check(await issuer.token({ client_id: `c${at}`, sub: `c${at}` }));
    await check(`${at}.b.c`);
  }
  const after = guard.metrics();
  assert.deepEqual(Object.keys(after.refused), Object.keys(before.refused));
  assert.deepEqual(Object.keys(after.events), Object.keys(before.events));
  assert.equal(after.allowed, before.allowed + 50);
});
