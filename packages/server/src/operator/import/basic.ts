/** How clients can send imported credentials over Basic (RFC 6749 §2.3.1, RFC 7617), as far as a file shows it (ADR 39). */
import { isReadInTwoWays } from '@hallpass/protocol';
import type { ImportedKey } from './rows.ts';

/**
 * `same`: they read the same form-encoded and raw. `both`: the two differ, and either is accepted. `unknown`: either is
 * accepted, and a hash does not show whether they differ. `encoded`: form-encoded only, since Basic would split the id at
 * its colon. `none`: the key signs.
 */
export type BasicReading = 'same' | 'both' | 'unknown' | 'encoded' | 'none';

/** How the credentials of a row can be sent over Basic. */
export function basicReadingOf({ imported }: ImportedKey): BasicReading {
  const { clientId, clientSecret, clientSecretHash } = imported;
  if (clientSecret === undefined && clientSecretHash === undefined) return 'none';
  if (clientId.includes(':')) return 'encoded';
  if (isReadInTwoWays({ clientId, clientSecret: clientSecret ?? '' })) return 'both';
  return clientSecret === undefined ? 'unknown' : 'same';
}
