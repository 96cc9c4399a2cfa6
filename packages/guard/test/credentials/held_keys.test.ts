/** When the issuer's keys are asked for and how long they are used, to the millisecond and without a socket. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GuardEvent } from '../../src/guard_event.ts';
import { KeySet } from '../../src/issuer/key_set.ts';
import { Outage } from '../../src/outage.ts';
import { makeKey } from '../issuer.ts';

const FRESH_MS = 300_000;
const USABLE_MS = 3_600_000;
const UNKNOWN_KID_MS = 5_000;
const OUTDATED_MS = 30_000;
const SECOND_LOOK_MS = 10_000;
const RETRY_MS = 1_000;
const [one, two, edwards] = await Promise.all([makeKey('one'), makeKey('two'), makeKey('edwards', 'EdDSA')]);

/** An issuer's answer, which a test may keep back. */
interface Asked {
  readonly answer: (keys: readonly unknown[]) => void;
  readonly fail: () => void;
}

/** A set of keys, and the issuer that it asks. */
class World {
  now = 1_000_000;
  /** What is answered at once; undefined where the test answers by `asked`. */
  published: unknown = { keys: [one.jwk] };
  isAway = false;
  readonly asked: Asked[] = [];
  readonly told: GuardEvent[] = [];
  readonly keySet = new KeySet({
    fetchKeySet: () => this.#answer(),
    algorithms: ['ES256', 'EdDSA'],
    clock: { elapsed: () => this.now },
    report: (event) => void this.told.push(event),
  });

  #answer(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new Outage('The issuer is away.'));
      this.asked.push({ answer: (keys) => resolve({ keys }), fail });
      if (this.isAway) fail();
      else if (this.published !== undefined) resolve(this.published);
    });
  }

  async knows(kid: string, alg = 'ES256'): Promise<boolean> {
    return (await this.keySet.find(kid, alg)) !== undefined;
  }

  /** When so many fetches came to an end, and whatever follows at once from the last. */
  async ended(count: number): Promise<void> {
    while (this.told.length < count) await turn();
    await turn();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A world whose keys were fetched just now, when the version was as it says. */
async function loaded(version?: string): Promise<World> {
  const world = new World();
  if (version !== undefined) world.keySet.setPublishedVersion(version);
  await world.keySet.load();
  assert.equal(world.asked.length, 1);
  return world;
}

test('a key is found by its name and its algorithm, at once too where the keys are fresh (RFC 8725 §3.1)', async () => {
  const world = new World();
  world.published = { keys: [one.jwk, edwards.jwk] };
  assert.equal(world.keySet.findFresh('one', 'ES256'), undefined);
  await world.keySet.load();
  for (const [kid, alg] of [
    ['one', 'ES256'],
    ['edwards', 'EdDSA'],
  ] as const) {
    const key = await world.keySet.find(kid, alg);
    assert.ok(key !== undefined && key.type === 'public');
    assert.equal(world.keySet.findFresh(kid, alg), key);
  }
  for (const [kid, alg] of [
    ['one', 'EdDSA'],
    ['edwards', 'ES256'],
    ['one', undefined],
    ['two', 'ES256'],
    ['two', undefined],
  ] as const) {
    assert.equal(await world.keySet.find(kid, alg), undefined);
    assert.equal(world.keySet.findFresh(kid, alg), undefined);
  }
  assert.deepEqual(world.told, [{ kind: 'key_set_fetched', keys: 2 }]);
});

test('however many ask at once, one request is made, and all wait for it', async () => {
  const world = new World();
  world.published = undefined;
  const found = [world.knows('one'), world.knows('one'), world.knows('two')];
  const load = world.keySet.load();
  assert.equal(world.asked.length, 1);
  world.asked[0]?.answer([one.jwk]);
  await load;
  assert.notEqual(world.keySet.findFresh('one', 'ES256'), undefined);
  assert.deepEqual(await Promise.all(found), [true, true, false]);
  assert.equal(world.asked.length, 1);
});

test('keys are fresh for 300 s from when they were asked for, and are then fetched while the old ones serve', async () => {
  const world = new World();
  world.published = undefined;
  const load = world.keySet.load();
  world.now += 100_000;
  world.asked[0]?.answer([one.jwk]);
  await load;
  world.now += FRESH_MS - 100_000;
  assert.notEqual(world.keySet.findFresh('one', 'ES256'), undefined);
  assert.ok(await world.knows('one'));
  await world.keySet.load();
  assert.equal(world.asked.length, 1);
  world.now += 1;
  assert.equal(world.keySet.findFresh('one', 'ES256'), undefined);
  // Nobody waits: the second request is not answered yet.
  assert.ok(await world.knows('one'));
  assert.equal(world.asked.length, 2);
  world.asked[1]?.answer([two.jwk]);
  await world.ended(2);
  assert.ok(!(await world.knows('one')));
  assert.ok(await world.knows('two'));
});

test('while the issuer is away keys are used for an hour and not a moment longer; then it is an outage', async () => {
  const world = await loaded();
  world.isAway = true;
  world.now += USABLE_MS;
  assert.ok(await world.knows('one'));
  await world.ended(2);
  assert.deepEqual(world.told[1], { kind: 'key_set_failed', because: 'The issuer is away.' });
  world.now += 1;
  const outage = { name: 'Outage', message: 'The key set could not be fetched.' };
  await assert.rejects(world.keySet.find('one', 'ES256'), outage);
  await assert.rejects(world.keySet.load(), outage);
  world.isAway = false;
  world.now += RETRY_MS;
  assert.ok(await world.knows('one'));
});

test('an issuer that is away is asked once a second; a clock that was set back does not keep us from asking', async () => {
  const world = new World();
  world.isAway = true;
  await assert.rejects(world.keySet.load(), Outage);
  world.now += RETRY_MS - 1;
  await assert.rejects(world.keySet.load(), Outage);
  assert.equal(world.asked.length, 1);
  world.now += 1;
  await assert.rejects(world.keySet.load(), Outage);
  assert.equal(world.asked.length, 2);
  world.now -= 60_000;
  world.isAway = false;
  await world.keySet.load();
  assert.equal(world.asked.length, 3);
});

test('an unknown name has the issuer asked once in 5 s, a known one never', async () => {
  const world = await loaded();
  world.now += UNKNOWN_KID_MS - 1;
  assert.ok(!(await world.knows('two')));
  world.now += 1;
  assert.ok(await world.knows('one'));
  assert.equal(world.asked.length, 1);
  world.published = { keys: [one.jwk, two.jwk] };
  assert.ok(await world.knows('two'));
  assert.ok(await world.knows('one'));
  assert.equal(world.asked.length, 2);
  world.now += UNKNOWN_KID_MS;
  assert.ok(await world.knows('two'));
  assert.ok(!(await world.knows('three')));
  assert.equal(world.asked.length, 3);
});

test('whether an unknown name is no key cannot be told while the issuer is away, and can be once it answered', async () => {
  const world = await loaded();
  world.isAway = true;
  world.now += UNKNOWN_KID_MS;
  const outage = {
    name: 'Outage',
    message: 'The key set could not be fetched, and the key of the token is not held.',
  };
  await assert.rejects(world.keySet.find('two', 'ES256'), outage);
  await assert.rejects(world.keySet.find('two', 'ES256'), outage);
  assert.ok(await world.knows('one'));
  world.isAway = false;
  world.now += UNKNOWN_KID_MS;
  assert.ok(!(await world.knows('two')));
});

test('a version that is news has the keys fetched at once, and nothing more when it is said again', async () => {
  const world = await loaded('v1');
  world.keySet.setPublishedVersion('v1');
  assert.equal(world.asked.length, 1);
  world.published = { keys: [two.jwk] };
  world.keySet.setPublishedVersion('v2');
  assert.equal(world.asked.length, 2);
  // Not fresh before they are there, however young.
  assert.equal(world.keySet.findFresh('one', 'ES256'), undefined);
  await world.ended(2);
  assert.notEqual(world.keySet.findFresh('two', 'ES256'), undefined);
  assert.ok(!(await world.knows('one')));
  world.now += SECOND_LOOK_MS - 1;
  world.keySet.setPublishedVersion('v2');
  assert.equal(world.asked.length, 2);
});

test('the first version that is heard is news to keys that were fetched before it, and what is fetched after it is of it', async () => {
  const world = await loaded();
  world.keySet.setPublishedVersion('v1');
  assert.equal(world.asked.length, 2);
  await world.ended(2);
  assert.notEqual(world.keySet.findFresh('one', 'ES256'), undefined);
});

test('ten seconds after a change the keys are fetched once more, unless they were fetched since', async () => {
  const world = await loaded('v1');
  const changedAt = world.now + 2_000;
  world.now = changedAt;
  world.keySet.setPublishedVersion('v2');
  await world.ended(2);
  world.now = changedAt + SECOND_LOOK_MS - 1;
  world.keySet.setPublishedVersion('v2');
  assert.equal(world.asked.length, 2);
  world.now += 1;
  world.keySet.setPublishedVersion('v2');
  assert.equal(world.asked.length, 3);
  await world.ended(3);
  for (const later of [0, RETRY_MS, SECOND_LOOK_MS, 2 * SECOND_LOOK_MS]) {
    world.now = changedAt + SECOND_LOOK_MS + later;
    world.keySet.setPublishedVersion('v2');
  }
  assert.equal(world.asked.length, 3);
  // What is fetched for another reason, a moment too soon, does not stand for it.
  world.now = changedAt + 3 * SECOND_LOOK_MS;
  world.keySet.setPublishedVersion('v3');
  await world.ended(4);
  world.now += SECOND_LOOK_MS - 1;
  assert.ok(!(await world.knows('two')));
  assert.equal(world.asked.length, 5);
  world.now += RETRY_MS;
  world.keySet.setPublishedVersion('v3');
  assert.equal(world.asked.length, 6);
});

test('a change while keys are fetched has them fetched again, at once; the same version said again does not', async () => {
  const world = await loaded('v1');
  world.published = undefined;
  world.keySet.setPublishedVersion('v2');
  world.now += RETRY_MS;
  world.keySet.setPublishedVersion('v2');
  assert.equal(world.asked.length, 2);
  world.asked[1]?.answer([one.jwk]);
  await world.ended(2);
  assert.equal(world.asked.length, 2);

  world.keySet.setPublishedVersion('v3');
  world.keySet.setPublishedVersion('v4');
  assert.equal(world.asked.length, 3);
  world.asked[2]?.answer([one.jwk]);
  await world.ended(3);
  assert.equal(world.asked.length, 4);
  assert.equal(world.keySet.findFresh('one', 'ES256'), undefined);
  world.asked[3]?.answer([two.jwk]);
  await world.ended(4);
  assert.notEqual(world.keySet.findFresh('two', 'ES256'), undefined);
  assert.equal(world.asked.length, 4);
});

test('a change that is heard before any keys are there, while the fetch of them fails, has them fetched at once', async () => {
  const world = new World();
  world.published = undefined;
  const load = world.keySet.load();
  world.keySet.setPublishedVersion('v1');
  world.asked[0]?.fail();
  await assert.rejects(load, Outage);
  await turn();
  assert.equal(world.asked.length, 2);
  world.asked[1]?.answer([one.jwk]);
  await world.ended(2);
  assert.ok(await world.knows('one'));
});

test('others were published and cannot be fetched: the held ones are used for 30 s from the change, and tried for once a second', async () => {
  const world = await loaded('v1');
  world.now += 60_000;
  const changedAt = world.now;
  world.isAway = true;
  world.keySet.setPublishedVersion('v2');
  await world.ended(2);
  world.now += RETRY_MS - 1;
  world.keySet.setPublishedVersion('v2');
  assert.equal(world.asked.length, 2);
  world.now += 1;
  world.keySet.setPublishedVersion('v2');
  assert.equal(world.asked.length, 3);
  await world.ended(3);
  world.now = changedAt + OUTDATED_MS;
  assert.ok(await world.knows('one'));
  await world.ended(4);
  world.now += 1;
  await assert.rejects(world.keySet.find('one', 'ES256'), Outage);
  world.isAway = false;
  world.now += RETRY_MS;
  assert.ok(await world.knows('one'));
});

test('a key that is published unchanged stays the very same, and another under its name does not', async () => {
  const world = await loaded('v1');
  const key = await world.keySet.find('one', 'ES256');
  world.published = { keys: [two.jwk, one.jwk] };
  world.keySet.setPublishedVersion('v2');
  await world.ended(2);
  assert.equal(await world.keySet.find('one', 'ES256'), key);
  world.published = { keys: [{ ...two.jwk, kid: 'one' }] };
  world.keySet.setPublishedVersion('v3');
  await world.ended(3);
  assert.notEqual(world.keySet.findFresh('one', 'ES256'), undefined);
  assert.notEqual(await world.keySet.find('one', 'ES256'), key);
});
