/**
 * Makes text from outside safe to print on a terminal. Escape sequences rewrite what was printed before, line breaks forge
 * lines, and bidirectional controls change the order in which a sentence reads (CWE-150, CWE-1007). Such characters are
 * printed as their numbers.
 */

/** C0, DEL and C1; bidirectional marks, embeddings, overrides and isolates; line and paragraph separators. */
// oxlint-disable-next-line no-control-regex -- matching control characters is the purpose
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const RUNS_OF_CONTROLS = new RegExp(`${CONTROLS.source}+`, 'g');

/** Escapes every control character, line feeds included, in the form `\u001b`. */
export function escapeControls(text: string): string {
  return text.replaceAll(CONTROLS, escapeOne);
}

/**
 * Escapes every control character except line feeds: for a text whose line breaks are ours. In JSON, and in double quotes
 * in YAML and JavaScript, the escape means the same character, so such a document keeps its meaning.
 */
export function escapeControlsInLines(text: string): string {
  return text.replaceAll(CONTROLS, (character) => (character === '\n' ? '\n' : escapeOne(character)));
}

/** Replaces each run of control characters by one space, for a text that becomes part of a sentence. */
export function flattenControls(text: string): string {
  return text.replaceAll(RUNS_OF_CONTROLS, ' ');
}

function escapeOne(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
