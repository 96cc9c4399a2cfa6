/**
 * Requests that the API behind a guard might read differently than the guard did: another method, path, caller or host.
 * They are refused before their credentials are read.
 */
import { refuse, type Refusal } from '@hallpass/protocol';
import { isHeaders, readHeader, valuesOf, type GuardedRequest } from './request.ts';

/**
 * Names that frameworks accept as a replacement for the method or the path. Method headers: Symfony, Laravel, Rails,
 * Yii, ASP.NET and OData read them. The query parameter: Symfony, Laravel, Spring and Express can read it. Path
 * headers: IIS and old releases of Symfony and Zend Framework read them.
 */
export const OVERRIDES = [
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
  '_method',
] as const;
/** The name of an override that an API may handle itself (the option `passOverrides`). */
export type Override = (typeof OVERRIDES)[number];

/** The headers that tell an API behind a proxy who is calling (`forward_auth.ts`). */
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

/** A refusal if the API might read the request differently. `passed`: the overrides that this API handles itself. */
export function findAmbiguity(
  { url, headers }: Pick<GuardedRequest, 'url' | 'headers'>,
  passed: ReadonlySet<Override>,
): Refusal | undefined {
  let hosts = 0;
  // This runs for every header of every request, so the cheapest test comes first: the first letter of the name.
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

/** The names' first letters, in lower case. */
const X = 0x78;
const H = 0x68;

/**
 * CGI, WSGI, Rack and PHP treat `X_Hallpass_Client` as `X-Hallpass-Client`, but a proxy overwrites only the latter, so
 * a client could forge its identity. PHP also replaces dots, and old releases of Apache every character other than
 * letters and digits. All of these are treated as the same name here.
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
 * With two hosts, a proxy may route by one and the API by the other (RFC 9112 §3.2). `Headers` joins repeated fields
 * with commas.
 */
function countHosts(values: readonly string[]): number {
  const [value] = values;
  return value !== undefined && values.length === 1 ? (value.includes(',') ? 2 : 1) : values.length;
}

/** HTTP/2 puts the host in `:authority`; a different `Host` is a second one (RFC 9113 §8.3.1). */
function agreesWithAuthority(headers: GuardedRequest['headers']): boolean {
  if (isHeaders(headers) || headers[':authority'] === undefined) return true;
  const [authority = '', host = ''] = [...readHeader(headers, ':authority'), ...readHeader(headers, 'host')];
  return authority.toLowerCase() === host.toLowerCase();
}

/**
 * Whether the query contains `_method` in any spelling that some parser accepts: escaped, in brackets (qs and Rack
 * remove them), or the way PHP names parameters, where a dot becomes an underscore and a zero byte ends the name.
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
