/**
 * What the adapters of frameworks share. A framework has a router of its own, which may come to another route than the
 * policy did: it ignores case, forgives slashes, takes the first of two that fit, or was given another method or path on
 * the way. So a request is decided on once, and a handler gets the decision only if it is about the handler's route.
 */
import { findNearest } from '@hallpass/protocol';
import type { RouteAccess } from '../decision.ts';
import type { Guard } from '../guard.ts';
import { answerMetadata } from './metadata_endpoint.ts';
import type { Policy } from '../policy/policy.ts';
import type { GuardedRequest } from '../request.ts';

/** The end of a request that goes no further: to be sent as it is, the body as JSON. */
export interface Answer {
  readonly allowed: false;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
}

/** The policy's routes that a handler is for; several where one serves `GET` and `HEAD`, say. */
export type Served<Route extends string> = Route | readonly Route[];

export class RouteGuard<Route extends string> {
  readonly #guard: Guard;
  readonly #policy: Policy<Route>;
  readonly #opened = new WeakMap<object, RouteAccess>();

  constructor(guard: Guard, policy: Policy<Route>) {
    this.#guard = guard;
    this.#policy = policy;
  }

  /** Decides, and remembers what is allowed under `key`: an object that the handlers of this request will have too. */
  async decide(key: object, request: GuardedRequest): Promise<RouteAccess<Route> | Answer> {
    const described = answerMetadata(this.#guard, this.#policy, request);
    if (described !== undefined) return { allowed: false, ...described };
    const decision = await this.#guard.checkRoute(this.#policy, request);
    if (decision.allowed) this.#opened.set(key, decision);
    return decision;
  }

  /** Throws a TypeError when a handler is for a route that the policy does not have: it would fail at its first request. */
  assertKnown(served: Served<Route>): void {
    assertServed(this.#policy, served);
  }

  /** What was allowed, for a handler of these routes. Throws when that was another one, or nothing. */
  accessOf<Own extends Route>(key: object, served: Served<Own>): RouteAccess<Own> {
    const access = this.#opened.get(key);
    const routes: readonly string[] = typeof served === 'string' ? [served] : served;
    if (access === undefined) {
      throw new Error(`Nobody has decided on this request for '${routes.join("', '")}': register 'check' before it.`);
    }
    if (!routes.includes(access.route)) {
      throw new Error(
        `The policy allowed '${access.route}', and the router chose the handler of '${routes.join("', '")}': ` +
          'register literal segments before parameters, let the router mind case, and rewrite methods and paths ' +
          'before the guard.',
      );
    }
    // oxlint-disable-next-line no-unsafe-type-assertion -- its route is one of these
    return access as RouteAccess<Own>;
  }
}

/** How many routes a misspelt one might have meant, at most, are named. */
const SUGGESTIONS_MAX = 3;

/** Throws a TypeError for a route that a policy does not have, with those that it may have meant. */
export function assertServed<Route extends string>({ routes }: Policy<Route>, served: Served<Route>): void {
  const named: readonly string[] = typeof served === 'string' ? [served] : served;
  if (named.length === 0) throw new TypeError('A handler is for at least one route of the policy, and none is named.');
  const unknown = named.find((route) => !routes.some((known) => known === route));
  if (unknown === undefined) return;
  const meant = findNearest(unknown, routes, SUGGESTIONS_MAX).map((route) => `'${route}'`);
  throw new TypeError(
    `The policy has no route '${unknown}'. ${meant.length === 0 ? 'It has none at all.' : `Did you mean ${meant.join(' or ')}?`}`,
  );
}
