/**
 * The verbs of the store in portable SQL: no sequences, triggers or advisory locks; compare-and-set updates; ids made
 * by us. An engine brings `Sql` and a way to run a verb in a transaction of its own or in one with others.
 *
 * They hold under READ COMMITTED, where each statement sees what others have committed by then. What a verb decides
 * from something that it has read is decided by the statement that writes, or after it has taken the lock of a row that
 * all who decide the same take first. A unique row that another was first with fails the transaction, and the engine
 * tries the verb again.
 */
export * from './clients.ts';
export * from './feed.ts';
export * from './followers.ts';
export * from './grants.ts';
export * from './keys.ts';
export * from './probe.ts';
export * from './revocations.ts';
export * from './suspicions.ts';
export * from './time.ts';
