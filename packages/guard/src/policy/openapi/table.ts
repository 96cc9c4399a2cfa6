/** Compiles a table of routes into a policy. */
import { refuse } from '@hallpass/protocol';
import { ClosedPaths, extentOf, plainNames } from '../closed_paths.ts';
import type { PolicyTable } from './routes.ts';
import { parsePath } from '../path.ts';
import { compilePolicy, type Policy } from '../policy.ts';

/** A placeholder scope for closed routes. They are refused before it matters. */
const CLOSED = '/closed.closed';

/**
 * Compiles a table. The policy includes the operations that it does not open: if `/accounts/export` is closed, it must not
 * be matched by `/accounts/{accountID}` and opened by that route's scope, and neither must `/accounts/a1:export`.
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
 * Frameworks answer HEAD with the handler of GET. So where a GET has a path, HEAD for that path must not be opened by a
 * neighbouring route. An operation for HEAD counts for its own path only, not for a similar one.
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
