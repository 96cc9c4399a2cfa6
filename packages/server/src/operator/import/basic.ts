/** How clients can send imported credentials over Basic (RFC 6749 §2.3.1, RFC 7617), as far as a file tells it (ADR 39). */
import { isReadInTwoWays } from '@hallpass/protocol';
import type { ImportedKey } from './rows.ts';

/**
 * `same`: they read the same form-encoded and as they are. `both`: they differ, and either is accepted. `unknown`: either
 * is accepted, and whether they differ cannot be told from a hash. `encoded`: form-encoded alone, since the id has a colon,
 * at which Basic would split it. `none`: the key signs.
 */
export type BasicReading = 'same' | 'both' | 'unknown' | 'encoded' | 'none';

export function basicReadingOf({ imported }: ImportedKey): BasicReading {
  const { clientId, clientSecret, clientSecretHash } = imported;
  if (clientSecret === undefined && clientSecretHash === undefined) return 'none';
  if (clientId.includes(':')) return 'encoded';
  if (isReadInTwoWays({ clientId, clientSecret: clientSecret ?? '' })) return 'both';
  return clientSecret === undefined ? 'unknown' : 'same';
}

/** How many places a remark names. */
const PLACES_NAMED_MAX = 20;

/** What an operator should know of the keys of a file before their clients come, in sentences. */
export function remarksOnBasic(
  keys: readonly { readonly at: string; readonly wanted: ImportedKey }[],
): readonly string[] {
  const placesOf = (reading: BasicReading): readonly string[] =>
    keys.filter(({ wanted }) => basicReadingOf(wanted) === reading).map(({ at }) => at);
  const [both, unknown, encoded] = [placesOf('both'), placesOf('unknown'), placesOf('encoded')];
  const remarks: string[] = [];
  if (both.length > 0) {
    remarks.push(
      `A + or % in the client_id or the secret: over Basic these are accepted as they are (curl -u) and form-encoded (RFC 6749): ${listed(both)}.`,
    );
  }
  if (unknown.length > 0) {
    remarks.push(
      `Only a hash is known, so it cannot be said whether the secret has a + or %. Over Basic both ways are accepted: ${listed(unknown)}.`,
    );
  }
  if (encoded.length > 0) {
    remarks.push(
      `A colon in the client_id: over Basic these must be form-encoded (curl -u does not do that), or sent in the body: ${listed(encoded)}.`,
    );
  }
  return remarks;
}

function listed(places: readonly string[]): string {
  const rest = places.length - PLACES_NAMED_MAX;
  const named = places.slice(0, PLACES_NAMED_MAX).join(', ');
  return rest > 0 ? `${named} and ${rest} more` : named;
}
