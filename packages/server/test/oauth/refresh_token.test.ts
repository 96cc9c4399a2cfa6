import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRefreshToken, sealRefreshToken, type RefreshTokenState } from '@hallpass/protocol';
import { equalBytes } from '../../src/oauth/keys/key_ring.ts';
import {
  claimOf,
  decode,
  GRANT_SECONDS,
  makeFamily,
  startHallpass,
  tokensOf,
  type Answer,
  type Tokens,
} from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const other = await hallpass.makeKey();
const forged = await startHallpass();
const forgedKey = await forged.makeKey();
const whole = (await forged.issue(forgedKey)).refreshToken;

const BOTH = '/accounts.write /accounts.read';
const OWN = { at: hallpass, key, scope: BOTH };

const good = (answer: Answer): Tokens => tokensOf(answer);
const assertBad = (answer: Answer, outcome = '400 invalid_grant'): void =>
  assert.equal(answer.outcome, outcome, answer.text);

const reuseEvents = (of: Tokens, at = hallpass): Promise<readonly string[]> => at.eventsOf(of.accessToken);

/** What a token of a family would say, for tokens that were never given out. */
function stateOf(token: string, at = hallpass): RefreshTokenState {
  const state = openRefreshToken(token, { find: at.instance.keys.findRefresh, equal: equalBytes });
  assert.ok(state !== undefined);
  return state;
}
const seal = (state: RefreshTokenState, at = hallpass): string => sealRefreshToken(state, at.instance.keys.refresh);

test('the newest refresh token returns the next one and a new access token of the same grant (RFC 6749 §6)', async () => {
  const [first] = await makeFamily(OWN, 0);
  hallpass.clock.advance(5);
  const second = good(await hallpass.refresh(key, first.refreshToken));
  assert.notEqual(second.refreshToken, first.refreshToken);
  assert.notEqual(claimOf(second.accessToken, 'jti'), claimOf(first.accessToken, 'jti'));
  assert.equal(claimOf(second.accessToken, 'grant_id'), claimOf(first.accessToken, 'grant_id'));
  assert.equal(second.scope, first.scope, 'omitted scope is the scope first granted');
  assert.equal(decode(second.accessToken).claims['iat'], hallpass.clock.seconds);
  assert.equal(await hallpass.isActive(key, first.accessToken), true, 'the access token before it lives on');
});

test('a refresh works in JSON too, with the same response', async () => {
  const [first] = await makeFamily(OWN, 0);
  const answer = await hallpass.json(
    '/oauth2/token',
    { grant_type: 'refresh_token', refresh_token: first.refreshToken },
    { key },
  );
  assert.deepEqual(Object.keys(answer.body).toSorted(), [
    'access_token',
    'expires_in',
    'refresh_token',
    'scope',
    'token_type',
  ]);
});

test('the key authenticates at refresh (RFC 6749 §6)', async () => {
  const [first] = await makeFamily(OWN, 0);
  const params = { grant_type: 'refresh_token', refresh_token: first.refreshToken };
  assertBad(await hallpass.form('/oauth2/token', params), '401 invalid_client');
  assertBad(await hallpass.form('/oauth2/token', { ...params, client_id: key.clientId }), '401 invalid_client');
  assert.equal((await hallpass.form('/oauth2/token', params, { key })).status, 200);
});

for (const [name, seconds] of [
  ['at once', 0],
  ['a minute later', 60],
  ['29 days later', 29 * 86_400],
] as const) {
  test(`the predecessor ${name} returns the newest again, byte for byte, with a new access token (contract §3)`, async () => {
    const [, first, second] = await makeFamily(OWN, 2);
    hallpass.clock.advance(seconds);
    const again = good(await hallpass.refresh(key, first.refreshToken));
    assert.equal(again.refreshToken, second.refreshToken);
    assert.notEqual(claimOf(again.accessToken, 'jti'), claimOf(second.accessToken, 'jti'));
    assert.equal(await hallpass.isActive(key, again.accessToken), true);
    assert.equal(good(await hallpass.refresh(key, first.refreshToken)).refreshToken, second.refreshToken, 'and again');
    assert.equal((await hallpass.refresh(key, second.refreshToken)).status, 200, 'the newest is still the newest');
    const reported = seconds > 60 ? ['refresh_token_turns'] : [];
    assert.deepEqual(await reuseEvents(first), reported, 'and nothing is ended (contract §10)');
  });
}

test('a refresh token used after its successor was used revokes its whole grant (RFC 9700 §4.14.2)', async () => {
  const [zeroth, first, second] = await makeFamily(OWN, 2);
  hallpass.clock.advance(11);
  assertBad(await hallpass.refresh(key, zeroth.refreshToken));
  for (const { refreshToken, accessToken } of [zeroth, first, second]) {
    assertBad(await hallpass.refresh(key, refreshToken));
    assert.equal(await hallpass.isActive(key, refreshToken), false);
    assert.equal(await hallpass.isActive(key, accessToken), false, 'its access tokens too');
  }
  assert.deepEqual(await reuseEvents(zeroth), ['refresh_token_reused']);
});

test('reuse of one family leaves the others of the same key alone', async () => {
  const [, , newest] = await makeFamily(OWN, 2);
  const [zeroth] = await makeFamily(OWN, 2);
  hallpass.clock.advance(11);
  assertBad(await hallpass.refresh(key, zeroth.refreshToken));
  assert.equal((await hallpass.refresh(key, newest.refreshToken)).status, 200);
});

test('reuse is durable before the response: a server that starts on the same store knows about it (contract §3)', async () => {
  const before = await startHallpass();
  const by = await before.makeKey();
  const all = await makeFamily({ at: before, key: by, scope: BOTH }, 3);
  before.clock.advance(11);
  assertBad(await before.refresh(by, all[0].refreshToken));
  await before.close();
  const after = await startHallpass({ folder: before.folder, clock: before.clock });
  for (const { refreshToken } of all) assertBad(await after.refresh(by, refreshToken));
  assert.deepEqual(await reuseEvents(all[0], after), ['refresh_token_reused']);
});

test('retired tokens and predecessors stay so across a restart', async () => {
  const before = await startHallpass();
  const by = await before.makeKey();
  const [zeroth, first, second] = await makeFamily({ at: before, key: by, scope: BOTH }, 2);
  await before.close();
  const after = await startHallpass({ folder: before.folder, clock: before.clock });
  assert.equal(good(await after.refresh(by, first.refreshToken)).refreshToken, second.refreshToken);
  after.clock.advance(11);
  assertBad(await after.refresh(by, zeroth.refreshToken));
  assertBad(await after.refresh(by, second.refreshToken));
});

for (const [seconds, mercy] of [
  [0, true],
  [9.999, true],
  [10, true],
  [10.001, false],
] as const) {
  const what = mercy ? 'is refused without ending the family' : 'ends the family';
  test(`the token before the predecessor, ${seconds} s after the rotation, ${what} (contract §3)`, async () => {
    const [zeroth, , second] = await makeFamily(OWN, 2);
    hallpass.clock.advance(seconds);
    assertBad(await hallpass.refresh(key, zeroth.refreshToken));
    assert.deepEqual(await reuseEvents(zeroth), mercy ? [] : ['refresh_token_reused']);
    assert.equal(await hallpass.isActive(key, second.accessToken), mercy);
    assert.equal((await hallpass.refresh(key, second.refreshToken)).status, mercy ? 200 : 400);
  });
}

test('anything older revokes the grant, however soon', async () => {
  const [zeroth, , , third] = await makeFamily(OWN, 3);
  assertBad(await hallpass.refresh(key, zeroth.refreshToken));
  assertBad(await hallpass.refresh(key, third.refreshToken));
});

for (const [what, rotations, ahead] of [
  ['one generation', 1, 1],
  ['many generations', 1, 1000],
  ['one generation of a grant that was never refreshed', 0, 1],
] as const) {
  test(`a token that is ${what} newer than the store proves that the store was set back, and revokes the grant (contract §3)`, async () => {
    const tokens = await makeFamily(OWN, rotations);
    const newest = tokens.at(-1);
    assert.ok(newest !== undefined);
    const untouched = await hallpass.issue(key);
    const state = stateOf(newest.refreshToken);
    assertBad(await hallpass.refresh(key, seal({ ...state, generation: rotations + ahead })));
    assert.deepEqual(await reuseEvents(newest), ['refresh_token_newer_than_store']);
    assertBad(await hallpass.refresh(key, newest.refreshToken));
    assert.equal(await hallpass.isActive(key, newest.accessToken), false);
    assert.equal((await hallpass.refresh(key, untouched.refreshToken)).status, 200, 'no other family');
  });
}

test('so does a token of the newest generation made at another moment: two histories made one each', async () => {
  const [, first] = await makeFamily(OWN, 1);
  const state = stateOf(first.refreshToken);
  const twin = seal({ ...state, issuedAt: state.issuedAt - 1 });
  assert.deepEqual(await hallpass.isActive(key, twin), false);
  assertBad(await hallpass.refresh(key, twin));
  assert.deepEqual(await reuseEvents(first), ['refresh_token_newer_than_store']);
  assertBad(await hallpass.refresh(key, first.refreshToken));
});

test('a token newer than the store, used by another key, revokes nothing (contract §3: ownership first)', async () => {
  const [, first] = await makeFamily(OWN, 1);
  const stranger = await hallpass.makeKey();
  assertBad(await hallpass.refresh(stranger, seal({ ...stateOf(first.refreshToken), generation: 9 })));
  assert.equal((await hallpass.refresh(key, first.refreshToken)).status, 200);
});

// Grace
for (const [grace, seconds, answered] of [
  ['30', 0, true],
  ['30', 30, true],
  ['30', 30.001, false],
  ['0', 0, false],
  ['1', 1, true],
  ['1', 1.001, false],
] as const) {
  const what = answered ? 'is answered' : 'is reuse';
  test(`with a grace of ${grace} s the predecessor ${seconds} s after the rotation ${what} (contract §3)`, async () => {
    const limited = await startHallpass({ environment: { HALLPASS_REFRESH_GRACE_SECONDS: grace } });
    const by = await limited.makeKey();
    const [zeroth, first] = await makeFamily({ at: limited, key: by, scope: BOTH }, 1);
    limited.clock.advance(seconds);
    const answer = await limited.refresh(by, zeroth.refreshToken);
    if (answered) {
      assert.equal(good(answer).refreshToken, first.refreshToken);
      assert.equal((await limited.refresh(by, first.refreshToken)).status, 200);
    } else {
      assertBad(answer);
      assert.equal(await limited.isActive(by, first.accessToken), false);
      assertBad(await limited.refresh(by, first.refreshToken));
      assert.deepEqual(await reuseEvents(zeroth, limited), ['refresh_token_reused']);
    }
  });
}

// Ownership, then reuse, then scope
test("another client's refresh token is invalid_grant, and the owner's family stays alive (RFC 6749 §6)", async () => {
  const [zeroth, first, second] = await makeFamily(OWN, 2);
  hallpass.clock.advance(60);
  for (const one of [zeroth, first, second]) {
    assertBad(await hallpass.refresh(other, one?.refreshToken ?? ''));
    assertBad(await hallpass.refresh(other, one?.refreshToken ?? '', { scope: '/secrets.read' }));
  }
  // Each is recorded (security_events.test.ts), and none counts as reuse.
  assert.deepEqual([...new Set(await reuseEvents(zeroth))], ['refresh_token_of_another_client']);
  assert.equal((await hallpass.refresh(key, second.refreshToken)).status, 200);
});

test('reuse is caught whatever scope or resource comes with it (contract §3)', async () => {
  for (const more of [{ scope: '/secrets.read' }, { scope: 'nonsense' }, { resource: 'https://other.example.com' }]) {
    const [zeroth, , second] = await makeFamily(OWN, 2);
    hallpass.clock.advance(11);
    assertBad(await hallpass.refresh(key, zeroth.refreshToken, more));
    assert.equal(await hallpass.isActive(key, second.accessToken), false);
  }
});

for (const [name, more, outcome] of [
  ['a wider scope', { scope: '/accounts.write /ping.read' }, '400 invalid_scope'],
  ['a malformed scope', { scope: 'nonsense' }, '400 invalid_scope'],
  ['a template', { scope: '/accounts/{accountID}/transfers.read' }, '400 invalid_scope'],
  ['two spaces', { scope: '/accounts.write  /accounts.read' }, '400 invalid_scope'],
  ['another audience', { resource: 'https://other.example.com' }, '400 invalid_target'],
  ['a malformed audience', { resource: '#' }, '400 invalid_target'],
] as const) {
  test(`a refresh for ${name} is ${outcome} and consumes nothing (RFC 6749 §6, contract §3)`, async () => {
    const [zeroth] = await makeFamily(OWN, 0);
    const grantId = claimOf(zeroth.accessToken, 'grant_id');
    assertBad(await hallpass.refresh(key, zeroth.refreshToken, more), outcome);
    assert.equal(await hallpass.instance.store.findFamily(grantId), undefined, 'nothing was rotated');
    const second = good(await hallpass.refresh(key, zeroth.refreshToken));
    assertBad(await hallpass.refresh(key, zeroth.refreshToken, more), outcome);
    assert.equal((await hallpass.instance.store.findFamily(grantId))?.generation, 1, 'nor as a predecessor');
    assert.equal((await hallpass.refresh(key, second.refreshToken)).status, 200);
  });
}

test('narrowing affects this access token only (contract §3)', async () => {
  const [zeroth] = await makeFamily(OWN, 0);
  const narrow = good(await hallpass.refresh(key, zeroth.refreshToken, { scope: '/accounts.read' }));
  assert.equal(narrow.scope, '/accounts.read');
  assert.equal(claimOf(narrow.accessToken, 'scope'), '/accounts.read');
  const wide = good(await hallpass.refresh(key, narrow.refreshToken));
  assert.equal(wide.scope, '/accounts.write /accounts.read');
});

test('a repeated response can be narrowed, with the same refresh token', async () => {
  const [zeroth, first] = await makeFamily(OWN, 1);
  const again = good(await hallpass.refresh(key, zeroth.refreshToken, { scope: '/accounts.read' }));
  assert.equal(again.scope, '/accounts.read');
  assert.equal(again.refreshToken, first.refreshToken);
});

test('scopes that the key has lost since are not issued again (contract §9)', async () => {
  const losing = await hallpass.makeKey();
  const [zeroth] = await makeFamily({ at: hallpass, key: losing, scope: BOTH }, 0);
  await hallpass.changeKey(losing, { scopes: ['/accounts.read'] });
  assertBad(await hallpass.refresh(losing, zeroth.refreshToken, { scope: '/accounts.write' }), '400 invalid_scope');
  const left = good(await hallpass.refresh(losing, zeroth.refreshToken));
  assert.equal(left.scope, '/accounts.read');
  assert.equal(await hallpass.isActive(losing, zeroth.accessToken), true, 'tokens out already live to their end');
  await hallpass.changeKey(losing, { scopes: ['/ping.read'] });
  assertBad(await hallpass.refresh(losing, left.refreshToken), '400 invalid_scope');
  await hallpass.changeKey(losing, { scopes: ['/accounts.read', '/accounts.write'] });
  assert.equal(good(await hallpass.refresh(losing, left.refreshToken)).scope, '/accounts.write /accounts.read');
});

test('scopes that the key has gained since are not in an older grant', async () => {
  const gaining = await hallpass.makeKey({ scopes: ['/accounts.read'] });
  const [zeroth] = await makeFamily({ at: hallpass, key: gaining, scope: '/accounts.read' }, 0);
  await hallpass.changeKey(gaining, { scopes: ['/accounts.read', '/accounts.write'] });
  assertBad(await hallpass.refresh(gaining, zeroth.refreshToken, { scope: '/accounts.write' }), '400 invalid_scope');
});

test('audiences narrow at refresh and never widen (RFC 8707 §2.2)', async () => {
  const [a, b, c] = ['https://a.example.com', 'https://b.example.com', 'https://c.example.com'];
  const by = await hallpass.makeKey({ audiences: [a, b, c] });
  const first = await hallpass.issue(by, '/accounts.write', { resource: [a, b] });
  const narrow = good(await hallpass.refresh(by, first.refreshToken, { resource: b }));
  assert.equal(decode(narrow.accessToken).claims['aud'], b);
  assertBad(await hallpass.refresh(by, narrow.refreshToken, { resource: c }), '400 invalid_target');
  const again = good(await hallpass.refresh(by, narrow.refreshToken));
  assert.deepEqual(decode(again.accessToken).claims['aud'], [a, b]);
});

test('a retired token is recognised as long as its family lives, whatever was cleaned up (RFC 9700 §4.14.2)', async () => {
  const [zeroth, , second] = await makeFamily(OWN, 2);
  hallpass.clock.advance(GRANT_SECONDS - 10);
  while ((await hallpass.instance.store.forgetExpired(hallpass.clock.seconds, 500)) > 0);
  assertBad(await hallpass.refresh(key, zeroth.refreshToken));
  assertBad(await hallpass.refresh(key, second.refreshToken));
});

test('refresh switched off later: refused, and tokens out already live on (contract §9)', async () => {
  const off = await hallpass.makeKey();
  const [zeroth] = await makeFamily({ at: hallpass, key: off, scope: BOTH }, 0);
  await hallpass.changeKey(off, { refresh: false });
  assertBad(await hallpass.refresh(off, zeroth.refreshToken), '400 unauthorized_client');
  assert.equal(await hallpass.isActive(off, zeroth.accessToken), true);
  assert.equal(await hallpass.isActive(off, zeroth.refreshToken), false);
  await hallpass.changeKey(off, { refresh: true });
  assert.equal((await hallpass.refresh(off, zeroth.refreshToken)).status, 200, 'nothing was consumed');
});

test('200 simultaneous uses of one refresh token make one new refresh token and one rotation', async () => {
  const [zeroth] = await makeFamily(OWN, 0);
  const answers = await Promise.all(Array.from({ length: 200 }, () => hallpass.refresh(key, zeroth.refreshToken)));
  const tokens = answers.map(good);
  assert.equal(new Set(tokens.map(({ refreshToken }) => refreshToken)).size, 1);
  assert.equal(new Set(tokens.map(({ accessToken }) => accessToken)).size, 200);
  const grantId = claimOf(zeroth.accessToken, 'grant_id');
  assert.equal((await hallpass.instance.store.findFamily(grantId))?.generation, 1);
  assert.equal((await hallpass.refresh(key, tokens[0]?.refreshToken ?? '')).status, 200);
});

test('strict and at once: one of many uses wins, and the others end the family', async () => {
  const strict = await startHallpass({ environment: { HALLPASS_REFRESH_GRACE_SECONDS: '0' } });
  const by = await strict.makeKey();
  const [zeroth] = await makeFamily({ at: strict, key: by, scope: BOTH }, 0);
  const answers = await Promise.all(Array.from({ length: 20 }, () => strict.refresh(by, zeroth.refreshToken)));
  const winners = answers.filter(({ status }) => status === 200).map(good);
  assert.equal(winners.length, 1);
  assertBad(await strict.refresh(by, winners[0]?.refreshToken ?? ''));
  assert.equal(await strict.isActive(by, winners[0]?.accessToken ?? ''), false);
});

test('two servers on one store agree: each repeats what the other has rotated, and knows its reuse', async () => {
  const here = await startHallpass({ environment: { HALLPASS_ISSUER: 'http://localhost:1' } });
  const there = await startHallpass({
    folder: here.folder,
    clock: here.clock,
    environment: { HALLPASS_ISSUER: 'http://localhost:1' },
  });
  const by = await here.makeKey();
  const [zeroth, first] = await makeFamily({ at: here, key: by, scope: BOTH }, 1);
  assert.equal(good(await there.refresh(by, zeroth.refreshToken)).refreshToken, first.refreshToken);
  const second = good(await there.refresh(by, first.refreshToken));
  here.clock.advance(11);
  assertBad(await here.refresh(by, zeroth.refreshToken));
  assertBad(await there.refresh(by, second.refreshToken));
  assert.equal(await there.isActive(by, second.accessToken), false);
});

test('a clock that went back neither revives a retired token nor ends a family', async () => {
  const [, first, second] = await makeFamily(OWN, 2);
  const now = hallpass.clock.now();
  hallpass.clock.set(now - 5_000);
  assert.equal(good(await hallpass.refresh(key, first.refreshToken)).refreshToken, second.refreshToken);
  assert.equal((await hallpass.refresh(key, second.refreshToken)).status, 200);
  hallpass.clock.set(now);
});

const withLetter = (at: number, letter: string): string => `${whole.slice(0, at)}${letter}${whole.slice(at + 1)}`;
const swapCase = (letter: string): string =>
  letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase();
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

// On a clock that stands still, so that only the form of a token can be wrong.
for (const [name, tokens] of [
  ['cut at any length', Array.from(whole, (_, at) => whole.slice(0, at)).slice(1)],
  ['with any one character changed', Array.from(whole, (letter, at) => withLetter(at, letter === 'A' ? 'B' : 'A'))],
  ['with any one letter in another case', Array.from(whole, (letter, at) => withLetter(at, swapCase(letter)))],
  [
    'with another last character, whose unused bits must be zero (RFC 4648 §3.5)',
    Array.from(LETTERS, (letter) => withLetter(whole.length - 1, letter)),
  ],
  [
    'with something around it',
    ['A', 'AAAA', '=', '==', ' ', '\n', '.', '\0', '-', '%20', whole].flatMap((more) => [whole + more, more + whole]),
  ],
] as const) {
  test(`a refresh token ${name} is refused, and the good one still works (RFC 6749 §5.2)`, async () => {
    const changed = tokens.filter((token) => token !== whole);
    for (const answer of await Promise.all(changed.map((token) => forged.refresh(forgedKey, token)))) assertBad(answer);
    assert.equal((await forged.refresh(forgedKey, whole)).status, 200);
  });
}

test('an access token is no refresh token (RFC 8725 §3.12)', async () => {
  const { accessToken } = await hallpass.issue(key);
  assertBad(await hallpass.refresh(key, accessToken));
});

test('a refresh token of another server is refused', async () => {
  const elsewhere = await startHallpass({ clock: hallpass.clock });
  const stranger = await elsewhere.makeKey({ imported: { ...key, allowWeak: false } });
  const { refreshToken } = await elsewhere.issue(stranger);
  assertBad(await hallpass.refresh(key, refreshToken));
  assert.equal((await elsewhere.refresh(stranger, refreshToken)).status, 200);
});
