/**
 * What would make the API behind a guard read another request than the guard decided on: another method, another path,
 * another caller, another host. A request that holds any of it is refused before its credentials are looked at.
 */
import { refuse, type Refusal } from '@hallpass/protocol';
import { isHeaders, readHeader, valuesOf, type GuardedRequest } from './request.ts';

/**
 * What frameworks take in the place of the method or the path. For the method: the fields that Symfony, Laravel, Rails,
 * Yii, ASP.NET and OData read, and the query parameter that Symfony, Laravel, Spring and Express can read. For the path:
 * the fields that IIS and old releases of Symfony and Zend Framework read.
 */
export const OVERRIDES = [
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
  '_method',
] as const;
export type Override = (typeof OVERRIDES)[number];

/** The fields that tell an API behind a proxy who asked (`forward_auth.ts`). */
export const IDENTITY_FIELDS = [
  'X-Hallpass-Client',
  'X-Hallpass-Grant',
  'X-Hallpass-Token-Id',
  'X-Hallpass-Route',
  'X-Hallpass-Parameters',
] as const;

const PARAMETER: Override = '_method';
const OVERRIDE_NAMES: ReadonlySet<string> = new Set(OVERRIDES.filter((name) => name !== PARAMETER));
const IDENTITY_NAMES: ReadonlySet<string> = new Set(IDENTITY_FIELDS.map((field) => field.toLowerCase()));
const LENGTHS: ReadonlySet<number> = new Set([...OVERRIDE_NAMES, ...IDENTITY_NAMES].map((name) => name.length));

/** A refusal when a request would mislead its API. `passed`: the overrides that this API may read. */
export function findAmbiguity(
  { url, headers }: Pick<GuardedRequest, 'url' | 'headers'>,
  passed: ReadonlySet<Override>,
): Refusal | undefined {
  let hosts = 0;
  // This runs for every field of every request, so the cheapest question comes first: how does the name begin?
  for (const name of isHeaders(headers) ? headers.keys() : Object.keys(headers)) {
    const first = name.charCodeAt(0) | 0x20;
    if (first === X && LENGTHS.has(name.length)) {
      const refusal = judgeName(name.toLowerCase(), passed);
      if (refusal !== undefined && valuesOf(headers, name).length > 0) return refusal;
    } else if (first === H && name.length === 4 && name.toLowerCase() === 'host') {
      hosts += countHosts(valuesOf(headers, name));
    }
  }
  if (hosts > 1 || (hosts === 1 && !agreesWithAuthority(headers))) return refuse('repeated_field', { subject: 'host' });
  if (!hasMethodParameter(url) || passed.has(PARAMETER)) return undefined;
  return refuse('override', { subject: PARAMETER, because: `'${PARAMETER}' in the query overrides the method` });
}

/** The lower-case letters that the names begin with. */
const X = 0x78;
const H = 0x68;

/**
 * CGI, WSGI, Rack and PHP read `X_Hallpass_Client` as `X-Hallpass-Client`, and a proxy overwrites only the latter: a client
 * would say who it is. PHP takes a dot for an underscore too, and old releases of Apache every character that is no letter
 * and no digit. So all of those are alike here.
 */
function judgeName(name: string, passed: ReadonlySet<string>): Refusal | undefined {
  const read = name.replaceAll(/[^a-z0-9]/g, '-');
  if (IDENTITY_NAMES.has(read) && read !== name) {
    return refuse('look_alike_field', { because: `'${name}' looks like a field of the identity` });
  }
  if (!OVERRIDE_NAMES.has(read) || (read === name && passed.has(read))) return undefined;
  return refuse('override', { subject: read, because: `'${name}' overrides the method or the path` });
}

/**
 * Of two hosts, a proxy may choose the API by the one and the API itself by the other (RFC 9112 §3.2). `Headers` joins
 * repeated fields with commas.
 */
function countHosts(values: readonly string[]): number {
  const [value] = values;
  return value !== undefined && values.length === 1 ? (value.includes(',') ? 2 : 1) : values.length;
}

/** HTTP/2 has the host in `:authority`, and a `Host` that differs is a second one (RFC 9113 §8.3.1). */
function agreesWithAuthority(headers: GuardedRequest['headers']): boolean {
  if (isHeaders(headers) || headers[':authority'] === undefined) return true;
  const [authority = '', host = ''] = [...readHeader(headers, ':authority'), ...readHeader(headers, 'host')];
  return authority.toLowerCase() === host.toLowerCase();
}

/**
 * Whether the query holds `_method`, in any spelling that some reader takes for it: escaped; in brackets, which qs and
 * Rack take off; or as PHP names parameters, where a dot becomes an underscore and a name ends at a zero byte.
 */
function hasMethodParameter(url: string): boolean {
  const at = url.indexOf('?');
  if (at < 0) return false;
  const query = url.slice(at + 1);
  if (!MAY_NAME_METHOD.test(query)) return false;
  return [...new URLSearchParams(query.replaceAll(';', '&')).keys()].some((name) => METHOD_PARAMETER.test(name));
}

const MAY_NAME_METHOD = /method|%/i;
const METHOD_PARAMETER = /^[^a-z0-9]*[_.]method(?![a-z0-9_-])/i;
