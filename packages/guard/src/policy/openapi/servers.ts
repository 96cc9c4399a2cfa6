/** Reads from `servers` which path requests begin with. */
import { isObject } from '@hallpass/protocol';
import { faultAt, inside, own, quote, type PolicyFault, type Spot } from './faults.ts';
import type { ObjectKind, Stranger } from './members.ts';

/** Finds a member that is not understood. */
type Check = (kind: ObjectKind, spot: Spot) => Stranger | undefined;

/** The one path that all servers share; a fault if they differ, or if one has no definite path. */
export function readPrefix(servers: Spot, check: Check): string | PolicyFault {
  if (!Array.isArray(servers.value)) return faultAt('bad_server', servers, 'servers must be a list of objects.');
  const prefixes = new Set<string>();
  for (const index of servers.value.keys()) {
    const server = inside(servers, String(index));
    const stranger = findStranger(server, check);
    if (stranger !== undefined)
      return faultAt('unknown_member', stranger.spot, `${stranger.sentence} ${SAY_BASE_PATH}`);
    const url = inside(server, 'url').value;
    const found = typeof url === 'string' ? serverPaths(url, inside(server, 'variables').value) : undefined;
    if (found === undefined) {
      const said = typeof url === 'string' ? quote(url) : 'A server without a url';
      return faultAt('bad_server', servers, `${said} does not say which path requests begin with. ${SAY_BASE_PATH}`);
    }
    for (const prefix of found) prefixes.add(prefix);
  }
  const [prefix = '', ...others] = prefixes;
  if (others.length === 0) return prefix;
  const paths = [...prefixes].map(quote).join(', ');
  return faultAt('bad_server', servers, `These servers have different paths: ${paths}. ${SAY_BASE_PATH}`);
}

const SAY_BASE_PATH = `Say which one the guard will see: basePath: '/v1', or --base-path /v1.`;

function findStranger(server: Spot, check: Check): Stranger | undefined {
  const variables = inside(server, 'variables');
  const names = isObject(variables.value) ? Object.keys(variables.value) : [];
  return (
    check('a server', server) ??
    names.map((name) => check('a server variable', inside(variables, name))).find((stranger) => stranger !== undefined)
  );
}

/** The most paths that the variables of one server may produce. */
const SERVER_PATHS_MAX = 100;

/** Scheme and host may contain variables. The path begins after them. */
const SCHEME_AND_HOST = /^(?:[A-Za-z][A-Za-z0-9+.-]*:|\{[^{}/]*\}:)?\/\/[^/?#]*/;

/** The paths of a server's URL, one for each value of its variables; undefined if they are not definite. */
function serverPaths(url: string, variables: unknown): readonly string[] | undefined {
  const path = url.replace(SCHEME_AND_HOST, '');
  if (path !== '' && !path.startsWith('/')) return undefined;
  let paths = [path];
  for (const [whole, name = ''] of path.matchAll(/\{([^{}]*)\}/g)) {
    const values = valuesOf(isObject(variables) ? own(variables, name) : undefined);
    if (values === undefined || paths.length * values.length > SERVER_PATHS_MAX) return undefined;
    paths = paths.flatMap((text) => values.map((value) => text.replaceAll(whole, () => value)));
  }
  if (paths.some((text) => /[?#{}]/.test(text))) return undefined;
  return paths.map((text) => text.replace(/\/$/, ''));
}

/** The values of a variable; undefined if they are not definite. */
function valuesOf(variable: unknown): readonly string[] | undefined {
  if (!isObject(variable)) return undefined;
  const [listed, otherwise] = [own(variable, 'enum'), own(variable, 'default')];
  if (listed !== undefined && !Array.isArray(listed)) return undefined;
  // A default that is not among the enum's values is wrong, but tools use it.
  const values = [
    ...new Set<unknown>([...((listed ?? []) as readonly unknown[]), ...[otherwise].filter((one) => one !== undefined)]),
  ];
  // A number is what YAML makes of an unquoted `default: 2`.
  if (values.length === 0 || !values.every((value) => typeof value === 'string' || typeof value === 'number'))
    return undefined;
  return values.map(String);
}
