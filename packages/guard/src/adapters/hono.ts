/** The guard for Hono apps, on any runtime. */
import type { Context, Env, Handler, MiddlewareHandler } from 'hono';
import type { RouteAccess } from '../decision.ts';
import { RouteGuard, type Served } from './route_guard.ts';
import type { Guard } from '../guard.ts';
import type { Policy } from '../policy/policy.ts';

type Reply = Response | Promise<Response>;

/** A policy's guard for Hono. */
export interface Protection<Route extends string> {
  /**
   * For `app.use`, before all routes. Refuses requests that the policy doesn't allow for their token, including unknown
   * routes, and passes the others on.
   */
  readonly check: MiddlewareHandler;
  /**
   * Wraps the handler of one of the policy's routes. Throws a TypeError at once for a route that the policy doesn't
   * have. The handler gets the values that the decision was based on: use these rather than `c.req.param`. It never
   * runs for a request that was allowed for another route, or not checked at all: that is an error, passed to
   * `app.onError`.
   */
  readonly route: <Own extends Route, Variables extends Env, Answered extends Reply>(
    served: Served<Own>,
    handler: (c: Context<Variables>, access: RouteAccess<Own>) => Answered,
  ) => Handler<Variables, string, object, Answered>;
}

/** Guards a whole app: `app.use(check)`, then `app.get('/a/:id', route('GET /a/{id}', handler))`. */
export function protect<Route extends string>(guard: Guard, policy: Policy<Route>): Protection<Route> {
  const routeGuard = new RouteGuard(guard, policy);
  return {
    check: async (c, next) => {
      const { method, url, headers } = c.req.raw;
      const decision = await routeGuard.decide(c, { method, url, headers });
      if (!decision.allowed) {
        const { status, headers: fields, body } = decision;
        // Sent through `c`, so that headers set earlier (CORS, for example) are kept.
        return c.body(JSON.stringify(body), new Response(undefined, { status, headers: fields }));
      }
      await next();
      // A protocol switch can't be copied, and there's nothing to add to it.
      if (c.res.status < 200) return;
      for (const [name, value] of Object.entries(decision.headers)) c.header(name, value);
    },
    route: (served, handler) => {
      routeGuard.assertKnown(served);
      return (c) => handler(c, routeGuard.accessOf(c, served));
    },
  };
}
