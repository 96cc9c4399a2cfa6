/** How a store fails, as exceptions. Each message is a sentence for the operator; none contains a secret. */

/** The store cannot answer now. The HTTP layer turns this into a 503. */
export class StoreUnavailable extends Error {
  override readonly name: string = 'StoreUnavailable';
}

/** The store cannot answer until an operator has done what the message says. Retrying before that is useless. */
export class StoreBroken extends StoreUnavailable {}

/** The store cannot be opened or used at all. The message says why and what to do. */
export class StoreUnusable extends Error {
  override readonly name: string = 'StoreUnusable';
}

/** There is no store in this place, and the caller did not ask for a new one. */
export class StoreMissing extends StoreUnusable {
  override readonly name = 'StoreMissing';
}

/** What to do about a damaged store. Nothing repairs one; a backup takes its place. */
export const RESTORE =
  'Stop Hallpass, keep the damaged store aside, and restore the newest backup into a new data folder, or an empty database (hallpass store restore).';
