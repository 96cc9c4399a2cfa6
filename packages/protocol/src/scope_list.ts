/** A list of scopes, as the `scope` parameter and the `scope` claim hold it (RFC 6749 §3.3). */
import { describeScopeFault, parseScope, printScope, type Scope, type ScopeFault } from './scope.ts';

/** The most scopes in one request or one token. */
export const SCOPES_PER_REQUEST_MAX = 100;
/** The longest list of scopes, in characters. A token that holds the list has to fit in a request's headers. */
export const SCOPE_LIST_LENGTH_MAX = 8192;
/** How much of a malformed word is quoted in the answer, in characters. */
const WORD_QUOTED_LENGTH_MAX = 100;

/** What is wrong with the list as a whole, or with one of its words. */
type ListFault = 'bad_spacing' | 'too_many' | 'list_too_long';

/** Why a text is not a list of scopes. */
interface ScopeListFault {
  readonly fault: ScopeFault | ListFault;
  /** The first bad word and its place, counted from 1; absent where the list as a whole is bad. */
  readonly word?: { readonly text: string; readonly place: number; readonly of: number };
}

/**
 * Parses a `scope` parameter: scopes separated by single spaces. Duplicates are dropped and the order is kept. Templates
 * are accepted; a request in which they are not allowed must check `parameters`.
 */
export function parseScopeList(text: string): readonly Scope[] | ScopeListFault {
  if (text.length > SCOPE_LIST_LENGTH_MAX) return { fault: 'list_too_long' };
  const words = text.split(' ');
  const of = words.length;
  if (of > SCOPES_PER_REQUEST_MAX) return { fault: 'too_many' };
  const scopes = new Map<string, Scope>();
  for (const [at, word] of words.entries()) {
    const scope = word === '' ? 'bad_spacing' : parseScope(word);
    if (typeof scope === 'string') return { fault: scope, word: { text: word, place: at + 1, of } };
    scopes.set(scope.text, scope);
  }
  return [...scopes.values()];
}

/** Prints scopes as a `scope` parameter or claim; the inverse of `parseScopeList`. */
export function printScopeList(scopes: readonly Scope[]): string {
  return scopes.map(printScope).join(' ');
}

/** Says what is wrong with a list of scopes, for its sender: which word, where, and why. The end of a sentence. */
export function describeScopeListFault({ fault, word }: ScopeListFault): string {
  const why = isListFault(fault) ? LIST_FAULTS[fault] : describeScopeFault(fault);
  if (word === undefined) return why;
  const { text, place, of } = word;
  const shown = text.length > WORD_QUOTED_LENGTH_MAX ? `${text.slice(0, WORD_QUOTED_LENGTH_MAX)}...` : text;
  return `${shown === '' ? 'an empty word' : shown} (scope ${place} of ${of}: ${why})`;
}

const LIST_FAULTS: Readonly<Record<ListFault, string>> = {
  bad_spacing: 'there is an extra space before or after it',
  too_many: `more than ${SCOPES_PER_REQUEST_MAX} scopes`,
  list_too_long: `longer than ${SCOPE_LIST_LENGTH_MAX} characters in all`,
};

function isListFault(fault: ScopeFault | ListFault): fault is ListFault {
  return Object.hasOwn(LIST_FAULTS, fault);
}
