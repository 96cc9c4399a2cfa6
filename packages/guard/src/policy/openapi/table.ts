/** A table of routes to a policy. */
import { refuse } from '@hallpass/protocol';
import { ClosedPaths, extentOf, plainNames } from '../closed_paths.ts';
import type { PolicyTable } from './routes.ts';
import { parsePath } from '../path.ts';
import { compilePolicy, type Policy } from '../policy.ts';

/** A scope for routes that are closed whatever a token holds; the match never gets as far as asking for it. */
const CLOSED = '/closed.closed';

/**
 * The policy of a table. Operations that it does not open are in it nevertheless: `/accounts/export`, closed, must not
 * fall to `/accounts/{accountID}` and be opened by the scope of that, and neither must `/accounts/a1:export`.
 */
export function compileTable({ routes, open, closed }: PolicyTable): Policy {
  const heads = routes.some(({ method }) => method === 'HEAD') ? closeHeads({ routes, open, closed }) : [];
  const paths = new ClosedPaths([...open, ...closed, ...heads]);
  const scopes = routes.map(({ route, scope }) => [route, scope] as const);
  const named = new Set(routes.map(({ route }) => plainNames(route)));
  const shut = [...paths.routes.keys()].filter((route) => !named.has(route));
  const { match } = compilePolicy<Readonly<Record<string, string>>>(
    Object.fromEntries([...scopes, ...shut.map((route) => [route, CLOSED] as const)]),
  );
  const opened = compilePolicy<Readonly<Record<string, string>>>(Object.fromEntries(scopes));
  const pathOf = new Map(routes.map(({ route, path }) => [route, path]));
  return {
    routes: [...new Set([...routes, ...open, ...closed].map(({ route }) => route))],
    scopes: opened.scopes,
    match: (method, url) => {
      const found = match(method, url);
      if (!('route' in found)) return found;
      const path = pathOf.get(found.route);
      const meant =
        path === undefined
          ? paths.routes.get(found.route)
          : paths.arePlain
            ? undefined
            : paths.find(method, parsePath(url) ?? [], path);
      return path === undefined || meant !== undefined
        ? refuse('route_not_allowed', { because: `closed operation: ${meant ?? found.route}` })
        : found;
    },
  };
}

/**
 * A framework answers HEAD by the handler of GET: where that has a path of its own, HEAD must not fall to a neighbour. An
 * operation for HEAD speaks for the requests of its own path alone, not for those of one that is like it.
 */
function closeHeads({ routes, open, closed }: PolicyTable): PolicyTable['closed'] {
  const all = [...routes.map(({ path, ...one }) => ({ ...one, template: path, prefix: '' })), ...open, ...closed];
  const documented = new Set(all.flatMap((one) => (one.method === 'HEAD' ? [extentOf(one)] : [])));
  return all.flatMap((one) => {
    if (one.method !== 'GET' || documented.has(extentOf(one))) return [];
    const { template, prefix, route } = one;
    return [{ method: 'HEAD', template, prefix, route: route.replace('GET', 'HEAD') }];
  });
}
