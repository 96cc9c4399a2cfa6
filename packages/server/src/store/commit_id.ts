import { randomBytes } from 'node:crypto';

const COMMIT_ID_BYTES = 9;

/**
 * Makes the id of a commit that adds to the feed: 72 random bits. Two histories of a store, such as a restored backup and
 * the original that went on, use the same positions, but never the same ids.
 */
export function newCommitId(): string {
  return randomBytes(COMMIT_ID_BYTES).toString('base64url');
}

/** Makes the name of a log generation of the embedded engine (`sqlite/generation.ts`): 31 random bits, never 0. */
export function newGenerationName(): number {
  return 1 + ((randomBytes(4).readUInt32BE() >>> 1) % 0x7f_ff_ff_fe);
}
