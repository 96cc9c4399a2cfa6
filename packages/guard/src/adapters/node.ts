/** The guard in front of a `node:http` listener; Express and Fastify (`request.raw`) have the same objects. */
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
 * A listener behind a guard: it sees only requests that the policy opens for their token, and who asks for what beside
 * them. All others are answered as RFC 6750 §3 has it. When the handler fails, the answer is a bare 500 and the error
 * is printed: a listener that rejects would end the process.
 *
 * Node gives upgrades to another listener, which sees every one of them: guard it with `protectUpgrade`. A listener for
 * `checkContinue` takes requests away from this one in the same way; give it what `protect` returns.
 */
export function protect<Route extends string>(
  guard: Guard,
  policy: Policy<Route>,
  handler: (request: IncomingMessage, response: ServerResponse, access: RouteAccess<Route>) => void | Promise<void>,
): (request: IncomingMessage, response: ServerResponse) => void {
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '' } = request;
    // A request line may name any host at all (RFC 9112 §3.2.2); that is nobody's address but the client's own idea.
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

/** Nothing that the handler had prepared goes along: a length or an encoding of another body, a cookie, leave to cache. */
function answerFailure(response: ServerResponse): void {
  if (response.writableEnded) return;
  if (response.headersSent) {
    // Half an answer must not pass for a whole one.
    response.destroy();
    return;
  }
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  const headers = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };
  response.writeHead(500, 'Internal Server Error', headers).end('{"error":"server_error"}');
}
