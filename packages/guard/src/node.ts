/** The guard around a listener of `node:http`. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccessBy } from './fetch.ts';
import type { Guard } from './guard.ts';
import type { Policy } from './policy.ts';

/** A listener whose handler is called only for requests that the policy lets in. Throws a `TypeError` for a policy that cannot be meant. */
export function protect<const Routes extends Policy>(
  guard: Guard,
  policy: Routes,
  handler: (request: IncomingMessage, response: ServerResponse, access: AccessBy<Routes>) => void | Promise<void>,
): (request: IncomingMessage, response: ServerResponse) => void {
  const compiled = guard.compile(policy);
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const access = await guard.checkRoute(compiled, {
      method: request.method,
      url: request.url,
      headers: authorizationsOf(request),
    });
    if (access.allowed) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the route comes out of this very policy
      return await handler(request, response, access as unknown as AccessBy<Routes>);
    }
    response.writeHead(access.status, access.headers).end(JSON.stringify(access.body));
  };
  return (request, response) => {
    handle(request, response).catch((error: unknown) => {
      // The handler's own failure: its caller must not wait for ever, and its owner must hear of it.
      if (response.headersSent) response.destroy();
      else response.writeHead(500, { 'content-type': 'application/json' }).end('{"error":"server_error"}');
      console.error(error);
    });
  };
}

/** Node keeps the first of two Authorization headers and says nothing; the raw ones are all there. */
function authorizationsOf({ rawHeaders }: IncomingMessage): { readonly authorization: readonly string[] | undefined } {
  const all = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'authorization');
  return { authorization: all.length === 0 ? undefined : all };
}
