/**
 * Shared by the framework adapters. A framework's own router may choose another route than the policy did: it may
 * ignore case or trailing slashes, take the first of two matches, or work on a method or path that was changed on the
 * way. So each request is decided once, and a handler gets the decision only if it's for the handler's route.
 */
import { findNearest } from '@hallpass/protocol';
import type { RouteAccess } from '../decision.ts';
import type { Guard } from '../guard.ts';
import { answerMetadata } from './metadata_endpoint.ts';
import type { Policy } from '../policy/policy.ts';
import type { GuardedRequest } from '../request.ts';

/** A response that ends the request: send it unchanged, with the body as JSON. */
export interface Answer {
  readonly allowed: false;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
}

/** The policy's routes that a handler serves; more than one for `GET` and `HEAD`, for example. */
export type Served<Route extends string> = Route | readonly Route[];

/** Decides each request once, and hands the decision to handlers of its route only. */
export class RouteGuard<Route extends string> {
  readonly #guard: Guard;
  readonly #policy: Policy<Route>;
  readonly #opened = new WeakMap<object, RouteAccess>();

  constructor(guard: Guard, policy: Policy<Route>) {
    this.#guard = guard;
    this.#policy = policy;
  }

  /** Decides, and stores an allowed decision under `key`: an object that this request's handlers can also reach. */
  async decide(key: object, request: GuardedRequest): Promise<RouteAccess<Route> | Answer> {
    const described = answerMetadata(this.#guard, this.#policy, request);
    if (described !== undefined) return { allowed: false, ...described };
    const decision = await this.#guard.checkRoute(this.#policy, request);
    if (decision.allowed) this.#opened.set(key, decision);
    return decision;
  }

  /**
   * Throws a TypeError if a handler is for a route that the policy doesn't have, because it would fail at its first
   * request.
   */
  assertKnown(served: Served<Route>): void {
    assertServed(this.#policy, served);
  }

  /**
   * The stored access, for a handler of these routes. Throws if the request was allowed for another route, or not
   * checked at all.
   */
  accessOf<Own extends Route>(key: object, served: Served<Own>): RouteAccess<Own> {
    const access = this.#opened.get(key);
    const routes: readonly string[] = typeof served === 'string' ? [served] : served;
    if (access === undefined) {
      throw new Error(`This request wasn't checked for '${routes.join("', '")}': register 'check' before the route.`);
    }
    if (!routes.includes(access.route)) {
      throw new Error(
        `The policy allowed '${access.route}', but the router chose the handler of '${routes.join("', '")}': ` +
          'register literal segments before parameters, make the router case-sensitive, and rewrite methods and paths ' +
          'before the guard.',
      );
    }
    // oxlint-disable-next-line no-unsafe-type-assertion -- its route is one of these
    return access as RouteAccess<Own>;
  }
}

/** How many similar routes are suggested for a misspelled one. */
const SUGGESTIONS_MAX = 3;

/** Throws a TypeError for a route that the policy doesn't have, and suggests similar ones. */
export function assertServed<Route extends string>({ routes }: Policy<Route>, served: Served<Route>): void {
  const named: readonly string[] = typeof served === 'string' ? [served] : served;
  if (named.length === 0) throw new TypeError('A handler needs at least one route of the policy.');
  const unknown = named.find((route) => !routes.some((known) => known === route));
  if (unknown === undefined) return;
  const meant = findNearest(unknown, routes, SUGGESTIONS_MAX).map((route) => `'${route}'`);
  throw new TypeError(
    `The policy has no route '${unknown}'. ${meant.length === 0 ? 'The policy is empty.' : `Did you mean ${meant.join(' or ')}?`}`,
  );
}
