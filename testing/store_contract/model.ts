/** Random sequences of operations, alternating between two processes, compared with a model made of plain maps. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { StoredRevocation, Store } from '../../packages/server/src/store/store.ts';
import {
  NOW,
  clientRecord,
  eventRecord,
  setStoreTime,
  readFeed,
  revocationBefore,
  revocationRecord,
  rotationRecord,
} from './records.ts';
import type { StoreTest } from './store_test.ts';

/** For a long run, set RUNS=5000. */
const RUNS = Number(process.env['RUNS'] ?? 20);
/** Each run has a period of time for itself, so that all share one store: whatever came before is forgotten. */
const RUN_SECONDS = 100 * 86_400;
const NAMES = ['one', 'two', 'three'] as const;

interface Model {
  readonly start: number;
  readonly versions: Map<string, number>;
  readonly families: Map<string, { readonly generation: number; readonly expiresAt: number }>;
  /** By kind and id, in the order of the feed. */
  revocations: readonly StoredRevocation[];
  /** Until when the placeholder of each moved entry is kept. */
  places: readonly number[];
}

interface Real {
  readonly stores: readonly [Store, Store];
}

type Command = fc.AsyncCommand<Model, Real>;

/** See the top of the file. */
export function testModel(storeTest: StoreTest): void {
  storeTest(`${RUNS} random sequences of operations leave what a plain map would hold`, async ({ open }) => {
    const stores = [await open(), await open()] as const;
    let start = NOW;
    await fc.assert(
      fc.asyncProperty(fc.commands(COMMANDS, { maxCommands: 25 }), async (commands) => {
        start += RUN_SECONDS;
        await empty(stores[0], start);
        const model = { start, versions: new Map(), families: new Map(), revocations: [], places: [] };
        await fc.asyncModelRun(() => ({ model, real: { stores } }), commands);
      }),
      { numRuns: RUNS },
    );
  });
}

async function empty(store: Store, now: number): Promise<void> {
  for (const clientId of NAMES) await store.deleteClient(clientId, { event: eventRecord('deleted', { at: now }) });
  await store.forgetExpired(now, 10_000);
  await setStoreTime(store, now);
}

const name = fc.constantFrom(...NAMES);
/** Seconds after the start of a run. There are few, so that they often coincide. */
const moment = fc.integer({ min: 0, max: 4 });
/** Which of the two processes writes; the other one reads. */
const writer = fc.constantFrom(0, 1);

const COMMANDS: fc.Arbitrary<Command>[] = [
  fc.tuple(writer, name, fc.integer({ min: 1, max: 3 })).map((given) => command('save', given, save)),
  fc.tuple(writer, name).map((given) => command('delete', given, remove)),
  fc.tuple(writer, name, fc.integer({ min: 0, max: 3 }), moment).map((given) => command('rotate', given, rotate)),
  fc
    .tuple(writer, fc.constantFrom('token', 'grant'), name, moment, moment)
    .map((given) => command('revoke', given, revoke)),
  fc
    .tuple(writer, fc.constantFrom(...NAMES, '*'), moment, moment)
    .map((given) => command('revokeBefore', given, revokeBefore)),
  fc.tuple(writer, moment).map((given) => command('forget', given, forget)),
];

/** A command that acts on the model and on the store, and then compares everything readable. */
function command<Given extends readonly [writer: number, ...unknown[]]>(
  verb: string,
  given: Given,
  step: (model: Model, store: Store, given: Given) => Promise<void>,
): Command {
  return {
    check: () => true,
    run: async (model, { stores }) => {
      const [writes, reads] = given[0] === 0 ? stores : stores.toReversed();
      assert(writes !== undefined && reads !== undefined);
      await step(model, writes, given);
      await compare(model, reads);
    },
    toString: () => `${verb}(${given.join(', ')})`,
  };
}

async function save(model: Model, store: Store, [, clientId, version]: [number, string, number]): Promise<void> {
  const expected = (model.versions.get(clientId) ?? 0) === version - 1 ? 'saved' : 'changed_meanwhile';
  const event = eventRecord('saved', { at: model.start * 1000 });
  assert.equal(await store.saveClient(clientRecord({ clientId, version }), { event }), expected);
  if (expected === 'saved') model.versions.set(clientId, version);
}

async function remove(model: Model, store: Store, [, clientId]: [number, string]): Promise<void> {
  const expected = model.versions.delete(clientId) ? 'deleted' : 'unknown';
  const event = eventRecord('deleted', { at: model.start * 1000 });
  assert.equal(await store.deleteClient(clientId, { event }), expected);
}

async function rotate(model: Model, store: Store, given: [number, string, number, number]): Promise<void> {
  const [, grantId, from, after] = given;
  const issuedAt = model.start + after;
  const expiresAt = model.start + 1_000;
  const newest = model.families.get(grantId)?.generation ?? 0;
  const usable = newest === from ? 'rotated' : 'already_used';
  const expected = isRevoked(model, { grantId, clientId: grantId, issuedAt }) ? 'revoked' : usable;
  const rotation = rotationRecord({ grantId, clientId: grantId, from, issuedAt, expiresAt });
  assert.equal(await store.rotate(rotation), expected);
  if (expected === 'rotated') model.families.set(grantId, { generation: from + 1, expiresAt });
}

async function revoke(
  model: Model,
  store: Store,
  [, kind, id, lives, kept]: [number, 'token' | 'grant', string, number, number],
): Promise<void> {
  const expires_at = model.start + lives;
  await keep(model, store, revocationRecord(kind, id, { expires_at, keepUntil: expires_at + kept }));
}

async function revokeBefore(model: Model, store: Store, given: [number, string, number, number]): Promise<void> {
  const [, id, before, lives] = given;
  await keep(model, store, revocationBefore(id, model.start + before, { expires_at: model.start + lives }));
}

async function keep(model: Model, store: Store, revocation: StoredRevocation): Promise<void> {
  await store.revoke([revocation]);
  const known = model.revocations.find(({ kind, id }) => kind === revocation.kind && id === revocation.id);
  if (known !== undefined && (revocation.before ?? 0) <= (known.before ?? 0)) return;
  model.revocations = [...model.revocations.filter((other) => other !== known), revocation];
  if (known !== undefined) model.places = [...model.places, revocation.expires_at];
}

async function forget(model: Model, store: Store, [, after]: [number, number]): Promise<void> {
  const now = model.start + after;
  // No family ends within a run, and a family keeps the revocation of its grant alive.
  const isHeld = ({ kind, id }: StoredRevocation): boolean => kind === 'grant' && model.families.has(id);
  const kept = model.revocations.filter((one) => one.keepUntil >= now || isHeld(one));
  const places = model.places.filter((keepUntil) => keepUntil >= now);
  const forgotten = model.revocations.length - kept.length + model.places.length - places.length;
  assert.equal(await store.forgetExpired(now, 1_000), forgotten);
  model.revocations = kept;
  model.places = places;
}

function isRevoked(
  { revocations }: Model,
  subject: { readonly jti?: string; readonly grantId: string; readonly clientId: string; readonly issuedAt: number },
): boolean {
  return revocations.some(({ kind, id, before = 0 }) => {
    if (kind === 'token') return id === subject.jti;
    if (kind === 'grant') return id === subject.grantId;
    return (kind === 'before' || id === subject.clientId) && subject.issuedAt < before;
  });
}

async function compare(model: Model, store: Store): Promise<void> {
  const clients = await store.listClients({ limit: 10 });
  assert.deepEqual(
    clients.map(({ clientId, version }) => [clientId, version]),
    [...model.versions].toSorted(([one], [other]) => (one < other ? -1 : 1)),
  );
  for (const each of NAMES) {
    assert.equal((await store.findFamily(each))?.generation, model.families.get(each)?.generation);
    for (let issuedAt = model.start; issuedAt <= model.start + 4; issuedAt++) {
      const subject = { jti: each, grantId: each, clientId: each, issuedAt };
      assert.equal(await store.isRevoked(subject), isRevoked(model, subject));
    }
  }
  const now = model.start + 2;
  await setStoreTime(store, now);
  const alive = model.revocations.filter(({ expires_at }) => expires_at > now);
  assert.deepEqual(
    (await readFeed(store, { now, limit: 2 })).ids,
    alive.map(({ id }) => id),
  );
}
