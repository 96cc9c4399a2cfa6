/** Parses YAML as a whole. */
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
import { faultOnLine, PolicyError, quote, type PolicyFault, type Source } from './faults.ts';

/** The longest YAML that is parsed as a whole, in characters. The parser takes some sixty times that in memory. */
export const YAML_WHOLE_BYTES_MAX = 8 * 1024 * 1024;
/** The most uses of anchors in a text, counting those inside of what each use names. */
const ALIASES_MAX = 10_000;
/** The most syntax faults that are listed: one missing bracket can cause many. */
const SYNTAX_FAULTS_MAX = 20;

/** How sentences about texts that cannot be parsed begin. */
export const NOT_READ = 'This YAML or JSON is not accepted: ';
/** The rest of such a sentence, for nesting that is too deep. */
export const NESTED = 'nested too deeply.';
/** The sentence about a duplicate name. */
export const twice = (name: string): string => `${name} is given twice. Keep one.`;

/** Parses a text. `linesBefore`: how many lines of the file come before it. Throws a PolicyError with every fault. */
export function readYaml(text: string, file: string, linesBefore = 0): Source {
  const lines = new LineCounter();
  const faults: PolicyFault[] = [];
  const addAt = (offset: number, sentence: string): number =>
    faults.push(faultOnLine(file, lines.linePos(offset).line + linesBefore, sentence));
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    // Whatever a %YAML directive says, so that `no` never means false as in version 1.1.
    schema: 'core',
    version: '1.2',
    resolveKnownTags: false,
    stringKeys: true,
    // The library's check compares every name with every other; ours below is linear.
    uniqueKeys: false,
  });
  const wrong = [...document.errors, ...document.warnings];
  if (wrong.some(({ code }) => code === 'RESOURCE_EXHAUSTION')) {
    throw new PolicyError([faultOnLine(file, undefined, `${NOT_READ}${NESTED}`)]);
  }
  for (const [index, { message, pos }] of wrong.slice(0, SYNTAX_FAULTS_MAX + 1).entries()) {
    const more = `There are ${wrong.length - index} more from here on. Fix the ones above first: they may cause these.`;
    const said = `${NOT_READ}${message.replace(/\.$/, '')}.${hasBareTemplate(text, pos[0]) ? ` ${QUOTE_IT}` : ''}`;
    addAt(pos[0], index < SYNTAX_FAULTS_MAX ? said : more);
  }
  if (faults.length === 0) refuseDoubles(document, addAt);
  if (faults.length > 0) throw new PolicyError(faults);
  try {
    const value: unknown = document.toJS({ maxAliasCount: ALIASES_MAX });
    return { file, document: value, lineOf: lineFinder(document, lines, linesBefore) };
  } catch (error) {
    // Too many aliases.
    const sentence = `${NOT_READ}${error instanceof Error ? error.message : String(error)}.`;
    throw new PolicyError([faultOnLine(file, undefined, sentence)]);
  }
}

const QUOTE_IT = "Between brackets, put a scope that has a {parameter} in quotes: ['/orders/{orderID}.read'].";

/** Whether the faulty line has an unquoted scope such as `/orders/{orderID}.read` in brackets, where `{` begins a mapping. */
function hasBareTemplate(text: string, offset: number): boolean {
  const start = text.lastIndexOf('\n', offset - 1) + 1;
  const end = text.indexOf('\n', offset);
  return /[[,]\s*\/[^'"\s,[\]]*\{/.test(text.slice(start, end === -1 ? undefined : end).slice(0, LINE_LOOKED_AT_MAX));
}

/** How much of a line is searched, in characters: a whole file may be one line. */
const LINE_LOOKED_AT_MAX = 1_000;

/** Refuses duplicate names, of which parsers take different ones, and merge keys, which only some parsers read. */
function refuseDoubles(document: Document, addAt: (offset: number, sentence: string) => void): void {
  visit(document, {
    Map: (_key, map) => {
      const names = new Set<unknown>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        const offset = key.range?.[0] ?? 0;
        const name = String(key.value);
        if (names.has(name)) addAt(offset, twice(quote(name)));
        if (name === '<<' && key.type === Scalar.PLAIN) {
          addAt(offset, 'Merge keys (<<) are not supported. Write out what they merge.');
        }
        names.add(name);
      }
    },
  });
}

/** Indexes each map once, however many of its places are looked up. */
function lineFinder(document: Document, lines: LineCounter, linesBefore: number): Source['lineOf'] {
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
    return offset === undefined ? undefined : lines.linePos(offset).line + linesBefore;
  };
}
