/** The guard for a `node:http` listener. Express and Fastify (`request.raw`) use the same objects. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RouteAccess } from '../decision.ts';
import { reportFailure } from './failure.ts';
import { readNodeRequest } from './node_request.ts';
import type { Guard } from '../guard.ts';
import { answerMetadata } from './metadata_endpoint.ts';
import { pathOf } from '../policy/path.ts';
import type { Policy } from '../policy/policy.ts';

export { protectUpgrade, type UpgradeListener } from './upgrade.ts';

/**
 * Wraps a listener so that it gets only requests that the policy allows for their token, along with the access. All
 * others get the response of RFC 6750 §3. If the handler fails, the response is a bare 500 and the error is printed: a
 * rejecting listener would end the process.
 *
 * Node passes upgrades to a different listener, which sees all of them: guard it with `protectUpgrade`. A
 * `checkContinue` listener also takes requests away from this one: give it what `protect` returns.
 */
export function protect<Route extends string>(
  guard: Guard,
  policy: Policy<Route>,
  handler: (request: IncomingMessage, response: ServerResponse, access: RouteAccess<Route>) => void | Promise<void>,
): (request: IncomingMessage, response: ServerResponse) => void {
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '' } = request;
    // A request line may name any host (RFC 9112 §3.2.2), and that is only what the client claims.
    const url = pathOf(request.url ?? '');
    try {
      const described = answerMetadata(guard, policy, { method, url });
      if (described !== undefined) {
        response.writeHead(described.status, described.headers).end(JSON.stringify(described.body));
        return;
      }
      const decision = await guard.checkRoute(policy, { method, url, ...readNodeRequest(request) });
      if (decision.allowed) {
        for (const [name, value] of Object.entries(decision.headers)) response.setHeader(name, value);
        return await handler(request, response, decision);
      }
      const { status, headers: fields, body } = decision;
      response.writeHead(status, fields).end(JSON.stringify(body));
    } catch (error) {
      reportFailure(error);
      answerFailure(response);
    }
  };
  return (request, response) => void handle(request, response);
}

/**
 * Drops all headers that the handler had prepared: a length or encoding of another body, a cookie, caching permission.
 */
function answerFailure(response: ServerResponse): void {
  if (response.writableEnded) return;
  if (response.headersSent) {
    // Half a response must not pass for a complete one.
    response.destroy();
    return;
  }
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  const headers = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };
  response.writeHead(500, 'Internal Server Error', headers).end('{"error":"server_error"}');
}
