/** The text of a policy file to a document: JSON, or YAML 1.2 with the plain types of JSON. */
import { faultOnLine, PolicyError, type Source } from './faults.ts';
import { readJson } from './json.ts';
import { readPieces } from './pieces.ts';
import { NOT_READ, readYaml, YAML_WHOLE_BYTES_MAX } from './yaml.ts';

/** The longest policy file, and the most that a description in several files may have, in bytes. */
export const POLICY_FILE_BYTES_MAX = 64 * 1024 * 1024;
/** Longer YAML is read piece by piece first, which takes a fraction of the memory. */
const PIECES_BYTES_MIN = 1024 * 1024;

/**
 * Bytes to a document. `bytesMax`: how many a file may still have. Throws a PolicyError that names every fault: bytes
 * that are not UTF-8, a name given twice, a tag, a merge key, a bomb of aliases, what is nested too deep, or what is
 * neither JSON nor YAML.
 */
export function parsePolicyText(bytes: Uint8Array, file: string, bytesMax = POLICY_FILE_BYTES_MAX): Source {
  const refuse = (sentence: string): PolicyError => new PolicyError([faultOnLine(file, undefined, sentence)]);
  if (bytes.length > bytesMax) {
    throw refuse(
      `The file is longer than ${POLICY_FILE_BYTES_MAX} bytes, or is so with the others. Leave out what is not about operations.`,
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
  // It may be one whole that has no pieces, and its faults are told best by who reads the whole.
  if (text.length <= YAML_WHOLE_BYTES_MAX) return readYaml(text, file);
  throw new PolicyError(pieces);
}
