/** Checks responses against the OpenAPI document: method, status, headers, type and body. */
import assert from 'node:assert/strict';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import { metadataURL, openidConfigurationURLs, splitURL } from '@hallpass/protocol';
import { openapiDocument } from '../../packages/server/src/oauth/endpoints/openapi/document.ts';
import type { ApiResponse } from '../../packages/server/src/oauth/endpoints/openapi/responses.ts';

const ISSUER = 'http://localhost:8080';
const WELL_KNOWN = splitURL(metadataURL(ISSUER)).pathname;
const document = openapiDocument(ISSUER);
const ajv = new Ajv2020({ strict: false, formats: { uri: fullFormats.uri, uuid: fullFormats.uuid } });
ajv.addSchema({ components: document.components }, 'hallpass');

interface Seen {
  readonly issuer: string;
  readonly path: string;
  readonly method: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Fails if the document does not describe a response of the public listener. */
export function assertDescribed({ issuer, path, method, status, headers, text }: Seen): void {
  const what = `${method} ${path} ${status}`;
  const place = placeOf(issuer, path);
  const answer = answerAt(place, method, status);
  assert.ok(answer !== undefined, `${what}: the OpenAPI document has no such answer: ${text}`);
  for (const [name, { $ref }] of Object.entries(answer.headers)) {
    const header = document.components.headers[nameIn($ref)];
    assert.ok(header !== undefined, `${what}: ${$ref} leads nowhere`);
    const value = headers.get(name);
    assert.ok(value !== null || header.required !== true, `${what}: the header ${name} is required, and missing`);
    if (value !== null) judge(`${what}: the header ${name}`, { $ref: `hallpass${$ref}/schema` }, valueOf(value));
  }
  const type = headers.get('content-type')?.split(';', 1)[0];
  if (method === 'HEAD' || answer.content === undefined) {
    assert.equal(text, '', `${what}: the OpenAPI document says that there is no body`);
    return;
  }
  const schema = answer.content[type ?? '']?.schema;
  assert.ok(schema !== undefined, `${what}: the OpenAPI document has no such content: ${type}`);
  judge(`${what}: the body`, schema, type?.startsWith('text/') === true ? text : JSON.parse(text));
}

/** Fails if the document does not describe the body of a request that was served. */
export function assertBodyDescribed({ issuer, path, type, body }: Sent): void {
  const place = placeOf(issuer, path);
  const content = place === undefined ? undefined : document.paths[place]?.post?.requestBody?.content;
  assert.ok(content !== undefined, `POST ${path}: the OpenAPI document has no such request`);
  const isJson = body.trimStart().startsWith('{');
  const schema = content[isJson ? 'application/json' : type]?.schema;
  assert.ok(schema !== undefined, `POST ${path}: the OpenAPI document takes no ${type}`);
  const validate = validatorOf(schema, { closed: false });
  const value: unknown = isJson ? JSON.parse(body) : gather(body);
  assert.ok(validate(value), `POST ${path} was served, but not described: ${ajv.errorsText(validate.errors)}`);
}

interface Sent {
  readonly issuer: string;
  readonly path: string;
  readonly type: string;
  readonly body: string;
}

/** A form to an object, as OpenAPI reads one: what is repeated is a list. An empty value is an absent one. */
function gather(form: string): object {
  const search = new URLSearchParams(form);
  const names = [...new Set(search.keys())];
  const members = names.map((name) => {
    const values = search.getAll(name).filter((value) => value !== '');
    return [name, values.length > 1 ? values : values[0]] as const;
  });
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}

/** The path in the document; undefined for one that it does not have. */
function placeOf(issuer: string, path: string): string | undefined {
  const { pathname } = new URL(path, ISSUER);
  if (pathname === splitURL(metadataURL(issuer)).pathname) return WELL_KNOWN;
  const openid = Object.values(openidConfigurationURLs(issuer)).map((url) => splitURL(url).pathname);
  if (openid.includes(pathname)) return splitURL(openidConfigurationURLs(ISSUER).below).pathname;
  const base = splitURL(issuer).pathname;
  const below = pathname.startsWith(base) ? pathname.slice(base.length) || '/' : '';
  return !below.startsWith('/.well-known/') && Object.hasOwn(document.paths, below) ? below : undefined;
}

/** The response to a request with this status; undefined: the document has none. */
function answerAt(place: string | undefined, method: string, status: number): ApiResponse | undefined {
  const item = place === undefined ? undefined : document.paths[place];
  const offered = { GET: item?.get, HEAD: item?.head, POST: item?.post, OPTIONS: item?.options };
  const operation = new Map(Object.entries(offered)).get(method);
  const others = item === undefined ? document['x-other-paths'] : document['x-other-methods'];
  const ref = (operation?.responses ?? others)[String(status)]?.$ref;
  return ref === undefined ? undefined : document.components.responses[nameIn(ref)];
}

/** The name of the component that a reference leads to. */
function nameIn(ref: string): string {
  return ref.slice(ref.lastIndexOf('/') + 1);
}

function valueOf(header: string): string | number {
  return /^\d+$/.test(header) ? Number(header) : header;
}

const validators = new Map<object | string, ValidateFunction>();

/** Refuses unknown members as well as missing ones. */
function judge(what: string, schema: Readonly<Record<string, unknown>>, value: unknown): void {
  const validate = validatorOf(schema, { closed: true });
  const shown = JSON.stringify(value).slice(0, 600);
  assert.ok(validate(value), `${what} is not as described: ${ajv.errorsText(validate.errors)}: ${shown}`);
}

function validatorOf(
  schema: Readonly<Record<string, unknown>>,
  { closed }: { readonly closed: boolean },
): ValidateFunction {
  const key = typeof schema['$ref'] === 'string' ? schema['$ref'] : schema;
  const known = validators.get(key);
  if (known !== undefined) return known;
  const validate = ajv.compile({ allOf: [absolute(schema)], ...(closed ? { unevaluatedProperties: false } : {}) });
  validators.set(key, validate);
  return validate;
}

/** References from inside the document, made to lead into it from outside. */
function absolute(schema: unknown): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#', '"$ref":"hallpass#'));
}
