import { isScope, parseScope } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAllowed, assertDenied, bearer, openBench } from '../harness.ts';

const { issuer, guard, check } = await openBench();
const TRANSFERS = '/accounts/{accountID}/transfers.read';

/** What a token of these scopes gets from a check of the template. */
async function transfers(scope: string, accountID: string): ReturnType<typeof guard.check> {
  return await guard.check(bearer(await issuer.token({ scope })), TRANSFERS, { accountID });
}

test('a token opens exactly the scopes that it has (contract §7)', async () => {
  const held = ['/accounts.read', '/accounts.write', '/accounts/a1.read', '/accounts/a1/transfers.read', '/ping.read'];
  for (const one of held) {
    for (const wanted of held) {
      const decision = await check(await issuer.token({ scope: one }), wanted);
      if (one === wanted) assertAllowed(decision, one);
      else
        assert.match(
          assertDenied(decision, 403, `${one} for ${wanted}`).headers['WWW-Authenticate'] ?? '',
          new RegExp(`scope="${wanted}"`),
        );
    }
  }
});

test('read never opens write, write never opens read, and an unknown verb opens nothing (contract §7)', async () => {
  for (const verb of ['read', 'write', 'admin', 'readwrite', 'read-write']) {
    for (const wanted of ['read', 'write']) {
      const decision = await check(await issuer.token({ scope: `/accounts.${verb}` }), `/accounts.${wanted}`);
      assert.equal(decision.allowed, verb === wanted, `${verb} for ${wanted}`);
    }
  }
});

test('a filled scope opens its own account and no other', async () => {
  const scope = '/accounts/a1/transfers.read';
  assertAllowed(await transfers(scope, 'a1'));
  for (const other of ['a2', 'a', 'a11', 'A1', 'a1.x', 'a1-', '~a1'])
    assertDenied(await transfers(scope, other), 403, other);
});

test('a value that no scope can hold is refused, and never fills more than one segment', async () => {
  const scope = '/accounts/a1/transfers.read /accounts/x/y/transfers.read /accounts/*/transfers.read';
  assertAllowed(await transfers(scope, 'a1'));
  for (const value of [
    '',
    '.',
    '..',
    'x/y',
    '/',
    '*',
    '{accountID}',
    '%61',
    'a 1',
    'a1\n',
    'a1\u0000',
    '.a1',
    'a1.',
    'a..1',
    'ä',
    'a'.repeat(129),
  ]) {
    assertDenied(await transfers(scope, value), 403, value);
  }
});

test('a {template} in a token is a literal there and opens nothing (GD-29)', async () => {
  assertAllowed(await transfers('/accounts/a1/transfers.read', 'a1'));
  for (const scope of [TRANSFERS, '/accounts/{}/transfers.read', '/{a}/{b}/{c}.read'])
    assertDenied(await transfers(scope, 'a1'), 403, scope);
});

test('a malformed scope in a signed token opens nothing (GD-26)', async () => {
  assertAllowed(await transfers('/accounts/a1/transfers.read', 'a1'));
  const scopes = [
    '*',
    '/*',
    '/*.read',
    '/accounts/*',
    '/accounts/*/transfers.read',
    '/accounts/**',
    '/accounts/a1/transfers.*',
    '/accounts/a1/transfers',
    '/accounts/a1/transfers.',
    'accounts/a1/transfers.read',
    '//accounts/a1/transfers.read',
    '/accounts//a1/transfers.read',
    '/accounts/a1/../a1/transfers.read',
    '/accounts/%611/transfers.read',
    '/accounts/a1/transfers.READ',
    '/ACCOUNTS/a1/transfers.read',
    '/accounts/a1/transfers.read/',
    '/accounts/a1/transfers.read,',
    '/accounts/a1/transfers.read\t',
    '/accounts/a1/transfers.read\n/x.read',
    '/accounts/a1/transfers.readx',
    '.*',
    '',
    ' ',
  ];
  for (const scope of scopes) assertDenied(await transfers(scope, 'a1'), 403, scope);
});

test('every scope of up to four segments of two letters opens only itself, compared with plain equality', async () => {
  const paths = ['/a', '/b'];
  for (let from = 0, length = 2; length <= 4; length++) {
    const until = paths.length;
    for (; from < until; from++) paths.push(`${paths[from] ?? ''}/a`, `${paths[from] ?? ''}/b`);
  }
  const all = paths.flatMap((path) => [`${path}.read`, `${path}.write`]);
  assert.equal(all.length, 60);
  for (const held of all) {
    const token = await issuer.token({ scope: held });
    for (const wanted of all) {
      assert.equal((await check(token, wanted)).allowed, held === wanted, `${held} for ${wanted}`);
    }
  }
});

test('templates of up to four segments, filled in every way, open only what equals their text', async () => {
  const parts = ['a', 'b', '{p}'];
  const templates = parts.flatMap((one) => [
    [one],
    ...parts.map((two) => [one, two]),
    ...parts.map((two) => [one, two, 'a']),
  ]);
  const held = ['/a.read', '/b.read', '/a/a.read', '/a/b.read', '/b/a.read', '/a/b/a.read', '/b/b/a.read'];
  const token = await issuer.token({ scope: held.join(' ') });
  for (const segments of templates) {
    const text: string = `/${segments.join('/')}.read`;
    if (!isScope(parseScope(text))) continue;
    for (const p of ['a', 'b', 'c']) {
      const filled = text.replace('{p}', p);
      const { allowed } = await guard.check(bearer(token), text, { p });
      assert.equal(allowed, held.includes(filled), `${text} with ${p}`);
    }
  }
});

test('the same token is checked again for each scope: no answer is reused (CVE-2021-32701)', async () => {
  const token = await issuer.token({ scope: '/accounts.read' });
  for (let round = 0; round < 500; round++) {
    assertAllowed(await check(token, '/accounts.read'));
    assertDenied(await check(token, '/accounts.write'), 403);
  }
});

test('a wrong call of check is a TypeError, whatever the request', async () => {
  const token = await issuer.token();
  const text: string = '/accounts/{accountID}.read';
  await assert.rejects(check(token, 'accounts'), /^TypeError: 'accounts' is not a scope/);
  await assert.rejects(guard.check(bearer(token), text), /^TypeError: .*needs a value for \{accountID\}/);
  await assert.rejects(guard.check<string>(bearer(token), '/a/{constructor}.read'), TypeError);
});
