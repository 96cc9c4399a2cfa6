import { randomBytes } from 'node:crypto';

const COMMIT_ID_BYTES = 9;

/**
 * Makes the id of a commit that adds to the feed: 72 random bits. Two histories of a store, such as a restored backup and
 * what went on without it, give out the same positions; they never give out the same ids.
 */
export function newCommitId(): string {
  return randomBytes(COMMIT_ID_BYTES).toString('base64url');
}
