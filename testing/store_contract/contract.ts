/**
 * The conformance suite of the store port. An engine runs it with one call, and proves with it that it keeps the guarantees
 * in the docstrings of `store.ts`. Two stores opened on the same place stand for two processes.
 */
import { suite, test, type TestContext } from 'node:test';
import type { Store } from '../../packages/server/src/store/store.ts';
import { testMaintenance } from './maintenance.ts';
import { testClients } from './clients.ts';
import { testFeed } from './feed.ts';
import { testFollowers } from './followers.ts';
import { testGrants } from './grants.ts';
import { testModel } from './model.ts';
import { testPredecessors } from './predecessors.ts';
import { testRevocations } from './revocations.ts';
import type { Stores, StoreTest } from './store_test.ts';

/** Makes an empty place for a store that is removed with the test. Each call of the result opens that place again. */
export type OpenStore = (t: TestContext) => () => Promise<Store>;

/** Far more than any of these tests takes. It ends a test that waits for something that never happens. */
const TIMEOUT_MS = 120_000;

/** Adds the whole suite for one engine. */
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
    suite('presented predecessors', () => testPredecessors(storeTest));
    suite('revocations', () => testRevocations(storeTest));
    suite('the feed', () => testFeed(storeTest));
    suite('followers of the feed', () => testFollowers(storeTest));
    suite('events, issuer keys, single use and maintenance', () => testMaintenance(storeTest));
    suite('random sequences of operations', () => testModel(storeTest));
  });
}
