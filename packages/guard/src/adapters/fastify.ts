/** The guard for Fastify apps. */
import { utf8 } from '@hallpass/protocol';
import type {
  FastifyReply,
  FastifyRequest,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerBase,
  RawServerDefault,
  RouteGenericInterface,
  RouteHandlerMethod,
} from 'fastify';
import type { RouteAccess } from '../decision.ts';
import { readNodeRequest } from './node_request.ts';
import { RouteGuard, type Served } from './route_guard.ts';
import type { Guard } from '../guard.ts';
import { pathOf } from '../policy/path.ts';
import type { Policy } from '../policy/policy.ts';

type Native<Shape extends RouteGenericInterface, Server extends RawServerBase> = RouteHandlerMethod<
  Server,
  RawRequestDefaultExpression<Server>,
  RawReplyDefaultExpression<Server>,
  Shape
>;

/** A policy's guard for Fastify. */
export interface Protection<Route extends string> {
  /**
   * For `app.addHook('onRequest', check)` at the root, before anything is registered. Refuses requests that the policy
   * doesn't allow for their token, including unknown routes, and passes the others on.
   */
  readonly check: <Server extends RawServerBase>(
    request: FastifyRequest<RouteGenericInterface, Server>,
    reply: FastifyReply<RouteGenericInterface, Server>,
  ) => Promise<unknown>;
  /**
   * Wraps the handler of one of the policy's routes. Throws a TypeError at once for a route that the policy doesn't
   * have. The handler gets the values that the decision was based on: use these rather than `request.params`. It never
   * runs for a request that was allowed for another route, or not checked at all: that is an error, passed to the app's
   * error handler.
   */
  readonly route: <
    Own extends Route,
    Shape extends RouteGenericInterface = RouteGenericInterface,
    Server extends RawServerBase = RawServerDefault,
  >(
    served: Served<Own>,
    handler: (
      request: FastifyRequest<Shape, Server>,
      reply: FastifyReply<Shape, Server>,
      access: RouteAccess<Own>,
    ) => ReturnType<Native<Shape, Server>>,
  ) => Native<Shape, Server>;
}

/** Guards a whole app: `app.addHook('onRequest', check)`, `app.get('/a/:id', route('GET /a/{id}', handler))`. */
export function protect<Route extends string>(guard: Guard, policy: Policy<Route>): Protection<Route> {
  const routeGuard = new RouteGuard(guard, policy);
  return {
    check: async (request, reply) => {
      // The URL that Fastify's router matches: the received one, unless the app rewrites it (`rewriteUrl`).
      const { method = '', url = '' } = request.raw;
      // The app's own `trustProxy` setting decides whose X-Forwarded-For is trusted.
      const from = { ...readNodeRequest(request.raw), address: request.ip };
      const decision = await routeGuard.decide(request, { method, url: pathOf(url), ...from });
      if (!decision.allowed) {
        // As bytes, because Fastify would add a charset to JSON, which has none (RFC 8259 §11).
        return reply
          .code(decision.status)
          .headers(decision.headers)
          .send(utf8(JSON.stringify(decision.body)));
      }
      // Set on the raw response, so that a handler that takes it over (`hijack`) sends them too.
      for (const [name, value] of Object.entries(decision.headers)) reply.raw.setHeader(name, value);
    },
    route: (served, handler) => {
      routeGuard.assertKnown(served);
      return (request, reply) => handler(request, reply, routeGuard.accessOf(request, served));
    },
  };
}
