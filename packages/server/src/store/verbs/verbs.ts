/**
 * The operations of the store in portable SQL: no sequences, triggers or advisory locks; compare-and-set updates; our own
 * ids. An engine provides `Sql`, and runs each operation in a transaction, alone or together with others.
 *
 * They are correct under READ COMMITTED, where each statement sees what others have committed by then. A decision that
 * depends on a read is made by the statement that writes, or under the lock of a row that everyone who makes the same
 * decision locks first. A unique key that another transaction wrote first fails the transaction, and the engine retries.
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
