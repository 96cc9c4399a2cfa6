/**
 * The judge of one family: whether what concurrent callers saw of it could have come about one after the other, by the
 * rules of contract §3, each step between its invocation and its answer (Herlihy and Wing). A step without an answer may
 * have had its effect at any time since, or never.
 */

/** What one caller asked of a family, and what it was answered. */
export type Call =
  | {
      readonly asked: 'refresh';
      readonly presented: string;
      readonly answered: 'tokens';
      readonly refreshToken: string;
    }
  | { readonly asked: 'refresh'; readonly presented: string; readonly answered: 'refused' | 'unknown' }
  | { readonly asked: 'revoke'; readonly answered: 'acknowledged' | 'unknown' }
  /** Of an access token of the family that has not expired and that nobody has revoked by itself. */
  | { readonly asked: 'introspect'; readonly answered: 'active' | 'inactive' };

/** Instants in milliseconds of one monotonic clock. */
export interface Operation {
  readonly call: Call;
  readonly invokedAt: number;
  /** Of no meaning where the answer is unknown. */
  readonly answeredAt: number;
}

export interface History {
  /** Generation 0: what the grant began with. */
  readonly firstRefreshToken: string;
  readonly operations: readonly Operation[];
}

export interface Rules {
  /** How long the token before the predecessor is refused without ending the family. */
  readonly mercyMs: number;
  /** How far the clocks of instances are apart at most: the mercy may end so much sooner or later. */
  readonly skewMs: number;
}

const RULES: Rules = { mercyMs: 10_000, skewMs: 0 };
/** How many states one history may lead to: far more than any has, and an end for one that has too many. */
const STATES_MAX = 200_000;

/** Why no order of these steps is possible, in a sentence; undefined when there is one. */
export function findViolation(history: History, rules: Rules = RULES): string | undefined {
  const generations = findGenerations(history);
  return typeof generations === 'string' ? generations : findDisorder(stepsOf(history, generations), rules);
}

/**
 * The generation of every token: the answer to a token is its successor whether it rotates or is repeated. So whoever
 * presents the same token gets the same bytes, and no two tokens have one successor.
 */
function findGenerations({ firstRefreshToken, operations }: History): ReadonlyMap<string, number> | string {
  const successors = new Map<string, string>();
  for (const { call } of operations) {
    if (call.asked !== 'refresh' || call.answered !== 'tokens') continue;
    const known = successors.get(call.presented) ?? call.refreshToken;
    if (known !== call.refreshToken) return 'one generation was answered with two different successors';
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
      return 'a token was presented that nobody was given';
  }
  return generations;
}

type Step =
  | { readonly does: 'refresh'; readonly generation: number; readonly answered: 'tokens' | 'refused' | 'unknown' }
  | { readonly does: 'revoke' | 'see active' | 'see inactive' };

interface TimedStep {
  readonly step: Step;
  readonly from: number;
  /** Infinity for a step that may never have been taken. */
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

/** Where a family stands. */
interface State {
  readonly newest: number;
  /** The step that made the newest. */
  readonly rotation: TimedStep | undefined;
  readonly ended: boolean;
}

/** Where a family can stand after a step; empty where the answer is not one that this step could have had. */
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

/** How much later than the rotation a step was taken, at the least and at the most. */
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
  /** A bit for each step that was taken. */
  readonly taken: bigint;
  readonly count: number;
}

/** Tries every order that the times allow, steps that change nothing first: to take those at once is never wrong. */
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
    if (seen.size > STATES_MAX) throw new RangeError('this history has too many orders to try them all');
  }
  return furthest === undefined ? undefined : describeEnd(steps, furthest);
}

function keyOf({ state, taken }: Node, steps: readonly TimedStep[]): string {
  const rotation = steps.findIndex(({ step }) => step === state.rotation?.step);
  return `${taken.toString(36)} ${state.newest} ${rotation} ${state.ended}`;
}

/** The steps that may be next: not taken yet, and begun before any other that was not taken had its answer. */
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
      // Of steps without an answer that ask for the same, the first to begin stands for all.
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
  return `after ${node.count} steps ${family}, and none of these can be next: ${stuck.join('; ')}`;
}

function describe(step: Step): string {
  return step.does === 'refresh' ? `refresh of generation ${step.generation}: ${step.answered}` : step.does;
}
