/** The guard in front of a Fastify app. */
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

export interface Protection<Route extends string> {
  /**
   * For `app.addHook('onRequest', check)` at the root, before everything that is registered: refuses what the policy
   * does not open for the token, a route that nobody knows among it, and lets the rest go on.
   */
  readonly check: <Server extends RawServerBase>(
    request: FastifyRequest<RouteGenericInterface, Server>,
    reply: FastifyReply<RouteGenericInterface, Server>,
  ) => Promise<unknown>;
  /**
   * The handler of a route of the policy. Throws a TypeError, at once, for a route that the policy does not have. The
   * handler has the values on which was decided: use these, and not `request.params`.
   * It never runs for a request that was decided for another route, or for none: that is an error, for the error
   * handler of the app.
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

/** A guard for the whole of an app: `app.addHook('onRequest', check)`, `app.get('/a/:id', route('GET /a/{id}', handler))`. */
export function protect<Route extends string>(guard: Guard, policy: Policy<Route>): Protection<Route> {
  const routeGuard = new RouteGuard(guard, policy);
  return {
    check: async (request, reply) => {
      // What Fastify's router was given: the received one, unless the app itself has rewritten it (`rewriteUrl`).
      const { method = '', url = '' } = request.raw;
      // The app's own `trustProxy` says whose X-Forwarded-For is believed.
      const from = { ...readNodeRequest(request.raw), address: request.ip };
      const decision = await routeGuard.decide(request, { method, url: pathOf(url), ...from });
      if (!decision.allowed) {
        // Bytes, since Fastify would add a charset to JSON, which has none (RFC 8259 §11).
        return reply
          .code(decision.status)
          .headers(decision.headers)
          .send(utf8(JSON.stringify(decision.body)));
      }
      // On what lies beneath the reply, so that a handler that takes that over (`hijack`) sends them too.
      for (const [name, value] of Object.entries(decision.headers)) reply.raw.setHeader(name, value);
    },
    route: (served, handler) => {
      routeGuard.assertKnown(served);
      return (request, reply) => handler(request, reply, routeGuard.accessOf(request, served));
    },
  };
}
