/** What an operator should know about a file of keys before it is imported, in sentences. */
import { basicReadingOf, type BasicReading } from '../operator/import/basic.ts';
import type { FileRemark, ImportedKey } from '../operator/import/rows.ts';

/** What a file shows as a whole. */
export const FILE_REMARKS: Readonly<Record<FileRemark, string>> = {
  semicolons: 'Its columns are separated by semicolons.',
  tabs: 'Its columns are separated by tabs.',
  incomplete: 'The file is one page of several (is_last_page is false). Import the others too.',
};

/** How many places a remark names. */
const PLACES_NAMED_MAX = 20;

/** Which keys have to send their credentials over Basic in a certain way. Places only, never a secret. */
export function remarksOnBasic(
  keys: readonly { readonly at: string; readonly wanted: ImportedKey }[],
): readonly string[] {
  return BASIC_REMARKS.flatMap(([reading, sentence]) => {
    const places = keys.filter(({ wanted }) => basicReadingOf(wanted) === reading).map(({ at }) => at);
    return places.length === 0 ? [] : [`${sentence}: ${listed(places)}.`];
  });
}

const BASIC_REMARKS: readonly (readonly [reading: BasicReading, sentence: string])[] = [
  [
    'both',
    'A + or % in the client_id or the secret: over Basic these are accepted both raw (curl -u) and form-encoded (RFC 6749)',
  ],
  [
    'unknown',
    'Only a hash is known, so it is unknown whether the secret has a + or %. Over Basic both ways are accepted',
  ],
  [
    'encoded',
    'A colon in the client_id: over Basic these must be form-encoded (curl -u does not do that), or sent in the body',
  ],
];

function listed(places: readonly string[]): string {
  const rest = places.length - PLACES_NAMED_MAX;
  const named = places.slice(0, PLACES_NAMED_MAX).join(', ');
  return rest > 0 ? `${named} and ${rest} more` : named;
}
