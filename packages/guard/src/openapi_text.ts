/** The text of a policy file, YAML or JSON, to a document. JSON is read as the YAML that it is: both have lines then. */
import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  Scalar,
  visit,
  type Document,
  type Pair,
  type YAMLMap,
} from 'yaml';
import { Faults, PolicyError, quote, type Place } from './openapi_faults.ts';

/** The longest policy file, in bytes. */
export const POLICY_FILE_BYTES_MAX = 8 * 1024 * 1024;
/** How often anchors of a file may be used, each use counted with those inside of what it names. */
const ALIASES_MAX = 10_000;
/** How many faults of its syntax are told by themselves: a bracket that is missing has most of the others follow. */
const SYNTAX_FAULTS_MAX = 20;

/** What a file holds, and where. */
export interface PolicyText {
  readonly document: unknown;
  /** The line of a place, from 1, or of the nearest place around it. */
  readonly lineOf: (place: Place) => number | undefined;
}

/**
 * Bytes to a document: UTF-8, YAML 1.2 with the plain types of JSON. Throws a PolicyError that names every fault: a name
 * given twice, a tag, a merge key, a bomb of aliases, or what is no YAML at all.
 */
export function parsePolicyText(bytes: Uint8Array, file: string): PolicyText {
  const faults = new Faults(file);
  if (bytes.length > POLICY_FILE_BYTES_MAX) {
    throw oneFault(
      faults,
      `The file is longer than ${POLICY_FILE_BYTES_MAX} bytes. Leave out what is not about operations.`,
    );
  }
  const lines = new LineCounter();
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      // Whatever a %YAML directive says: `no` for false does not come back with version 1.1.
      schema: 'core',
      version: '1.2',
      resolveKnownTags: false,
      stringKeys: true,
      // Compares each name to each other one; ours below is linear.
      uniqueKeys: false,
    });
    const wrong = [...document.errors, ...document.warnings];
    if (wrong.some(({ code }) => code === 'RESOURCE_EXHAUSTION')) throw oneFault(faults, `${NOT_READ}nested too deep.`);
    for (const [index, { message, pos }] of wrong.slice(0, SYNTAX_FAULTS_MAX + 1).entries()) {
      const more = `There are ${wrong.length - index} more from here on. Mend those before: they may be what causes these.`;
      const said = index < SYNTAX_FAULTS_MAX ? `${NOT_READ}${message.replace(/\.$/, '')}.` : more;
      addAt(faults, lines.linePos(pos[0]).line, said);
    }
    if (faults.all.length === 0) refuseDoubles(document, lines, faults);
    if (faults.all.length > 0) throw new PolicyError(faults.all);
    const value: unknown = document.toJS({ maxAliasCount: ALIASES_MAX });
    return { document: value, lineOf: lineFinder(document, lines) };
  } catch (error) {
    if (error instanceof PolicyError) throw error;
    // Not UTF-8, or too many aliases.
    throw oneFault(faults, `${NOT_READ}${error instanceof Error ? error.message : String(error)}.`);
  }
}

const NOT_READ = 'This is not the YAML or JSON that is read here: ';

function oneFault(faults: Faults, sentence: string): PolicyError {
  faults.add('malformed', [], sentence);
  return new PolicyError(faults.all);
}

function addAt(faults: Faults, line: number, sentence: string): void {
  faults.addAtLine(line, { kind: 'malformed', pointer: '', sentence });
}

/** Two readers may take different ones of two members of one name; and a merge key is a member to some, and not to us. */
function refuseDoubles(document: Document, lines: LineCounter, faults: Faults): void {
  visit(document, {
    Map: (_key, map) => {
      const names = new Set<unknown>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        const { line } = lines.linePos(key.range?.[0] ?? 0);
        const name = String(key.value);
        if (names.has(name)) addAt(faults, line, `${quote(name)} is there twice. Keep one.`);
        if (name === '<<' && key.type === Scalar.PLAIN) {
          addAt(faults, line, 'Merge keys (<<) are not read. Write out what is merged.');
        }
        names.add(name);
      }
    },
  });
}

/** Each map is gone through once, however many places of it are asked for. */
function lineFinder(document: Document, lines: LineCounter): PolicyText['lineOf'] {
  const indexes = new Map<YAMLMap, ReadonlyMap<unknown, Pair>>();
  const membersOf = (map: YAMLMap): ReadonlyMap<unknown, Pair> => {
    const index =
      indexes.get(map) ?? new Map(map.items.map((pair) => [isScalar(pair.key) ? pair.key.value : pair.key, pair]));
    indexes.set(map, index);
    return index;
  };
  return (place) => {
    let node: unknown = document.contents;
    let offset: number | undefined;
    for (const name of place) {
      if (isAlias(node)) node = node.resolve(document);
      const pair = isMap(node) ? membersOf(node).get(name) : undefined;
      const next: unknown = isSeq(node) ? node.items[Number(name)] : pair?.value;
      const start: unknown = pair?.key ?? next;
      if (isNode(start)) offset = start.range?.[0] ?? offset;
      node = next;
    }
    return offset === undefined ? undefined : lines.linePos(offset).line;
  };
}
