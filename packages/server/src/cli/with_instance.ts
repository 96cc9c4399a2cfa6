import type { Instance } from '../serving/instance.ts';

/** Runs something on the configured store, which must exist, names the store on standard error, and closes it. */
export type WithInstance = <Result>(work: (instance: Instance) => Promise<Result>) => Promise<Result>;
