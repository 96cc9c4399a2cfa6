/** Which of the keys that an issuer publishes are used, and which sets are none (RFC 7517, RFC 8725 §3.1). */
import { exportJWK, type JWK } from 'jose';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GuardEvent } from '../../src/guard_event.ts';
import { KeySet } from '../../src/issuer/key_set.ts';
import { Outage } from '../../src/outage.ts';
import { makeKey, TestClock } from '../issuer.ts';

/** When keys that are held are fetched again at the next use, in seconds. */
const AGED_SECONDS = 301;
const MALFORMED = 'The key set is malformed or has no key that can be used.';
const [one, two, edwards, rsa] = await Promise.all([
  makeKey('one'),
  makeKey('two'),
  makeKey('edwards', 'EdDSA'),
  makeKey('one', 'RS256'),
]);

/** A set of keys, and what its issuer publishes. */
class World {
  readonly clock = new TestClock();
  readonly told: GuardEvent[] = [];
  readonly keySet = new KeySet({
    fetchKeySet: () => Promise.resolve(this.published),
    algorithms: ['ES256', 'EdDSA', 'RS256'],
    clock: this.clock,
    report: (event) => void this.told.push(event),
  });
  published: unknown;

  constructor(published: unknown) {
    this.published = published;
  }

  async knows(kid: string, alg = 'ES256'): Promise<boolean> {
    return (await this.keySet.find(kid, alg)) !== undefined;
  }

  /** Has the keys fetched once more, and waits for how that ends. */
  async fetchAgain(): Promise<GuardEvent | undefined> {
    const count = this.told.length;
    this.clock.advance(AGED_SECONDS);
    await this.keySet.load();
    while (this.told.length === count) await new Promise((resolve) => setImmediate(resolve));
    return this.told.at(-1);
  }
}

test('a key without a name, an algorithm or a purpose of its own is none, nor is a secret one (RFC 8725 §3.1)', async () => {
  const { use: _use, ...purposeless } = one.jwk;
  const { x: _x, ...pointless } = one.jwk;
  const privateKey = { ...(await exportJWK(one.privateKey)), kid: 'one', alg: 'ES256' };
  const good: readonly JWK[] = [one.jwk, purposeless, { ...one.jwk, key_ops: ['verify'] }, rsa.jwk];
  const bad: readonly unknown[] = [
    { ...one.jwk, kid: 7 },
    { ...one.jwk, kid: undefined },
    { ...one.jwk, alg: undefined },
    { ...one.jwk, alg: ['ES256'] },
    { ...one.jwk, alg: 'ES384' },
    // A key that the runtime could read, for an algorithm that is not accepted.
    { ...rsa.jwk, alg: 'RS512' },
    { ...one.jwk, kty: undefined },
    { ...one.jwk, kty: 'ec' },
    { ...one.jwk, use: 'enc' },
    { ...one.jwk, use: '' },
    privateKey,
    { ...one.jwk, k: 'AAAA' },
    { kty: 'oct', kid: 'one', alg: 'ES256', k: 'AAAA' },
    { kty: 'oct', kid: 'one', alg: 'ES256' },
    // No point of its curve, and a key without one: the runtime reads neither.
    { ...one.jwk, y: one.jwk.x },
    pointless,
    null,
    7,
    'one',
    [],
    [one.jwk],
  ];
  for (const [keys, count] of [...good.map((key) => [[key], 1] as const), ...bad.map((key) => [[key], 0] as const)]) {
    const hint = JSON.stringify(keys);
    const beside = new World({ keys: [...keys, two.jwk] });
    assert.ok(await beside.knows('two'), hint);
    assert.equal(await beside.knows('one', keys[0] === rsa.jwk ? 'RS256' : 'ES256'), count === 1, hint);
    assert.deepEqual(beside.told, [{ kind: 'key_set_fetched', keys: count + 1 }], hint);
  }
});

test('of two keys with one name neither is used, and a set is a failure when it is none or has no key to use', async () => {
  const world = new World({ keys: [one.jwk, { ...two.jwk, kid: 'one' }, edwards.jwk] });
  assert.ok(!(await world.knows('one')));
  assert.ok(await world.knows('edwards', 'EdDSA'));
  assert.deepEqual(world.told, [{ kind: 'key_set_fetched', keys: 1 }]);
  for (const published of [
    null,
    7,
    'keys',
    [],
    [one.jwk],
    {},
    { keys: null },
    { keys: {} },
    { keys: { length: 1, 0: one.jwk } },
    { keys: [] },
    { keys: [{ ...one.jwk, use: 'enc' }] },
    // An issuer whose keys this runtime cannot use has good tokens all the same: 401 would be a lie.
    { keys: [{ ...one.jwk, y: one.jwk.x }] },
    { keys: [one.jwk, { ...two.jwk, kid: 'one' }] },
  ]) {
    const failing = new World(published);
    await assert.rejects(failing.keySet.load(), Outage, JSON.stringify(published));
    assert.deepEqual(failing.told, [{ kind: 'key_set_failed', because: MALFORMED }], JSON.stringify(published));
    // What is held stays.
    world.published = published;
    assert.equal((await world.fetchAgain())?.kind, 'key_set_failed');
    assert.ok(await world.knows('edwards', 'EdDSA'));
    world.published = { keys: [edwards.jwk] };
    assert.equal((await world.fetchAgain())?.kind, 'key_set_fetched');
  }
});
