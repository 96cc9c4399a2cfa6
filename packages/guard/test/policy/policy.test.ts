import { compilePolicy } from '@hallpass/guard';
import { isRefusal } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAllowed, assertDenied, bearer, openBench, words } from '../harness.ts';
import { caseCount } from '../../../../testing/case_count.ts';

const policy = compilePolicy({
  'GET /': '/root.read',
  'GET /accounts': '/accounts.read',
  'POST /accounts': '/accounts.write',
  'GET /accounts/{accountID}': '/accounts/{accountID}.read',
  'GET /accounts/me': '/me.read',
  'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read',
  'GET /accounts/me/settings': '/me.write',
  'GET /files/{name}': '/files.read',
});
const { issuer, guard } = await openBench();
const SCOPES = words(`
  /root.read /accounts.read /accounts.write /accounts/a1.read /accounts/a.1.read /me.read /me.write
  /accounts/a1/transfers.read /accounts/me/transfers.read /accounts/admin.read /files.read
`);
/** Opens every route of the policy, for the accounts `a1`, `a.1`, `me` and `admin`. */
const everything = await issuer.token({ scope: SCOPES.join(' ') });

function routeOf(method: string, url: string): string {
  const match = policy.match(method, url);
  return isRefusal(match) ? match.refused : match.route;
}

test('the method is case-sensitive, and HEAD is not GET', async () => {
  assertAllowed(await guard.checkRoute(policy, bearer(everything, 'GET')));
  for (const method of ['HEAD', 'get', 'Get', 'OPTIONS', 'TRACE', 'PUT', 'GET ', '', 'constructor', '__proto__']) {
    assertDenied(await guard.checkRoute(policy, bearer(everything, method)), 403, method);
  }
});

test('headers that a proxy may send about another method, path or host change nothing (CVE-2026-40575)', async () => {
  const readOnly = await issuer.token({ scope: '/accounts.read' });
  const claims = {
    'x-forwarded-uri': '/accounts',
    'x-forwarded-path': '/accounts',
    'x-forwarded-method': 'GET',
    'x-forwarded-prefix': '/accounts',
    forwarded: 'path=/accounts',
  };
  for (const [method, url] of [
    ['POST', '/accounts'],
    ['GET', '/accounts/a1'],
    ['DELETE', '/accounts'],
  ] as const) {
    const { headers } = bearer(readOnly);
    assertDenied(await guard.checkRoute(policy, { method, url, headers: { ...headers, ...claims } }), 403, url);
  }
  const headers = { ...bearer(readOnly).headers, ...claims };
  assertAllowed(await guard.checkRoute(policy, { method: 'GET', url: '/accounts', headers }));
});

test('headers that frameworks use instead of the method or path are refused, whatever their value', async () => {
  const readOnly = await issuer.token({ scope: '/accounts.read' });
  const overrides = {
    'x-http-method-override': 'DELETE',
    'x-http-method': 'GET',
    'x-method-override': 'GET',
    'x-original-url': '/admin',
    'x-rewrite-url': '/accounts',
  };
  for (const [name, value] of Object.entries(overrides)) {
    const { headers } = bearer(readOnly);
    const request = { method: 'GET', url: '/accounts', headers: { ...headers, [name]: value } };
    assertDenied(await guard.checkRoute(policy, request), 400, name);
  }
});

test('a route that no policy names is 403 with a good token and 401 without (contract §8)', async () => {
  for (const url of ['/nowhere', '/accounts/a1/x', '/accounts/a1/transfers/x', '/Accounts', '/account', '/accountss']) {
    assertDenied(await guard.checkRoute(policy, bearer(everything, 'GET', url)), 403, url);
    assertDenied(await guard.checkRoute(policy, { method: 'GET', url, headers: {} }), 401, url);
    assertDenied(await guard.checkRoute(policy, bearer('abc', 'GET', url)), 401, url);
  }
  assertDenied(await guard.checkRoute(policy, { method: 'GET', url: '/a/../b', headers: {} }), 401);
  assertDenied(await guard.checkRoute(compilePolicy({}), bearer(everything)), 403);
});

/** Plain paths that are open, and what looks like them to one program or another. */
const HOSTILE: Readonly<Record<string, readonly string[]>> = {
  // The scope of this route doesn't hold the value, so only the rules for paths stand in the way.
  '/files/x': words(`
    /files/. /files/.. /files/%2e /files/%2e%2e /files/ /files/x%2f /files/..%2fx /files/x%00 /files/x%5c /files/x;y
    /files/%252e /files/x%0a /files/%c0%ae
  `),
  '/accounts': [
    ...words(String.raw`
      //accounts ///accounts /accounts/ /accounts// /./accounts /accounts/. /x/../accounts /accounts/.. /..//accounts
      /%2e/accounts /accounts/%2e /accounts%2f /%2faccounts /accounts%5c \accounts /\accounts /accounts\ /accounts;
      /accounts;x=1 /;/accounts /accounts%3b /accounts%00 /accounts% /accounts%2 /accounts%zz /accounts%20
      /accounts%0a /accounts%0d%0a /accounts# /accounts#x /accounts%23 /accounts%3f /accounts.json /accounts. /ACCOUNTS
      /accounts* /* * accounts ./accounts /accoúnts /accounts%ef%bb%bf %2faccounts http:/accounts http:accounts
      //evil.example/accounts ftp://api/accounts javascript:/accounts http://api\@evil/accounts api:443
      http://api//accounts http://api/accounts/ http://api
    `),
    '',
    '/accounts ',
    ' /accounts',
    '/accounts\u0000',
    '/accounts\n',
    '/accounts\t',
    '/\u200baccounts',
  ],
  '/accounts/a1': words(String.raw`
    /accounts//a1 /accounts/a1/ /accounts/./a1 /accounts/a2/../a1 /accounts/a2/%2e%2e/a1 /accounts/a2/.%2e/a1
    /accounts/a2/%2E./a1 /accounts/a2/..%2fa1 /accounts/a1%2f /accounts/a1%2F..%2Fa1 /accounts%2fa1 /accounts%2Fa1
    /accounts\a1 /accounts%5ca1 /accounts%5Ca1 /accounts%c0%afa1 /accounts/a1%c0%80 /accounts/%e0%80%af /accounts/a1%00
    /accounts/a1%00.json /accounts/a1; /accounts/a1;a=b /accounts;x/a1 /accounts/a1%3b /accounts/a1%0a /accounts/a1%20
    /accounts/a1. /accounts/.a1 /accounts/a1%2e /accounts/a%2e1 /accounts/a1%09 /accounts/%2561%31 /accounts/a%251
    /accounts/%252e%252e /accounts/%25%36%31 /accounts/..;/a1 /accounts/..%00/a1 /accounts/a1%ff /accounts/%ed%a0%80
    /accounts/%c1%a11 /accounts/a1%u0041 /accounts/{accountID} /accounts/%7baccountID%7d /accounts/* /accounts/a1,a2
    /accounts/a1+ /accounts/a1/. /accounts/a1/.. /accounts/... /accounts/%c2%85 /accounts/%ef%bc%8f /accounts/．．
  `),
};

test('a path that two programs could read differently is refused, and the plain one beside it is not (CWE-551, GD-25)', async () => {
  let tried = 0;
  for (const [plain, hostile] of Object.entries(HOSTILE)) {
    assertAllowed(await guard.checkRoute(policy, bearer(everything, 'GET', plain)), plain);
    assertAllowed(await guard.checkRoute(policy, bearer(everything, 'GET', `${plain}?x=/../y`)), plain);
    assertAllowed(await guard.checkRoute(policy, bearer(everything, 'GET', `https://api.example.com${plain}`)), plain);
    for (const url of hostile) {
      const decision = await guard.checkRoute(policy, bearer(everything, 'GET', url));
      assert.ok('status' in decision && (decision.status === 400 || decision.status === 403), JSON.stringify(url));
      tried += 1;
    }
  }
  assert.ok(tried >= 120, String(tried));
  assertAllowed(await guard.checkRoute(policy, bearer(everything, 'GET', 'http://api/')));
  assertDenied(await guard.checkRoute(policy, bearer(everything, 'GET', `/${'a'.repeat(9_000)}`)), 400);
});

test('the handler gets exactly the values that were checked, decoded once (contract §8)', async () => {
  const decision = await guard.checkRoute(policy, bearer(everything, 'GET', '/files/%C3%A9%20%F0%9F%8E%AB%3F'));
  assert.ok(decision.allowed);
  assert.deepEqual(decision.values, { name: 'é 🎫?' });
  assertDenied(await guard.checkRoute(policy, bearer(everything, 'GET', '/files/%25C3')), 400);
  for (const name of ['constructor', '__proto__', 'toString']) {
    const odd = compilePolicy<Readonly<Record<string, string>>>({ [`GET /{${name}}`]: `/accounts/{${name}}.read` });
    const found = await guard.checkRoute(odd, bearer(everything, 'GET', '/a1'));
    assert.ok(found.allowed);
    assert.deepEqual(Object.entries(found.values), [[name, 'a1']]);
  }
});

test('no method or path throws, and a match prints back to the same path', () => {
  const pieces = fc.constantFrom(
    ...words(String.raw`
      / / accounts files a1 me % %2 %2e %2E %41 %61 %C3%A9 . .. ; \ ? # http://api ~ : @ + & %20 %2f é
    `),
    '\u0000',
  );
  const url = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.webPath(),
    fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join('')),
    fc.array(pieces, { maxLength: 4 }).map((parts) => `/files/${parts.join('')}`),
  );
  let matched = 0;
  fc.assert(
    fc.property(fc.oneof(fc.constant('GET'), fc.string()), url, (method, text) => {
      const match = policy.match(method, text);
      if (isRefusal(match)) return;
      matched += 1;
      const path = text.replace(/^https?:\/\/[^/]*/i, '').split('?', 1)[0] ?? '';
      const written = match.route
        .replace(/^GET /, '')
        .replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(match.values[name] ?? ''));
      // An escape has two spellings, and what needs none in a path may have one; nothing else may differ.
      const plain = path
        .replaceAll(/[!$&'()*+,=:@]/g, (character) => encodeURIComponent(character))
        .replaceAll(/%[0-9a-f]{2}/gi, (escape) => escape.toUpperCase());
      const spelled = written.replaceAll(
        /[!'()*]/g,
        (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
      );
      assert.equal(
        plain.replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`),
        spelled,
      );
    }),
    { numRuns: caseCount(4_000) },
  );
  assert.ok(matched > caseCount(20), String(matched));
});

test('a policy keeps nothing between requests: a thousand in a row are decided the same way (CVE-2026-35040)', () => {
  for (let round = 0; round < 1000; round++) {
    assert.equal(routeOf('GET', '/accounts/a1'), 'GET /accounts/{accountID}');
    assert.equal(routeOf('GET', '/accounts/a1;'), 'malformed_path');
    assert.equal(routeOf('GET', '/nowhere'), 'route_not_allowed');
  }
});
