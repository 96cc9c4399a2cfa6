/**
 * The conformance suite of the store port. An engine runs it with one line; it is the proof that the engine keeps the
 * guarantees in the comments of `store.ts`. Two stores opened on one place stand for two processes.
 */
import { suite, test, type TestContext } from 'node:test';
import type { Store } from '../../packages/server/src/store/store.ts';
import { testCare } from './care.ts';
import { testClients } from './clients.ts';
import { testFeed } from './feed.ts';
import { testFollowers } from './followers.ts';
import { testGrants } from './grants.ts';
import { testModel } from './model.ts';
import { testPredecessors } from './predecessors.ts';
import { testRevocations } from './revocations.ts';

/** A fresh, empty place for a store, gone with the test; each call of what it returns opens that place once more. */
export type OpenStore = (t: TestContext) => () => Promise<Store>;

/** What a test of the contract works with. */
interface Stores {
  readonly open: () => Promise<Store>;
  readonly close: (store: Store) => Promise<void>;
}

/** Far more than any of these tests takes; one that waits for what never comes ends here. */
const TIMEOUT_MS = 120_000;

/** Adds a test on a fresh store. */
export type StoreTest = (behaviour: string, body: (stores: Stores, t: TestContext) => Promise<void>) => void;

export function testStoreContract(name: string, { open }: { readonly open: OpenStore }): void {
  const storeTest: StoreTest = (behaviour, body) => {
    test(behaviour, { timeout: TIMEOUT_MS }, async (t) => {
      const openOnce = open(t);
      const opened = new Set<Store>();
      const stores: Stores = {
        open: async () => {
          const store = await openOnce();
          opened.add(store);
          return store;
        },
        close: async (store) => {
          opened.delete(store);
          await store.close();
        },
      };
      try {
        await body(stores, t);
      } finally {
        await Promise.all([...opened].map((store) => store.close()));
      }
    });
  };
  suite(`the store contract, kept by ${name}`, () => {
    suite('API keys', () => testClients(storeTest));
    suite('grants', () => testGrants(storeTest));
    suite('predecessors that were shown', () => testPredecessors(storeTest));
    suite('revocations', () => testRevocations(storeTest));
    suite('the feed', () => testFeed(storeTest));
    suite('who follows the feed', () => testFollowers(storeTest));
    suite('events, our own keys, care', () => testCare(storeTest));
    suite('any sequence of verbs', () => testModel(storeTest));
  });
}
