/** What each part of the contract is given. It is apart so that no part imports the suite that runs it. */
import type { TestContext } from 'node:test';
import type { Store } from '../../packages/server/src/store/store.ts';

/** What a test of the contract uses. */
export interface Stores {
  readonly open: () => Promise<Store>;
  readonly close: (store: Store) => Promise<void>;
}

/** Adds a test on a fresh store. */
export type StoreTest = (behaviour: string, body: (stores: Stores, t: TestContext) => Promise<void>) => void;
