/** Requests that the API might read differently than the guard, in every form that a guard accepts. */
import { compilePolicy, type GuardedRequest } from '@hallpass/guard';
import { IDENTITY_FIELDS, OVERRIDES } from '@hallpass/guard/forward';
import { array, assert as hold, asyncProperty, constantFrom, tuple } from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAllowed, assertDenied, openBench, words } from './harness.ts';

const policy = compilePolicy({ 'POST /accounts': '/accounts.read' });
const { guard, issuer } = await openBench();
const authorization = `Bearer ${await issuer.token({ scope: '/accounts.read' })}`;

type Fields = Readonly<Record<string, string | readonly string[] | undefined>>;

async function statusOf(headers: Headers | Fields, url = '/accounts'): Promise<number> {
  const decision = await guard.checkRoute(policy, { method: 'POST', url, headers });
  return decision.allowed ? 200 : decision.status;
}

const REFUSED = [...OVERRIDES.filter((name) => name !== '_method'), ...IDENTITY_FIELDS];
/** What a header name may contain besides letters and digits (RFC 9110 §5.6.2). */
const MARKS = "!#$%&'*+-.^_`|~".split('');
const NAME_MAX = 24;

/** Letters in either case, and any mark instead of a hyphen. With another last letter it's a different name. */
const written = tuple(
  constantFrom(...REFUSED),
  array(constantFrom(...MARKS), { minLength: NAME_MAX, maxLength: NAME_MAX }),
  array(constantFrom('upper', 'lower'), { minLength: NAME_MAX, maxLength: NAME_MAX }),
  // None of the names ends in these.
  constantFrom('q', 'Q', '7'),
).map(([name, marks, cases, end]) => {
  const spelled = Array.from(name.toLowerCase(), (character, at) => {
    if (character === '-') return marks[at] ?? '-';
    return cases[at] === 'upper' ? character.toUpperCase() : character;
  }).join('');
  return { name, spelled, other: spelled.slice(0, -1) + end };
});

test('a look-alike name is refused in every spelling, and a different name is not, in records and in Headers', async () => {
  await hold(
    asyncProperty(written, async ({ name, spelled, other }) => {
      const isIdentity = IDENTITY_FIELDS.some((field) => field.toLowerCase() === spelled.toLowerCase());
      const wanted = isIdentity ? 200 : 400;
      assert.equal(await statusOf({ authorization, [spelled]: 'x' }), wanted, `${name} as ${spelled}`);
      assert.equal(await statusOf({ [spelled]: ['x'], authorization }), wanted);
      assert.equal(await statusOf(new Headers({ authorization, [spelled]: 'x' })), wanted);
      assert.equal(await statusOf({ authorization, [other]: 'x' }), 200, other);
      assert.equal(await statusOf(new Headers({ authorization, [other]: 'x' })), 200);
    }),
    { numRuns: 2_000, seed: 20_260_712 },
  );
});

test('an override in the query is refused in every spelling that some parser accepts, and other names are not', async () => {
  const overrides = words(`
    _method=DELETE limit=10&_method=DELETE limit=10;_method=DELETE _METHOD=DELETE _method _method[]=DELETE [_method]=DELETE
    %5Fmethod=DELETE _m%65thod=DELETE .method=DELETE +_method=DELETE _method%00x=DELETE _method%00%ff=DELETE
    %5b_method%5d=DELETE
  `);
  const harmless = words('method=DELETE x=_method x=%26_method payment_method=card _methods=1 x=%zz ?');
  for (const query of overrides) assert.equal(await statusOf({ authorization }, `/accounts?${query}`), 400, query);
  for (const query of harmless) assert.equal(await statusOf({ authorization }, `/accounts?${query}`), 200, query);
  for (const name of words('X-Forwarded-Prefix X-Forwarded-Uri X-Forwarded-Method X-Original-Method X--HTTP-Method')) {
    assert.equal(await statusOf({ authorization, [name]: 'DELETE' }), 200, name);
  }
});

test('a header without a value counts as absent', async () => {
  assert.equal(await statusOf({ authorization, 'x-http-method': undefined, x_hallpass_client: [] }), 200);
  assert.equal(await statusOf({ authorization, 'x-http-method': '' }), 400);
});

test('there is only one host: two headers, a list, or a Host that differs from :authority are 400 (RFC 9112 §3.2, RFC 9113 §8.3.1)', async () => {
  const [host, other] = ['api.example.com', 'other.example.com'];
  for (const [status, headers] of [
    [200, { host }],
    [200, { host: [host] }],
    [200, { ':authority': host }],
    [200, { ':authority': host, host: 'API.example.com' }],
    [200, { hose: [host, other], most: `${host}, ${other}` }],
    [400, { host: [host, host] }],
    [400, { host, Host: other }],
    [400, { host: `${host}, ${other}` }],
    [400, { host: [`${host},${other}`] }],
    [400, { ':authority': host, host: other }],
  ] as const) {
    assert.equal(await statusOf({ authorization, ...headers }), status, JSON.stringify(headers));
  }
  const joined = new Headers({ authorization, host });
  assert.equal(await statusOf(joined), 200);
  joined.append('host', other);
  assert.equal(await statusOf(joined), 400);
});

test('an ambiguous request is refused before its credentials are read, and only the log gets the reason', async () => {
  const override: GuardedRequest = { method: 'POST', url: '/accounts', headers: { X_HTTP_METHOD: 'DELETE' } };
  for (const decision of [await guard.checkRoute(policy, override), await guard.check(override, '/accounts.read')]) {
    const { body, headers, because } = assertDenied(decision, 400);
    assert.deepEqual(body, {
      error: 'invalid_request',
      error_description:
        'This API does not accept overrides of the method or the path of a request. Remove this: x-http-method',
    });
    assert.equal(headers['WWW-Authenticate'], undefined);
    assert.equal(because, "'x_http_method' overrides the method or the path");
  }
  assertDenied(await guard.checkRoute(policy, { ...override, headers: {} }), 401);
  assertAllowed(await guard.checkRoute(policy, { ...override, headers: { authorization } }));
});
