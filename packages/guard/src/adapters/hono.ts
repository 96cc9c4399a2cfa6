/** The guard in front of a Hono app, on any runtime. */
import type { Context, Env, Handler, MiddlewareHandler } from 'hono';
import type { RouteAccess } from '../decision.ts';
import { RouteGuard, type Served } from './route_guard.ts';
import type { Guard } from '../guard.ts';
import type { Policy } from '../policy/policy.ts';

type Reply = Response | Promise<Response>;

export interface Protection<Route extends string> {
  /**
   * For `app.use`, before every route: refuses what the policy does not open for the token, a route that nobody knows
   * among it, and hands the rest on.
   */
  readonly check: MiddlewareHandler;
  /**
   * The handler of a route of the policy. Throws a TypeError, at once, for a route that the policy does not have. The
   * handler has the values on which was decided: use these, and not `c.req.param`. It
   * never runs for a request that was decided for another route, or for none: that is an error, for `app.onError`.
   */
  readonly route: <Own extends Route, Variables extends Env, Answered extends Reply>(
    served: Served<Own>,
    handler: (c: Context<Variables>, access: RouteAccess<Own>) => Answered,
  ) => Handler<Variables, string, object, Answered>;
}

/** A guard for the whole of an app: `app.use(check)`, then `app.get('/a/:id', route('GET /a/{id}', handler))`. */
export function protect<Route extends string>(guard: Guard, policy: Policy<Route>): Protection<Route> {
  const routeGuard = new RouteGuard(guard, policy);
  return {
    check: async (c, next) => {
      const { method, url, headers } = c.req.raw;
      const decision = await routeGuard.decide(c, { method, url, headers });
      if (!decision.allowed) {
        const { status, headers: fields, body } = decision;
        // By way of `c`, so that what was set before us (of CORS, say) goes along.
        return c.body(JSON.stringify(body), new Response(undefined, { status, headers: fields }));
      }
      await next();
      // A switch of protocols is no answer to add to, and cannot be copied.
      if (c.res.status < 200) return;
      for (const [name, value] of Object.entries(decision.headers)) c.header(name, value);
    },
    route: (served, handler) => {
      routeGuard.assertKnown(served);
      return (c) => handler(c, routeGuard.accessOf(c, served));
    },
  };
}
