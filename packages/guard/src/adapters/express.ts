/** The guard for Express apps. */
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { RouteAccess } from '../decision.ts';
import { readNodeRequest } from './node_request.ts';
import { RouteGuard, type Served } from './route_guard.ts';
import type { Guard } from '../guard.ts';
import { pathOf } from '../policy/path.ts';
import type { Policy } from '../policy/policy.ts';

/** A policy's guard for Express. */
export interface Protection<Route extends string> {
  /**
   * For `app.use`, before all routes. Refuses requests that the policy doesn't allow for their token, including unknown
   * routes, and passes the others on.
   */
  readonly check: RequestHandler;
  /**
   * Wraps the handler of one of the policy's routes. Throws a TypeError at once for a route that the policy doesn't
   * have. The handler gets the values that the decision was based on: use these rather than `request.params`. It never
   * runs for a request that was allowed for another route, or not checked at all: that is an error, passed to the app's
   * error handlers.
   */
  readonly route: <Own extends Route>(
    served: Served<Own>,
    handler: (request: Request, response: Response, access: RouteAccess<Own>, next: NextFunction) => unknown,
  ) => RequestHandler;
}

/** Guards a whole app: `app.use(check)`, then `app.get('/a/:id', route('GET /a/{id}', handler))`. */
export function protect<Route extends string>(guard: Guard, policy: Policy<Route>): Protection<Route> {
  const routeGuard = new RouteGuard(guard, policy);
  return {
    check: async (request, response, next) => {
      // The path that the client called: `request.url` lacks the mount path, which Express matches without regard to
      // case.
      const url = pathOf(request.originalUrl);
      // The app's own `trust proxy` setting decides whose X-Forwarded-For is trusted.
      const from = { ...readNodeRequest(request), ...(request.ip === undefined ? {} : { address: request.ip }) };
      const decision = await routeGuard.decide(request, { method: request.method, url, ...from });
      if (!decision.allowed) {
        // Not `response.json`, which would add headers and might answer 304.
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
