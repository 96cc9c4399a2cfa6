/**
 * The long run of the guard's reading: random and mutated request targets through `parsePath` and a policy, scopes
 * through the scope algebra, each answer compared with an oracle that was written from the contract.
 *
 *   node --conditions=hallpass-source fuzz/guard.ts [--cases 10000000] [--seed N] [--json]
 *        [--planted-defect NAME]
 *
 * A case is one target with one policy, or two scopes with values and a claim. `--planted-defect` puts a wrong function
 * in the place of a right one (`guard_defects.ts` names them), to show that it is found.
 */
import { isRefusal, isScope, type Scope } from '@hallpass/protocol';
import { parseArgs } from 'node:util';
import { chanceOf } from '../testing/chance.ts';
import { DEFECTS } from './guard_defects.ts';
import { GuardInputs, POLICIES } from './guard_inputs.ts';
import * as oracle from './guard_oracle.ts';
import { GENUINE, type Subject } from './guard_subject.ts';
import { endRig, printProgress } from '../rigs/parts/rig.ts';

/** The run ends early after so many. */
const FINDINGS_MAX = 10;
/** How many cases lie between two lines of progress. */
const PROGRESS_CASES = 100_000;

export interface GuardFuzzed {
  readonly cases: number;
  /** How many targets were paths, and how many of those came to a route. */
  readonly paths: number;
  readonly matched: number;
  /** How many texts were scopes, how many of those were filled, and how many claims opened one. */
  readonly scopes: number;
  readonly filled: number;
  readonly opened: number;
  /** What did not hold, with the input as JSON; empty when all went well. */
  readonly findings: readonly string[];
}

export function fuzzGuard(options: {
  readonly cases: number;
  readonly seed: number;
  readonly defect?: string;
}): GuardFuzzed {
  const defect = options.defect === undefined ? undefined : DEFECTS[options.defect];
  if (options.defect !== undefined && defect === undefined)
    throw new RangeError(`no defect is called ${options.defect}`);
  const fuzz = new GuardFuzz(defect === undefined ? GENUINE : { ...GENUINE, ...defect(GENUINE) }, options.seed);
  let cases = 0;
  while (cases < options.cases && fuzz.findings.length < FINDINGS_MAX) {
    fuzz.run(cases);
    cases += 1;
    if (cases % PROGRESS_CASES === 0) printProgress(`${cases} of ${options.cases} cases`);
  }
  const { counts, findings } = fuzz;
  return { cases, ...counts, findings };
}

/** All that is asked of an answer. The test sees to it that each of them finds a planted defect. */
export const INVARIANTS = [
  'never throws',
  'path: the web reads the same path',
  'path: each segment is decoded once',
  'path: a second decoding changes nothing',
  'path: no segment holds what another reader could take for more',
  'path: the segments written again are the path',
  'path: the segments written and read again are the same',
  'path: it is one, or none, as the contract says',
  'route: what is no path is refused as such',
  'route: what no route names is closed',
  'route: a value that no scope can hold is refused',
  'route: what is open is let in',
  'route: the leftmost literal wins',
  'route: the pattern with its values is the path',
  'route: the values are those of the path, and no more',
  'route: the scope is its template with the values',
  'scope: it is one, or none, as the contract says',
  'scope: its parts are those of its text',
  'fill: the text with the values in it, or none',
  'fill: what was filled parses to the same',
  'covers: any one value in a parameter, itself otherwise',
  'set: contains what one of it covers',
  'set: contains all when it contains each',
  'opens: the very text and no other',
  'opens: the words of a claim as the claim that holds them',
] as const;
type Invariant = (typeof INVARIANTS)[number];

/** An invariant that did not hold. */
class Broken extends Error {
  constructor(invariant: Invariant, actual: unknown, expected: unknown) {
    super(`${invariant} (${JSON.stringify(actual)}, expected ${JSON.stringify(expected)})`);
  }
}

function same(invariant: Invariant, actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Broken(invariant, actual, expected);
}

function sameList(invariant: Invariant, actual: readonly string[], expected: readonly string[]): void {
  const alike = actual.length === expected.length && actual.every((item, at) => item === expected[at]);
  if (!alike) throw new Broken(invariant, actual, expected);
}

interface PolicyUnderTest {
  readonly keys: readonly string[];
  readonly routes: oracle.Routes;
  readonly match: ReturnType<Subject['match']>;
}

class GuardFuzz {
  readonly counts = { paths: 0, matched: 0, scopes: 0, filled: 0, opened: 0 };
  readonly findings: string[] = [];
  readonly #subject: Subject;
  readonly #inputs: GuardInputs;
  readonly #policies: readonly PolicyUnderTest[];

  constructor(subject: Subject, seed: number) {
    this.#subject = subject;
    this.#inputs = new GuardInputs(chanceOf(seed));
    this.#policies = POLICIES.map((routes) => ({ routes, keys: Object.keys(routes), match: subject.match(routes) }));
  }

  run(at: number): void {
    if (at % 2 === 0) {
      const policy = this.#policies[(at / 2) % this.#policies.length];
      if (policy === undefined) return;
      const [url, method] = [this.#inputs.target(policy.keys), this.#inputs.method()];
      this.#judge([method, url], () => this.#tryTarget(policy, method, url));
    } else {
      const texts = [this.#inputs.scope(), this.#inputs.scope(), this.#inputs.scope()] as const;
      const values = this.#inputs.values();
      this.#judge([...texts, values], () => this.#tryScopes(texts, values));
    }
  }

  #judge(input: readonly unknown[], attempt: () => void): void {
    try {
      attempt();
    } catch (error) {
      const broken = error instanceof Broken ? error : new Broken('never throws', String(error), undefined);
      this.findings.push(`${broken.message}: ${JSON.stringify(input)}`);
    }
  }

  #tryTarget(policy: PolicyUnderTest, method: string, url: string): void {
    const segments = this.#subject.parsePath(url);
    if (segments !== undefined) {
      this.counts.paths += 1;
      judgePath(url, segments, this.#subject);
    }
    const expected = oracle.readPathByHand(url);
    same('path: it is one, or none, as the contract says', segments !== undefined, expected !== undefined);
    this.#tryMatch(policy, method, url, expected);
  }

  #tryMatch(
    { routes, match }: PolicyUnderTest,
    method: string,
    url: string,
    segments: readonly string[] | undefined,
  ): void {
    const matched = match(method, url);
    const refused = isRefusal(matched) ? matched.refused : undefined;
    if (segments === undefined) return same('route: what is no path is refused as such', refused, 'malformed_path');
    const [found] = oracle.findByHand(routes, method, segments);
    if (found === undefined) return same('route: what no route names is closed', refused, 'route_not_allowed');
    const filled = oracle.fillByHand(routes[found.route] ?? '', Object.fromEntries(found.values));
    if (filled === undefined)
      return same('route: a value that no scope can hold is refused', refused, 'value_not_allowed');
    if (isRefusal(matched)) throw new Broken('route: what is open is let in', refused, found.route);
    this.counts.matched += 1;
    same('route: the leftmost literal wins', matched.route, found.route);
    const written = found.route
      .slice(method.length + 1)
      .replaceAll(/\{([^}]*)\}/g, (_, name: string) => String(oracle.ownValue(matched.values, name)));
    same('route: the pattern with its values is the path', written, `/${segments.join('/')}`);
    const values = Object.entries(matched.values);
    same('route: the values are those of the path, and no more', JSON.stringify(values), JSON.stringify(found.values));
    const { text, parameters } = matched.scope;
    sameList('route: the scope is its template with the values', [text, ...parameters], [filled]);
    this.#tryClaim(matched.scope, [text]);
  }

  #tryClaim(required: Scope, texts: readonly string[]): void {
    const claim = this.#inputs.claim(texts);
    const opened = this.#subject.opens(claim, required);
    const expected = oracle.opensByHand(claim, required.text);
    same('opens: the very text and no other', opened, expected);
    const words = claim.split(' ');
    same('opens: the words of a claim as the claim that holds them', this.#subject.opensOne(words, required), expected);
    if (opened) this.counts.opened += 1;
  }

  #tryScopes(texts: readonly string[], values: Readonly<Record<string, string>>): void {
    const scopes = texts.flatMap((text) => this.#tryScope(text) ?? []);
    const [one, ...others] = scopes;
    if (one === undefined) return;
    const filled = this.#subject.fillScope(one, values);
    const expected = oracle.fillByHand(one.text, values);
    same('fill: the text with the values in it, or none', isScope(filled) ? filled.text : undefined, expected);
    this.#trySet(others, one);
    if (isScope(filled)) {
      this.counts.filled += 1;
      const parsed = JSON.stringify(this.#subject.parseScope(filled.text));
      same('fill: what was filled parses to the same', JSON.stringify(filled), parsed);
      this.#trySet(scopes, filled);
    }
    this.#tryClaim(isScope(filled) ? filled : one, [...texts, one.text]);
  }

  #tryScope(text: string): Scope | undefined {
    const scope = this.#subject.parseScope(text);
    const expected = oracle.readScopeByHand(text);
    same('scope: it is one, or none, as the contract says', isScope(scope), expected !== undefined);
    if (!isScope(scope) || expected === undefined) return undefined;
    this.counts.scopes += 1;
    const { segments, verb, parameters } = expected;
    const parts = JSON.stringify({ text, segments, verb, parameters });
    same('scope: its parts are those of its text', JSON.stringify(scope), parts);
    return scope;
  }

  #trySet(granted: readonly Scope[], requested: Scope): void {
    const covering = granted.map((scope) => oracle.coversByHand(scope.text, requested.text));
    for (const [at, scope] of granted.entries()) {
      const covered = this.#subject.covers(scope, requested);
      same('covers: any one value in a parameter, itself otherwise', covered, covering[at]);
    }
    const expected = covering.includes(true);
    same('set: contains what one of it covers', this.#subject.contains(granted, requested), expected);
    // Each scope of a set is in it, but for a reserved template; so the set holds both when it holds the one.
    const first = granted.slice(0, 1);
    const holdsFirst = first.every(({ text }) => granted.some((one) => oracle.coversByHand(one.text, text)));
    const both = this.#subject.containsAll(granted, [requested, ...first]);
    same('set: contains all when it contains each', both, expected && holdsFirst);
  }
}

/** A path that was accepted: every other reader comes to the same segments, and they to the same path. */
function judgePath(url: string, segments: readonly string[], subject: Subject): void {
  const path = oracle.pathByHand(url);
  const raw = path === '/' ? [] : path.slice(1).split('/');
  // It resolves dots, and takes for a host what begins with two slashes.
  same('path: the web reads the same path', new URL(path, 'http://api.example').pathname, path);
  sameList('path: each segment is decoded once', segments, raw.map(decodeURIComponent));
  const harmful = segments.filter((segment) => /^\.{0,2}$|[/\\;]/.test(segment) || oracle.hasControl(segment));
  sameList('path: no segment holds what another reader could take for more', harmful, []);
  sameList('path: a second decoding changes nothing', segments.map(decodeAgain), segments);
  sameList('path: the segments written again are the path', segments.map(oracle.spell), raw.map(oracle.respell));
  const again = subject.parsePath(`/${segments.map(oracle.spell).join('/')}`);
  // Escapes make a path longer: one near the limit may pass it.
  if (path.length < LONG) sameList('path: the segments written and read again are the same', again ?? [], segments);
}

/** A third of the longest path, in characters: with each escaped it is still one. */
const LONG = 2_700;

function decodeAgain(segment: string): string {
  return segment.includes('%') ? segment.replaceAll(/%[0-9a-f]{2}/gi, '?') : decodeURIComponent(segment);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '10000000' },
      seed: { type: 'string', default: String(process.pid) },
      json: { type: 'boolean', default: false },
      'planted-defect': { type: 'string' },
    },
  });
  const [cases, seed] = [Number(values.cases), Number(values.seed)];
  if (!Number.isInteger(cases) || cases < 1) throw new RangeError('--cases is a whole number from 1');
  if (!Number.isInteger(seed)) throw new RangeError('--seed is a whole number');
  const defect = values['planted-defect'];
  const startedAt = performance.now();
  const { findings, ...figures } = fuzzGuard({ cases, seed, ...(defect === undefined ? {} : { defect }) });
  const seconds = (performance.now() - startedAt) / 1000;
  endRig(
    {
      ...figures,
      violations: findings.length,
      seed,
      seconds: Math.round(seconds * 10) / 10,
      casesPerSecond: Math.round(figures.cases / seconds),
    },
    { findings, json: values.json },
  );
}
