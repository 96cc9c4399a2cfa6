import { compilePolicy, type Decision, type Guard } from '@hallpass/guard';
import { protect as protectFetch } from '@hallpass/guard/fetch';
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { assertAllowed, assertDenied, bearer, guardOf, openIssuer, type Bench } from '../harness.ts';
import { API, NOW_SECONDS } from '../issuer.ts';
import { hash, proved, Prover } from '../prover.ts';

const PERIOD_SECONDS = 60;
/** The tests' clock starts nine seconds into a minute. */
const REST_OF_PERIOD_SECONDS = 51;
const KEY = 'thirty-two bytes that nobody knows';

const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });
const issuer = await openIssuer();
const prover = new Prover();
const token = await issuer.token({ cnf: { jkt: prover.jkt } });

function asking(nonceKey?: string): Bench {
  const options = { publicURL: API, dpopNonces: true, maxStalenessSeconds: 3_600 };
  return guardOf(issuer, nonceKey === undefined ? options : { ...options, nonceKey });
}

/** The guard's decision about a proof with these claims; `seconds`: how far its clock was advanced. */
function present(guard: Guard, claims: Readonly<Record<string, unknown>> = {}, seconds = 0): Promise<Decision> {
  return guard.check(proved(token, prover.prove(token, { iat: NOW_SECONDS + seconds, ...claims })), '/accounts.read');
}

/** The nonce that the guard returns for a proof without one. */
async function nonceOf(guard: Guard, seconds = 0): Promise<string> {
  const { headers, body } = assertDenied(await present(guard, {}, seconds), 401);
  assert.equal(body.error, 'use_dpop_nonce');
  assert.match(
    headers['WWW-Authenticate'] ?? '',
    /^DPoP realm="[^"]*", error="use_dpop_nonce", error_description="[^"\\]*", algs="ES256 EdDSA PS256"$/,
  );
  assert.equal(headers['Cache-Control'], 'no-store');
  const nonce = headers['DPoP-Nonce'] ?? '';
  assert.match(nonce, /^[\w-]{22}$/);
  return nonce;
}

/** The new nonce on an allowed request; undefined if the current one is still the one to use. */
function newNonceOf(decision: Decision): string | undefined {
  assertAllowed(decision);
  return decision.headers['DPoP-Nonce'];
}

test('a proof without a nonce is refused and gets one, and with it the request is accepted (RFC 9449 §9)', async () => {
  const { guard } = asking();
  const nonce = await nonceOf(guard);
  assert.equal(newNonceOf(await present(guard, { nonce })), undefined);
  for (const other of ['', 'x', `${nonce}=`, nonce.toUpperCase(), [nonce], 7, null, await nonceOf(asking().guard)]) {
    const { body, headers } = assertDenied(await present(guard, { nonce: other }), 401, String(other));
    assert.equal(body.error, 'use_dpop_nonce');
    assert.equal(headers['DPoP-Nonce'], nonce);
  }
});

test('a guard without nonces never mentions them, and ignores one that is sent anyway', async () => {
  const { guard } = guardOf(issuer, { publicURL: API });
  assert.equal(newNonceOf(await present(guard)), undefined);
  assert.equal(newNonceOf(await present(guard, { nonce: 'of another server' })), undefined);
  const { headers } = assertDenied(await present(guard, { htm: 'POST' }), 401);
  assert.ok(!('DPoP-Nonce' in headers));
});

test('a nonce is valid for its period and the next, when responses carry the new one (RFC 9449 §8.2)', async () => {
  const { guard, clock } = asking();
  const first = await nonceOf(guard);
  clock.advance(REST_OF_PERIOD_SECONDS - 1);
  let seconds = REST_OF_PERIOD_SECONDS - 1;
  assert.equal(newNonceOf(await present(guard, { nonce: first }, seconds)), undefined);
  clock.advance(1);
  seconds += 1;
  const second = await nonceOf(guard, seconds);
  assert.notEqual(second, first);
  assert.equal(newNonceOf(await present(guard, { nonce: first }, seconds)), second);
  assert.equal(newNonceOf(await present(guard, { nonce: second }, seconds)), undefined);
  clock.advance(PERIOD_SECONDS);
  seconds += PERIOD_SECONDS;
  assert.equal(assertDenied(await present(guard, { nonce: first }, seconds), 401).body.error, 'use_dpop_nonce');
  assert.equal(newNonceOf(await present(guard, { nonce: second }, seconds)), await nonceOf(guard, seconds));
});

test("a valid nonce doesn't make up for an old proof, a replay, or another method, URL or token (RFC 9449 §4.3)", async () => {
  const { guard } = asking();
  const nonce = await nonceOf(guard);
  const bad = [
    { iat: NOW_SECONDS - 61 },
    { htm: 'POST' },
    { htu: `${API}/transfers` },
    { ath: hash('another token') },
  ] as const;
  for (const claims of bad) {
    const { body, headers } = assertDenied(await present(guard, { nonce, ...claims }), 401, JSON.stringify(claims));
    assert.equal(body.error, 'invalid_dpop_proof');
    // A client that has to make another proof can use the nonce right away.
    assert.equal(headers['DPoP-Nonce'], nonce);
  }
  const proof = prover.prove(token, { nonce });
  assertAllowed(await guard.check(proved(token, proof), '/accounts.read'));
  const again = assertDenied(await guard.check(proved(token, proof), '/accounts.read'), 401);
  assert.equal(again.because, 'the proof: replayed');
});

test("guards with the same key accept each other's nonces, if their clocks differ by at most one period", async () => {
  const [here, there, stranger] = [asking(KEY), asking(KEY), asking(`${KEY}.`)];
  const nonce = await nonceOf(here.guard);
  assert.equal(await nonceOf(there.guard), nonce);
  // The same for every version: half of the minute's MAC.
  const mac = createHmac('sha256', KEY)
    .update(`dpop nonce ${Math.floor(NOW_SECONDS / PERIOD_SECONDS)}`)
    .digest();
  assert.equal(nonce, mac.subarray(0, 16).toString('base64url'));
  assertAllowed(await present(there.guard, { nonce }));
  assertDenied(await present(stranger.guard, { nonce }), 401);
  there.clock.advance(PERIOD_SECONDS);
  const ahead = await nonceOf(there.guard, PERIOD_SECONDS);
  // It doesn't get ours, which would be older.
  assert.equal(newNonceOf(await present(here.guard, { nonce: ahead })), undefined);
  there.clock.advance(PERIOD_SECONDS);
  assertDenied(await present(here.guard, { nonce: await nonceOf(there.guard, 2 * PERIOD_SECONDS) }), 401);
});

test('an unbound token needs no nonce, and a bound one sent as Bearer gets the nonce with the challenge', async () => {
  const { guard } = asking();
  const nonce = await nonceOf(guard);
  assert.equal(newNonceOf(await guard.check(bearer(await issuer.token()), '/accounts.read')), undefined);
  const none = assertDenied(await guard.check({ method: 'GET', url: '/', headers: {} }, '/accounts.read'), 401);
  assert.ok(!('DPoP-Nonce' in none.headers));
  const bad = assertDenied(await guard.check(bearer('x'), '/accounts.read'), 401);
  assert.ok(!('DPoP-Nonce' in bad.headers));
  const bound = assertDenied(await guard.check(bearer(token), '/accounts.read'), 401);
  assert.equal(bound.headers['DPoP-Nonce'], nonce);
});

test('fetch: the new nonce is added to every kind of response, even those with immutable headers', async () => {
  const answers: Readonly<Record<string, () => Response>> = {
    plain: () => new Response('in', { headers: { 'cache-control': 'max-age=60', etag: '"1"' } }),
    empty: () => new Response(null, { status: 204 }),
    redirect: () => Response.redirect(`${API}/elsewhere`, 303),
  };
  for (const [name, answer] of Object.entries(answers)) {
    const { guard, clock } = asking();
    const handler = protectFetch(guard, policy, answer);
    const nonce = await nonceOf(guard);
    const ask = async (seconds: number): Promise<Response> => {
      const dpop = prover.prove(token, { nonce, iat: NOW_SECONDS + seconds });
      return await handler(new Request(`${API}/accounts`, { headers: { authorization: `DPoP ${token}`, dpop } }));
    };
    assert.equal((await ask(0)).headers.get('dpop-nonce'), null, name);
    clock.advance(PERIOD_SECONDS);
    const response = await ask(PERIOD_SECONDS);
    const [plain, body] = [answer(), await response.text()];
    assert.equal(response.status, plain.status, name);
    assert.equal(body, await plain.text(), name);
    assert.equal(response.headers.get('location'), plain.headers.get('location'), name);
    assert.equal(response.headers.get('etag'), plain.headers.get('etag'), name);
    assert.equal(response.headers.get('dpop-nonce'), await nonceOf(guard, PERIOD_SECONDS), name);
    assert.equal(response.headers.get('cache-control'), 'no-store', name);
  }
});

test("fetch: a response that needs no header, or can't have one, is passed on unchanged", async () => {
  for (const made of [new Response('in'), Response.redirect(`${API}/elsewhere`), Response.error()]) {
    const { guard, clock } = asking();
    const handler = protectFetch(guard, policy, () => made);
    const nonce = await nonceOf(guard);
    const ask = async (seconds: number): Promise<Response> => {
      const dpop = prover.prove(token, { nonce, iat: NOW_SECONDS + seconds });
      return await handler(new Request(`${API}/accounts`, { headers: { authorization: `DPoP ${token}`, dpop } }));
    };
    assert.equal(await ask(0), made);
    clock.advance(PERIOD_SECONDS);
    const response = await ask(PERIOD_SECONDS);
    // A network error has no headers; adding one would make it a different response.
    if (made.status === 0) assert.equal(response, made);
    else assert.equal(response.headers.get('dpop-nonce'), await nonceOf(guard, PERIOD_SECONDS));
  }
});
