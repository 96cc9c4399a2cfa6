/** The guard for handlers of web requests: Hono, workers, Deno, Bun, service workers. */
import type { Access, RouteAccess } from '../decision.ts';
import type { Guard } from '../guard.ts';
import { answerMetadata } from './metadata_endpoint.ts';
import type { Policy } from '../policy/policy.ts';

/**
 * Wraps a handler so that it gets only requests that the policy allows for their token, along with the access. All
 * others get the response of RFC 6750 §3. Throws only what the handler throws.
 *
 * A `Request` normalizes its URL before anyone sees it (`/a/../b` becomes `/b`), so the guard and the handler see the
 * same one.
 */
export function protect<Route extends string>(
  guard: Guard,
  policy: Policy<Route>,
  handler: (request: Request, access: RouteAccess<Route>) => Response | Promise<Response>,
): (request: Request) => Promise<Response> {
  return async (request) => {
    const described = answerMetadata(guard, policy, request);
    if (described !== undefined) return Response.json(described.body, described);
    const decision = await guard.checkRoute(policy, request);
    if (decision.allowed) return withHeaders(await handler(request, decision), decision.headers);
    const { status, headers, body } = decision;
    return new Response(JSON.stringify(body), { status, headers });
  };
}

/** The handler's response with these headers set. */
function withHeaders(response: Response, fields: Access['headers']): Response {
  // Protocol switches and network errors can't be copied, and there's nothing to add to them.
  if (Object.keys(fields).length === 0 || response.status < 200) return response;
  const { status, statusText } = response;
  // A copy, because the headers of redirects and of fetched responses are immutable.
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(fields)) headers.set(name, value);
  return new Response(response.body, { status, statusText, headers });
}
