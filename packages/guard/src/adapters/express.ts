/** The guard in front of an Express app. */
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { RouteAccess } from '../decision.ts';
import { readNodeRequest } from './node_request.ts';
import { RouteGuard, type Served } from './route_guard.ts';
import type { Guard } from '../guard.ts';
import { pathOf } from '../policy/path.ts';
import type { Policy } from '../policy/policy.ts';

export interface Protection<Route extends string> {
  /**
   * For `app.use`, before every route: refuses what the policy does not open for the token, a route that nobody knows
   * among it, and hands the rest on.
   */
  readonly check: RequestHandler;
  /**
   * The handler of a route of the policy. Throws a TypeError, at once, for a route that the policy does not have. The
   * handler has the values on which was decided: use these, and not `request.params`.
   * It never runs for a request that was decided for another route, or for none: that is an error, for the error
   * handlers of the app.
   */
  readonly route: <Own extends Route>(
    served: Served<Own>,
    handler: (request: Request, response: Response, access: RouteAccess<Own>, next: NextFunction) => unknown,
  ) => RequestHandler;
}

/** A guard for the whole of an app: `app.use(check)`, then `app.get('/a/:id', route('GET /a/{id}', handler))`. */
export function protect<Route extends string>(guard: Guard, policy: Policy<Route>): Protection<Route> {
  const routeGuard = new RouteGuard(guard, policy);
  return {
    check: async (request, response, next) => {
      // The path that the client called: `request.url` is what a mount, which ignores case, has left of it.
      const url = pathOf(request.originalUrl);
      // The app's own `trust proxy` says whose X-Forwarded-For is believed.
      const from = { ...readNodeRequest(request), ...(request.ip === undefined ? {} : { address: request.ip }) };
      const decision = await routeGuard.decide(request, { method: request.method, url, ...from });
      if (!decision.allowed) {
        // Not `response.json`: it would add to the headers and might answer 304.
        response.writeHead(decision.status, decision.headers).end(JSON.stringify(decision.body));
        return;
      }
      for (const [name, value] of Object.entries(decision.headers)) response.setHeader(name, value);
      next();
    },
    route: (served, handler) => {
      routeGuard.assertKnown(served);
      return (request, response, next) => handler(request, response, routeGuard.accessOf(request, served), next);
    },
  };
}
