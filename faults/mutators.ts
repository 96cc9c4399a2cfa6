/**
 * Mutants: a source with one small change that its tests ought to notice. Made from the syntax tree, so that nothing is
 * changed that is not code: no types, imports, names or comments.
 */
import { parseSync } from 'oxc-parser';
import { mutatePattern } from './regex_mutators.ts';

export interface Mutant {
  /** What kind of change it is. */
  readonly operator: string;
  readonly start: number;
  readonly end: number;
  /** What stands between `start` and `end`, and what takes its place. */
  readonly from: string;
  readonly to: string;
  /** The line that it begins in, without its indentation, and its number. */
  readonly context: string;
  readonly line: number;
  /** Which it is of those of this source with the same change in lines of the same text; the first is 1. */
  readonly nth: number;
}

/** The source of a mutant. */
export function applyMutant(source: string, { start, end, to }: Pick<Mutant, 'start' | 'end' | 'to'>): string {
  return source.slice(0, start) + to + source.slice(end);
}

/** All mutants of a TypeScript source that still parse, in order. Throws for a source that does not. */
export function mutantsOf(source: string): readonly Mutant[] {
  const { program, errors } = parseSync('source.ts', source);
  if (errors.length > 0) throw new SyntaxError(errors[0]?.message);
  const root = asNode(program);
  if (root === undefined) throw new SyntaxError('no program');
  const maker = new Maker(source);
  maker.visit(root);
  return maker.mutants();
}

/** A node of the tree, as far as it is looked at here (ESTree, with TypeScript's own nodes called `TS...`). */
interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly members: Readonly<Record<string, unknown>>;
}

function asNode(value: unknown): Node | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const members: Record<string, unknown> = Object.fromEntries(Object.entries(value));
  const { type, start, end } = members;
  if (typeof type !== 'string' || typeof start !== 'number' || typeof end !== 'number') return undefined;
  return { type, start, end, members };
}

const OPPOSITES: Readonly<Record<string, readonly string[]>> = {
  '===': ['!=='],
  '!==': ['==='],
  '<': ['<=', '>='],
  '<=': ['<', '>'],
  '>': ['>=', '<='],
  '>=': ['>', '<'],
  '+': ['-'],
  '-': ['+'],
  '*': ['/'],
  '/': ['*'],
  '%': ['*'],
  '&': ['|'],
  '|': ['&'],
  '<<': ['>>'],
  '>>': ['<<'],
  '&&': ['||'],
  '||': ['&&'],
  '??': ['&&'],
  '+=': ['-='],
  '-=': ['+='],
  '??=': ['&&='],
  '++': ['--'],
  '--': ['++'],
};
const COMPARISONS = new Set(['===', '!==', '<', '<=', '>', '>=', 'in', 'instanceof']);

/** Methods that are easily mistaken for each other, and those that can be left out. */
const METHODS: Readonly<Record<string, string>> = {
  every: 'some',
  some: 'every',
  startsWith: 'endsWith',
  endsWith: 'startsWith',
  toLowerCase: 'toUpperCase',
  toUpperCase: 'toLowerCase',
  min: 'max',
  max: 'min',
  floor: 'ceil',
  ceil: 'floor',
};
const OMITTED = new Set(['filter', 'slice', 'trim', 'toSorted', 'toReversed', 'replace', 'replaceAll', 'toLowerCase']);

/** Where types are, and names that are no values. */
const NO_CODE = new Set(['typeAnnotation', 'returnType', 'typeParameters', 'typeArguments', 'superTypeArguments']);
const WRAPPERS = new Set(['TSAsExpression', 'TSSatisfiesExpression', 'TSNonNullExpression']);

class Maker {
  readonly #source: string;
  readonly #made = new Map<string, Omit<Mutant, 'nth'>>();

  constructor(source: string) {
    this.#source = source;
  }

  mutants(): readonly Mutant[] {
    const parsing = [...this.#made.values()].filter(
      (mutant) => parseSync('mutant.ts', applyMutant(this.#source, mutant)).errors.length === 0,
    );
    const seen = new Map<string, number>();
    return parsing
      .toSorted((one, other) => one.start - other.start || one.end - other.end)
      .map((mutant) => {
        const key = JSON.stringify([mutant.context, mutant.from, mutant.to]);
        const nth = (seen.get(key) ?? 0) + 1;
        seen.set(key, nth);
        return { ...mutant, nth };
      });
  }

  #add(operator: string, { start, end }: Pick<Node, 'start' | 'end'>, to: string): void {
    const from = this.#source.slice(start, end);
    const key = `${start} ${end} ${to}`;
    if (from === to || this.#made.has(key)) return;
    const lineStart = this.#source.lastIndexOf('\n', start - 1) + 1;
    const lineEnd = this.#source.indexOf('\n', start);
    const context = this.#source.slice(lineStart, lineEnd < 0 ? undefined : lineEnd).trim();
    const line = this.#source.slice(0, start).split('\n').length;
    this.#made.set(key, { operator, start, end, from, to, context, line });
  }

  #text({ start, end }: Node): string {
    return this.#source.slice(start, end);
  }

  visit(node: Node): void {
    if (node.type === 'ImportDeclaration' || (node.type.startsWith('TS') && !WRAPPERS.has(node.type))) return;
    MUTATIONS[node.type]?.(node, this);
    for (const [name, value] of Object.entries(node.members)) {
      if (NO_CODE.has(name) || isName(node, name) || (name === 'source' && node.type.startsWith('Export'))) continue;
      for (const item of Array.isArray(value) ? value : [value]) {
        const child = asNode(item);
        if (child !== undefined) this.visit(child);
      }
    }
  }

  /** The operator of a node becomes others; its text stands between two operands, or beside the one. */
  operator(node: Node, between: readonly [from: number, to: number]): void {
    const operator = textOf(node.members['operator']);
    const at = this.#source.indexOf(operator, between[0]);
    if (at < 0 || at + operator.length > between[1]) return;
    for (const other of OPPOSITES[operator] ?? []) {
      this.#add('operator', { start: at, end: at + operator.length }, other);
    }
  }

  condition(node: Node | undefined): void {
    if (node === undefined) return;
    this.#add('condition', node, 'true');
    this.#add('condition', node, 'false');
  }

  replace(operator: string, node: Node, ...texts: readonly string[]): void {
    for (const text of texts) this.#add(operator, node, text);
  }

  /** A node becomes one of its parts. */
  reduce(operator: string, node: Node, to: Node | undefined): void {
    if (to !== undefined) this.#add(operator, node, this.#text(to));
  }

  /** The text between two places becomes another. */
  splice(operator: string, start: number, end: number, to: string): void {
    this.#add(operator, { start, end }, to);
  }

  isAt(at: number, text: string): boolean {
    return this.#source.startsWith(text, at);
  }
}

/** Whether a member of a node is a name: of a property or a method. */
function isName({ type, members }: Node, name: string): boolean {
  if (members['computed'] === true) return false;
  return (name === 'property' && type === 'MemberExpression') || (name === 'key' && members['value'] !== undefined);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function part(node: Node, name: string): Node | undefined {
  return asNode(node.members[name]);
}

function binary(node: Node, maker: Maker): void {
  const [left, right] = [part(node, 'left'), part(node, 'right')];
  if (left === undefined || right === undefined) return;
  maker.operator(node, [left.end, right.start]);
  const operator = textOf(node.members['operator']);
  if (COMPARISONS.has(operator)) maker.condition(node);
  if (operator === '&&' || operator === '||') {
    maker.condition(node);
    maker.reduce('operand', node, left);
    maker.reduce('operand', node, right);
  }
  if (operator === '??') maker.reduce('operand', node, left);
}

/** An `if` without an `else` that never holds is as good as an empty block: the block is not emptied as well. */
function branch(node: Node, maker: Maker): void {
  maker.condition(part(node, 'test'));
  const otherwise = part(node, 'alternate');
  if (otherwise !== undefined) maker.replace('statement', otherwise, '{}');
}

function loop(node: Node, maker: Maker): void {
  const test = part(node, 'test');
  if (test !== undefined) maker.replace('condition', test, 'false');
  const repeated = part(node, 'body');
  if (repeated !== undefined) maker.replace('statement', repeated, '{}');
}

function body(node: Node, maker: Maker): void {
  const inside = part(node, 'body');
  if (inside === undefined) return;
  if (inside.type === 'BlockStatement') maker.replace('body', inside, '{}');
  else maker.replace('body', inside, 'undefined');
}

function call(node: Node, maker: Maker): void {
  const callee = part(node, 'callee');
  const name = callee?.type === 'MemberExpression' ? part(callee, 'property') : undefined;
  const object = callee === undefined ? undefined : part(callee, 'object');
  if (name === undefined || callee === undefined) return;
  const method = textOf(name.members['name']);
  const other = METHODS[method];
  if (other !== undefined) maker.replace('method', name, other);
  if (OMITTED.has(method)) maker.reduce('call left out', node, object);
}

function member(node: Node, maker: Maker): void {
  const object = part(node, 'object');
  if (node.members['optional'] !== true || object === undefined) return;
  const isIndex = maker.isAt(object.end, '?.[') || maker.isAt(object.end, '?.(');
  maker.splice('optional chain', object.end, object.end + 2, isIndex ? '' : '.');
}

function literal(node: Node, maker: Maker): void {
  const { value, regex, bigint } = node.members;
  if (typeof value === 'boolean') maker.replace('boolean', node, String(!value));
  else if (typeof value === 'number') maker.replace('number', node, String(value + 1), String(value - 1));
  else if (typeof value === 'string') maker.replace('text', node, value === '' ? "'mutant'" : "''");
  else if (bigint === undefined && typeof regex === 'object' && regex !== null) {
    const { pattern, flags }: Readonly<Record<string, unknown>> = Object.fromEntries(Object.entries(regex));
    const [source, marks] = [textOf(pattern), textOf(flags)];
    for (const mutated of mutatePattern(source)) maker.replace('pattern', node, `/${mutated}/${marks}`);
    for (const flag of marks) maker.replace('pattern', node, `/${source}/${marks.replace(flag, '')}`);
  }
}

const MUTATIONS: Readonly<Record<string, (node: Node, maker: Maker) => void>> = {
  BinaryExpression: binary,
  LogicalExpression: binary,
  AssignmentExpression: binary,
  UpdateExpression: (node, maker) => maker.operator(node, [node.start, node.end]),
  UnaryExpression: (node, maker) => {
    if ('!-+~'.includes(textOf(node.members['operator']))) maker.reduce('operand', node, part(node, 'argument'));
  },
  IfStatement: branch,
  ConditionalExpression: (node, maker) => maker.condition(part(node, 'test')),
  WhileStatement: loop,
  DoWhileStatement: loop,
  ForStatement: loop,
  ForOfStatement: loop,
  ExpressionStatement: (node, maker) => maker.replace('statement', node, ';'),
  ReturnStatement: (node, maker) => {
    const value = part(node, 'argument');
    if (value !== undefined && value.members['name'] !== 'undefined') maker.replace('statement', node, 'return;');
  },
  ContinueStatement: (node, maker) => maker.replace('statement', node, ';'),
  BreakStatement: (node, maker) => maker.replace('statement', node, ';'),
  ThrowStatement: (node, maker) => maker.replace('statement', node, ';'),
  FunctionDeclaration: body,
  FunctionExpression: body,
  ArrowFunctionExpression: body,
  CallExpression: (node, maker) => {
    call(node, maker);
    const callee = part(node, 'callee');
    if (node.members['optional'] === true && callee !== undefined) {
      maker.splice('optional chain', callee.end, callee.end + 2, '');
    }
  },
  MemberExpression: member,
  Literal: literal,
  TemplateLiteral: (node, maker) => maker.replace('text', node, '``'),
  ArrayExpression: (node, maker) => maker.replace('list', node, '[]'),
  ObjectExpression: (node, maker) => {
    const { properties } = node.members;
    if (Array.isArray(properties) && properties.length > 0) maker.replace('object', node, '({})');
  },
  SpreadElement: (node, maker) => maker.replace('spread', node, '...[]'),
};
