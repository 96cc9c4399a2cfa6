/** Parses the text of a policy file: JSON, or YAML 1.2 with the types of JSON. */
import { faultOnLine, PolicyError, type Source } from './faults.ts';
import { readJson } from './json.ts';
import { readPieces } from './pieces.ts';
import { NOT_READ, readYaml, YAML_WHOLE_BYTES_MAX } from './yaml.ts';

/** The longest policy file, and the longest description in several files, in bytes. */
export const POLICY_FILE_BYTES_MAX = 64 * 1024 * 1024;
/** YAML longer than this is parsed piece by piece, which takes a fraction of the memory. */
const PIECES_BYTES_MIN = 1024 * 1024;

/**
 * Parses the bytes of a file. `bytesMax`: how many bytes are left for it. Throws a PolicyError that names every fault:
 * bytes that are not UTF-8, a duplicate name, a tag, a merge key, an alias bomb, nesting that is too deep, or a text that
 * is neither JSON nor YAML.
 */
export function parsePolicyText(bytes: Uint8Array, file: string, bytesMax = POLICY_FILE_BYTES_MAX): Source {
  const refuse = (sentence: string): PolicyError => new PolicyError([faultOnLine(file, undefined, sentence)]);
  if (bytes.length > bytesMax) {
    throw refuse(
      `The file is longer than ${POLICY_FILE_BYTES_MAX} bytes, alone or with the others. Leave out what is not about operations.`,
    );
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw refuse(`${NOT_READ}${error instanceof Error ? error.message : String(error)}.`);
  }
  if (/^\s*[[{]/.test(text)) {
    const json = readJson(text, file);
    if (json !== undefined) return json;
  }
  if (text.length < PIECES_BYTES_MIN) return readYaml(text, file);
  const pieces = readPieces(text, file);
  if (!Array.isArray(pieces)) return pieces;
  // It may have no pieces, and its faults are clearest when it is parsed as a whole.
  if (text.length <= YAML_WHOLE_BYTES_MAX) return readYaml(text, file);
  throw new PolicyError(pieces);
}
