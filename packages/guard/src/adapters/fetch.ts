/** The guard in front of a handler of web requests: Hono, workers, Deno, Bun, service workers. */
import type { Access, RouteAccess } from '../decision.ts';
import type { Guard } from '../guard.ts';
import { answerMetadata } from './metadata_endpoint.ts';
import type { Policy } from '../policy/policy.ts';

/**
 * A handler behind a guard: it sees only requests that the policy opens for their token, and who asks for what beside
 * them. All others are answered as RFC 6750 §3 has it. Throws what the handler throws, and nothing else.
 *
 * The URL of a `Request` is normalised before anybody sees it (`/a/../b` is `/b`); guard and handler see the same one.
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

/** A handler's answer with these fields in the place of its own. */
function withHeaders(response: Response, fields: Access['headers']): Response {
  // A switch of protocols and a network error are no answers to add to, and cannot be copied.
  if (Object.keys(fields).length === 0 || response.status < 200) return response;
  const { status, statusText } = response;
  // A copy: the headers of a redirect, or of what was fetched elsewhere, cannot be changed.
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(fields)) headers.set(name, value);
  return new Response(response.body, { status, statusText, headers });
}
