/** Follows a `$ref`, within its document or into a file beside it. */
import { isObject } from '@hallpass/protocol';
import {
  at,
  faultAt,
  isFault,
  own,
  quote,
  rootOf,
  type Place,
  type PolicyFault,
  type Source,
  type Spot,
} from './faults.ts';
import type { PolicyFiles } from './files.ts';
import type { Stranger } from './members.ts';

/** The longest chain of references. */
const REFERENCES_MAX = 16;

/** Called with each object that has a `$ref`, to check the other members beside it. */
type OnReference = (spot: Spot) => PolicyFault | undefined;

/** The fault of a member that may not be beside a `$ref`. */
export function besideReference(check: (kind: 'a reference') => Stranger | undefined): PolicyFault | undefined {
  const stranger = check('a reference');
  return stranger === undefined ? undefined : faultAt('bad_reference', stranger.spot, BESIDE);
}

const BESIDE = 'It is beside a $ref, and tools disagree on which of the two counts. Keep one of them.';

/**
 * The object at a spot, or the one that its references lead to. A fault if there is no object, if a reference leaves what
 * can be read or the chain is too long, or if `onReference` returns one.
 */
export function follow(
  from: Spot,
  {
    noun,
    files,
    onReference,
  }: { readonly noun: string; readonly files: PolicyFiles | undefined; readonly onReference: OnReference },
): Spot | PolicyFault {
  let spot = from;
  for (let followed = 0; followed <= REFERENCES_MAX; followed++) {
    if (!isObject(spot.value)) {
      const sentence =
        followed === 0 ? `${capital(noun)} must be an object.` : `Its $ref leads to what is not ${noun}.`;
      return faultAt(followed === 0 ? 'malformed' : 'bad_reference', from, sentence);
    }
    if (!Object.hasOwn(spot.value, '$ref')) return spot;
    const fault = onReference(spot);
    if (fault !== undefined) return fault;
    const next = step({ ...spot, place: [...spot.place, '$ref'], value: own(spot.value, '$ref') }, files);
    if (isFault(next)) return next;
    spot = next;
  }
  return faultAt('bad_reference', from, `Its chain of references is longer than ${REFERENCES_MAX}.`);
}

const capital = (noun: string): string => noun.charAt(0).toUpperCase() + noun.slice(1);

function step(spot: Spot, files: PolicyFiles | undefined): Spot | PolicyFault {
  const { value: reference, source } = spot;
  if (typeof reference !== 'string') return faultAt('bad_reference', spot, 'A $ref must be a string.');
  const [file = '', ...fragments] = reference.split('#');
  const target = fragments.length > 1 ? undefined : parsePointer(fragments[0] ?? '');
  if (target === undefined) {
    return faultAt('bad_reference', spot, `What follows # in ${quote(reference)} is not a JSON Pointer.`);
  }
  if (file === '') return spotIn(source, target);
  if (files === undefined) {
    const sentence = `${quote(reference)} leads out of this document, and no other is read here. Bundle them into one, or use readPolicy.`;
    return faultAt('bad_reference', spot, sentence);
  }
  // With $self, relative references start elsewhere than at the file (OpenAPI 3.2 §4.1.2).
  if (isObject(source.document) && Object.hasOwn(source.document, '$self')) {
    return faultAt(
      'bad_reference',
      spot,
      `Other files are not read from a document with $self. Bundle them into one first.`,
    );
  }
  const loaded = files.load(file, spot);
  return isFault(loaded) ? loaded : spotIn(loaded, target);
}

function spotIn(source: Source, place: Place): Spot {
  return { ...rootOf(source), place, value: at(source.document, place) };
}

/** Parses the JSON Pointer in a fragment (RFC 6901 §6); undefined if it is malformed. */
function parsePointer(fragment: string): Place | undefined {
  if (fragment === '') return [];
  try {
    const [before, ...names] = decodeURIComponent(fragment).split('/');
    if (before !== '' || names.some((name) => /~(?![01])/.test(name))) return undefined;
    return names.map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  } catch {
    return undefined;
  }
}
