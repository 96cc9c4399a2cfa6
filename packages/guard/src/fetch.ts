/** The guard around a fetch handler: `(request: Request) => Promise<Response>`, as in Deno, Bun, workers and Hono. */
import type { Guard, RouteAccess } from './guard.ts';
import type { Policy, RouteParameter } from './policy.ts';

/** Who was let in, by which route of the policy, with that route's parameters. */
export type AccessBy<Routes extends Policy> = {
  [Route in keyof Routes & string]: Omit<RouteAccess, 'route' | 'values'> & {
    readonly route: Route;
    readonly values: { readonly [Name in RouteParameter<Route>]: string };
  };
}[keyof Routes & string];

/** A handler that is called only for requests that the policy lets in. Throws a `TypeError` for a policy that cannot be meant. */
export function protect<const Routes extends Policy>(
  guard: Guard,
  policy: Routes,
  handler: (request: Request, access: AccessBy<Routes>) => Response | Promise<Response>,
): (request: Request) => Promise<Response> {
  const compiled = guard.compile(policy);
  return async (request) => {
    const access = await guard.checkRoute(compiled, request);
    if (!access.allowed) return Response.json(access.body, { status: access.status, headers: access.headers });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the route comes out of this very policy
    return await handler(request, access as unknown as AccessBy<Routes>);
  };
}
