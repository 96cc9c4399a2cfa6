/**
 * Text for a terminal. What comes from outside may hold characters that a terminal obeys instead of showing: escape
 * sequences rewrite what was printed, line breaks forge lines, bidirectional controls change the order in which a
 * sentence is read (CWE-150, CWE-1007). They are shown by their number instead.
 */

/** C0, DEL and C1; marks, embeddings, overrides and isolates of direction; the separators of lines and paragraphs. */
// oxlint-disable-next-line no-control-regex -- they are what it is for
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const RUNS_OF_CONTROLS = new RegExp(`${CONTROLS.source}+`, 'g');

/** A text on one line: each control character as `\u001b`. */
export function escapeControls(text: string): string {
  return text.replaceAll(CONTROLS, escapeOne);
}

/**
 * The same for a text of several lines, whose line feeds are ours. In JSON, and between the double quotes of YAML and of
 * JavaScript, the escape stands for the character: the document says what it said before.
 */
export function escapeControlsInLines(text: string): string {
  return text.replaceAll(CONTROLS, (character) => (character === '\n' ? '\n' : escapeOne(character)));
}

/** A text on one line, as a part of a sentence: each run of control characters as one space. */
export function flattenControls(text: string): string {
  return text.replaceAll(RUNS_OF_CONTROLS, ' ');
}

function escapeOne(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
