/**
 * The judge of one family: is there a sequential order, by the rules of contract §3, that explains what concurrent callers
 * saw? Each step takes effect between its invocation and its answer (linearizability, Herlihy and Wing). A step without an
 * answer may take effect at any later time, or never.
 */

/** What one caller requested, and what the answer was. */
export type Call =
  | {
      readonly asked: 'refresh';
      readonly presented: string;
      readonly answered: 'tokens';
      readonly refreshToken: string;
    }
  | { readonly asked: 'refresh'; readonly presented: string; readonly answered: 'refused' | 'unknown' }
  | { readonly asked: 'revoke'; readonly answered: 'acknowledged' | 'unknown' }
  /** About one of the family's access tokens that has neither expired nor been revoked individually. */
  | { readonly asked: 'introspect'; readonly answered: 'active' | 'inactive' };

/** A call with its instants, in milliseconds on one monotonic clock. */
export interface Operation {
  readonly call: Call;
  readonly invokedAt: number;
  /** Meaningless if the answer is unknown. */
  readonly answeredAt: number;
}

/** Everything that happened to one family, in any order. */
export interface History {
  /** Generation 0: the refresh token that the grant began with. */
  readonly firstRefreshToken: string;
  readonly operations: readonly Operation[];
}

/** The times that the rules depend on, in milliseconds. */
export interface Rules {
  /** How long after a rotation the token before the predecessor is refused without ending the family. */
  readonly mercyMs: number;
  /** The most by which the instances' clocks differ: the mercy may end that much sooner or later. */
  readonly skewMs: number;
}

const RULES: Rules = { mercyMs: 10_000, skewMs: 0 };
/** The most states to search: far more than any real history has. */
const STATES_MAX = 200_000;

/** Why no order explains these steps, in a sentence. Undefined if one does. Throws `RangeError` after 200,000 states. */
export function findViolation(history: History, rules: Rules = RULES): string | undefined {
  const generations = findGenerations(history);
  return typeof generations === 'string' ? generations : findDisorder(stepsOf(history, generations), rules);
}

/**
 * The generation of every token. The answer to a token is its successor, whether this request rotated it or repeated an
 * answer. So every caller that presents the same token gets the same bytes, and no two tokens share a successor.
 */
function findGenerations({ firstRefreshToken, operations }: History): ReadonlyMap<string, number> | string {
  const successors = new Map<string, string>();
  for (const { call } of operations) {
    if (call.asked !== 'refresh' || call.answered !== 'tokens') continue;
    const known = successors.get(call.presented) ?? call.refreshToken;
    if (known !== call.refreshToken) return 'one generation got two different successors';
    successors.set(call.presented, known);
  }
  const generations = new Map<string, number>();
  let token: string | undefined = firstRefreshToken;
  for (let generation = 0; token !== undefined; generation++) {
    if (generations.has(token)) return `generation ${generation} has the bytes of an earlier one`;
    generations.set(token, generation);
    token = successors.get(token);
  }
  for (const { call } of operations) {
    if (call.asked === 'refresh' && !generations.has(call.presented))
      return 'a caller presented a token that nobody was given';
  }
  return generations;
}

type Step =
  | { readonly does: 'refresh'; readonly generation: number; readonly answered: 'tokens' | 'refused' | 'unknown' }
  | { readonly does: 'revoke' | 'see active' | 'see inactive' };

interface TimedStep {
  readonly step: Step;
  readonly from: number;
  /** Infinity for a step that may never take effect. */
  readonly to: number;
}

function stepsOf({ operations }: History, generations: ReadonlyMap<string, number>): readonly TimedStep[] {
  return operations
    .map(({ call, invokedAt, answeredAt }): TimedStep => {
      const to = call.answered === 'unknown' ? Infinity : answeredAt;
      return { step: stepOf(call, generations), from: invokedAt, to };
    })
    .toSorted((one, other) => one.from - other.from);
}

function stepOf(call: Call, generations: ReadonlyMap<string, number>): Step {
  switch (call.asked) {
    case 'refresh':
      return { does: 'refresh', generation: generations.get(call.presented) ?? 0, answered: call.answered };
    case 'revoke':
      return { does: 'revoke' };
    case 'introspect':
      return { does: call.answered === 'active' ? 'see active' : 'see inactive' };
  }
}

/** The state of a family. */
interface State {
  readonly newest: number;
  /** The step that made the newest. */
  readonly rotation: TimedStep | undefined;
  readonly ended: boolean;
}

/** The possible states after a step. Empty if the step could not have had its answer. */
function take({ step, from, to }: TimedStep, state: State, rules: Rules): readonly State[] {
  const ended: State = { ...state, ended: true };
  if (step.does !== 'refresh') {
    if (step.does === 'revoke') return [state.ended ? state : ended];
    return state.ended === (step.does === 'see inactive') ? [state] : [];
  }
  const { generation, answered } = step;
  const age = state.newest - generation;
  if (state.ended || age < 0) return answered === 'tokens' ? [] : [state];
  if (age === 0) {
    const rotated: State = { newest: generation + 1, rotation: { step, from, to }, ended: false };
    return answered === 'refused' ? [] : [rotated];
  }
  if (age === 1) return answered === 'refused' ? [] : [state];
  if (answered === 'tokens') return [];
  if (age > 2) return [ended];
  const { sooner, later } = sinceRotation({ step, from, to }, state.rotation);
  const mercyIsPossible = sooner <= rules.mercyMs + rules.skewMs;
  const mercyIsCertain = later <= rules.mercyMs - rules.skewMs;
  return mercyIsCertain ? [state] : mercyIsPossible ? [state, ended] : [ended];
}

/** The least and the most time between the rotation and a step. */
function sinceRotation(
  { from, to }: TimedStep,
  rotation: TimedStep | undefined,
): { readonly sooner: number; readonly later: number } {
  return rotation === undefined
    ? { sooner: 0, later: Infinity }
    : { sooner: from - rotation.to, later: to - rotation.from };
}

interface Node {
  readonly state: State;
  /** A bit for each step taken so far. */
  readonly taken: bigint;
  readonly count: number;
}

/** Tries every order that the times allow. Steps that change nothing go first: taking them at once is never wrong. */
function findDisorder(steps: readonly TimedStep[], rules: Rules): string | undefined {
  const required = steps.filter(({ to }) => to !== Infinity).length;
  const open: Node[] = [{ state: { newest: 0, rotation: undefined, ended: false }, taken: 0n, count: 0 }];
  const seen = new Set<string>();
  let furthest: Node | undefined;
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    const settled = takeWhatChangesNothing(steps, node, rules);
    if (settled.count === required) return undefined;
    if (furthest === undefined || settled.count > furthest.count) furthest = settled;
    for (const next of nextOf(steps, settled, rules)) {
      const key = keyOf(next, steps);
      if (seen.has(key)) continue;
      seen.add(key);
      open.push(next);
    }
    if (seen.size > STATES_MAX) throw new RangeError('this history has too many possible orders to try them all');
  }
  return furthest === undefined ? undefined : describeEnd(steps, furthest);
}

function keyOf({ state, taken }: Node, steps: readonly TimedStep[]): string {
  const rotation = steps.findIndex(({ step }) => step === state.rotation?.step);
  return `${taken.toString(36)} ${state.newest} ${rotation} ${state.ended}`;
}

/** The steps that may be next: those that began before any other remaining step had its answer. */
function candidatesOf(steps: readonly TimedStep[], { taken }: Node): readonly (readonly [number, TimedStep])[] {
  const left = [...steps.entries()].filter(([at]) => ((taken >> BigInt(at)) & 1n) === 0n);
  const firstAnswer = Math.min(...left.map(([, { to }]) => to));
  return left.filter(([, { from }]) => from <= firstAnswer);
}

function takeWhatChangesNothing(steps: readonly TimedStep[], from: Node, rules: Rules): Node {
  let node = from;
  for (;;) {
    let { taken, count } = node;
    for (const [at, timed] of candidatesOf(steps, node)) {
      if (timed.to === Infinity) continue;
      const [after, ...others] = take(timed, node.state, rules);
      if (after !== node.state || others.length > 0) continue;
      taken |= 1n << BigInt(at);
      count += 1;
    }
    if (count === node.count) return node;
    node = { ...node, taken, count };
  }
}

function nextOf(steps: readonly TimedStep[], node: Node, rules: Rules): readonly Node[] {
  const tried = new Set<string>();
  return candidatesOf(steps, node).flatMap(([at, timed]) => {
    const isOptional = timed.to === Infinity;
    if (isOptional) {
      // Among identical steps without an answer, the first to begin stands for all.
      const kind = JSON.stringify(timed.step);
      if (tried.has(kind)) return [];
      tried.add(kind);
    }
    return take(timed, node.state, rules)
      .filter((state) => !isOptional || state !== node.state)
      .map((state) => ({ state, taken: node.taken | (1n << BigInt(at)), count: node.count + (isOptional ? 0 : 1) }));
  });
}

function describeEnd(steps: readonly TimedStep[], node: Node): string {
  const { newest, ended } = node.state;
  const family = ended ? 'the family is ended' : `generation ${newest} is the newest`;
  const stuck = candidatesOf(steps, node)
    .filter(([, { to }]) => to !== Infinity)
    .map(([, { step, from, to }]) => `${describe(step)} (${Math.round(from)} to ${Math.round(to)} ms)`);
  return `after ${node.count} steps ${family}, and none of these can come next: ${stuck.join('; ')}`;
}

function describe(step: Step): string {
  return step.does === 'refresh' ? `refresh of generation ${step.generation}: ${step.answered}` : step.does;
}
