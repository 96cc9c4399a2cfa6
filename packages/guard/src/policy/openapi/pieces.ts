/**
 * Parses long YAML piece by piece. The parser's tree takes some sixty times the memory of the text, so a long map is cut
 * between its members, and each piece is parsed as a document of its own. A cut in the wrong place leaves a piece that is
 * not valid YAML, and the text is refused.
 */
import { isObject } from '@hallpass/protocol';
import { faultOnLine, PolicyError, quote, type Place, type PolicyFault, type Source } from './faults.ts';
import { readYaml, twice, YAML_WHOLE_BYTES_MAX } from './yaml.ts';

/** About how many characters of members are parsed together. */
const PIECE_LENGTH_MAX = 256 * 1024;

/** Some lines of a text. */
interface Span {
  readonly start: number;
  readonly end: number;
  /** The number of lines before it. */
  readonly line: number;
}

/** A map whose members were parsed in pieces. */
interface Branch {
  readonly document: unknown;
  /** For each member: the span that it was parsed from, or, if it was cut itself, its map and the line where it begins. */
  readonly members: ReadonlyMap<string, Span | (Branch & { readonly line: number })>;
}

/** Parses a text in pieces. Returns the faults if that is not possible. */
export function readPieces(text: string, file: string, pieceLengthMax = PIECE_LENGTH_MAX): Source | PolicyFault[] {
  const whole = { text, file, pieceLengthMax };
  try {
    // One document, which may begin with a `---` line.
    const head = /^(?:(?:#[^\n]*)?\r?\n)*---[ \t]*(?:#[^\n]*)?\r?\n/.exec(text)?.[0] ?? '';
    const line = head.split('\n').length - 1;
    if (/^(?:---|\.\.\.|%)/m.test(text.slice(head.length))) return [faultOnLine(file, undefined, TOO_LONG)];
    const tree = readMap(whole, { start: head.length, end: text.length, line });
    return { file, document: tree.document, lineOf: lineFinder(whole, tree) };
  } catch (error) {
    if (error instanceof PolicyError) return [...error.faults];
    throw error;
  }
}

interface Text {
  readonly text: string;
  readonly file: string;
  readonly pieceLengthMax: number;
}

/** Parses a map in block style. Throws a PolicyError. */
function readMap(whole: Text, span: Span): Branch {
  const { text, file, pieceLengthMax } = whole;
  const refuse = (line: number, sentence: string): PolicyError =>
    new PolicyError([faultOnLine(file, line + 1, sentence)]);
  const entries: [string, unknown][] = [];
  const members = new Map<string, Span | (Branch & { readonly line: number })>();
  const add = (name: string, value: unknown, from: Span | (Branch & { readonly line: number })): void => {
    if (members.has(name)) throw refuse(from.line, twice(quote(name)));
    members.set(name, from);
    entries.push([name, value]);
  };
  for (const piece of cut(whole, span)) {
    const inner = piece.end - piece.start > pieceLengthMax ? insideOf(text, piece) : undefined;
    if (inner !== undefined) {
      const [[name, nothing] = [], ...others] = Object.entries(parse(whole, { ...piece, end: inner.start }));
      // `a: | # b:` ends in a colon too, but a block scalar follows it.
      if (name === undefined || nothing !== null || others.length > 0) throw refuse(piece.line, TOO_LONG);
      const branch = readMap(whole, inner);
      add(name, branch.document, { ...branch, line: piece.line });
      continue;
    }
    if (piece.end - piece.start > YAML_WHOLE_BYTES_MAX) throw refuse(piece.line, TOO_LONG);
    for (const [name, value] of Object.entries(parse(whole, piece))) add(name, value, piece);
  }
  // `fromEntries` makes an own member even of `__proto__`.
  return { document: Object.fromEntries(entries), members };
}

const TOO_LONG = `YAML of more than ${YAML_WHOLE_BYTES_MAX} bytes is parsed in pieces, and this part cannot be divided. Write the file as JSON.`;

function parse({ text, file }: Text, { start, end, line }: Span): Readonly<Record<string, unknown>> {
  const { document } = readYaml(text.slice(start, end), file, line);
  if (isObject(document)) return document;
  if (document === null && !/^\s*[^\s#]/m.test(text.slice(start, end))) return {};
  throw new PolicyError([faultOnLine(file, line + 1, TOO_LONG)]);
}

/** A line that begins a member of a map: not a comment, a list item or a closing bracket. */
const MEMBER = /^( *)(?![ \t\r#}\]]|-(?:[ \t\r]|$))[^\n]/;

/** Cuts a map between its members, into pieces of as many members as fit. */
function cut({ text, file, pieceLengthMax }: Text, { start, end, line: first }: Span): readonly Span[] {
  const pieces: Span[] = [];
  let [piece, pieceLine, indent] = [start, first, undefined as number | undefined];
  let [line, last] = [first, start];
  for (let at = start; at < end; line += 1) {
    const next = endOfLine(text, at, end);
    const spaces = indentOf(text.slice(at, Math.min(next, at + INDENT_LENGTH_MAX)));
    if (spaces !== undefined) {
      indent ??= spaces;
      if (spaces === indent) {
        // `? name` and `: value` are two lines of one member.
        if (/^ *[?:](?:\s|$)/.test(text.slice(at, next)))
          throw new PolicyError([faultOnLine(file, line + 1, TOO_LONG)]);
        // The member that ends here makes the piece too long, so the piece ends before it, or is that member only.
        if (at - piece > pieceLengthMax && last > piece) {
          pieces.push({ start: piece, end: last, line: pieceLine });
          [piece, pieceLine] = [last, lastLine(text, piece, last, pieceLine)];
        }
        if (at - piece > pieceLengthMax) {
          pieces.push({ start: piece, end: at, line: pieceLine });
          [piece, pieceLine] = [at, line];
        }
        last = at;
      }
    }
    at = next;
  }
  if (end - piece > pieceLengthMax && last > piece) {
    pieces.push({ start: piece, end: last, line: pieceLine });
    [piece, pieceLine] = [last, lastLine(text, piece, last, pieceLine)];
  }
  return [...pieces, { start: piece, end, line: pieceLine }];
}

/** The longest indentation that is recognised, in characters. */
const INDENT_LENGTH_MAX = 200;

function indentOf(line: string): number | undefined {
  return MEMBER.exec(line)?.[1]?.length;
}

function endOfLine(text: string, at: number, end: number): number {
  const found = text.indexOf('\n', at);
  return found === -1 || found >= end ? end : found + 1;
}

function lastLine(text: string, start: number, end: number, line: number): number {
  let count = line;
  for (let at = text.indexOf('\n', start); at !== -1 && at < end; at = text.indexOf('\n', at + 1)) count += 1;
  return count;
}

/** The map below a name that has a line to itself; undefined for anything else. */
function insideOf(text: string, { start, end, line }: Span): Span | undefined {
  const first = endOfLine(text, start, end);
  const head = text.slice(start, first);
  if (!/^ *(?:[^\s#&*!|>'"%@`{[][^\n#]*|'[^'\n]*'|"[^"\\\n]*"):[ \t]*\r?\n$/.test(head)) return undefined;
  const outer = indentOf(head) ?? 0;
  for (let at = first; at < end;) {
    const next = endOfLine(text, at, end);
    const content = text.slice(at, next);
    if (!/^\s*(?:#|$)/.test(content)) {
      const spaces = indentOf(content);
      const isMember = spaces !== undefined && spaces > outer && /:(?:\s|$)/.test(content);
      return isMember ? { start: first, end, line: line + 1 } : undefined;
    }
    at = next;
  }
  return undefined;
}

/** How many parsed pieces are kept to look up lines. Faults come in order, from a few places at a time. */
const KEPT_MAX = 4;

function lineFinder({ text, file }: Text, tree: Branch): Source['lineOf'] {
  const kept = new Map<Span, Source>();
  const sourceOf = (span: Span): Source => {
    const source = kept.get(span) ?? readYaml(text.slice(span.start, span.end), file, span.line);
    kept.delete(span);
    kept.set(span, source);
    for (const oldest of kept.keys()) if (kept.size > KEPT_MAX) kept.delete(oldest);
    return source;
  };
  const find = ({ members }: Branch, [name, ...rest]: Place): number | undefined => {
    const there = name === undefined ? undefined : members.get(name);
    if (name === undefined || there === undefined) return undefined;
    if (!('members' in there)) return sourceOf(there).lineOf([name, ...rest]);
    return find(there, rest) ?? there.line + 1;
  };
  return (place) => find(tree, place);
}
