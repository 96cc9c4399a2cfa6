import { compilePolicy, createGuard, type Guard } from '@hallpass/guard';
import { protect as protectFetch } from '@hallpass/guard/fetch';
import { protect as protectNode } from '@hallpass/guard/node';
import { createTestIssuer } from '@hallpass/guard/testing';
import { PATHS } from '@hallpass/protocol';
import * as fc from 'fast-check';
import { decodeJwt } from 'jose';
import assert from 'node:assert/strict';
import { constants, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { after, mock, test } from 'node:test';
import { assertAllowed, assertDenied, guardOf, openBench, type Bench } from '../harness.ts';
import { API, makeId, NOW_SECONDS } from '../issuer.ts';
import { ABSENT, hash, proved, Prover } from '../prover.ts';

const policy = compilePolicy({ 'GET /accounts': '/accounts.read', 'GET /transfers': '/transfers.read' });
const HTU = `${API}/accounts`;

const bench = await openBench({ publicURL: API });
const { issuer, guard } = bench;
const prover = new Prover();
const token = await issuer.token({ cnf: { jkt: prover.jkt } });
const port = await listen(guard);

/** The port of an API behind this guard; it responds with the thumbprint of the token's key. */
async function listen(guarded: Guard): Promise<number> {
  const api = createServer(
    protectNode(guarded, policy, (_request, response, { boundTo }) => void response.end(boundTo)),
  );
  api.listen(0, '127.0.0.1');
  await once(api, 'listening');
  after(() => api.close());
  const address = api.address();
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

interface Answer {
  readonly status: number;
  readonly challenge: string;
  readonly body: string;
}

/** Sends exactly these header lines over a bare socket. */
async function send(
  lines: readonly string[],
  { target = '/accounts', method = 'GET', to = port }: { target?: string; method?: string; to?: number } = {},
): Promise<Answer> {
  const socket = connect(to, '127.0.0.1');
  socket.write([`${method} ${target} HTTP/1.1`, 'Host: api', 'Connection: close', ...lines, '', ''].join('\r\n'));
  let text = '';
  for await (const piece of socket.setEncoding('utf8')) text += String(piece);
  const [head = '', body = ''] = text.split('\r\n\r\n', 2);
  const challenge = /^www-authenticate: (.*)$/im.exec(head)?.[1]?.trim() ?? '';
  return { status: Number(head.split(' ')[1]), challenge, body };
}

function dpop(of: string, ...proofs: readonly string[]): string[] {
  return [`Authorization: DPoP ${of}`, ...proofs.map((proof) => `DPoP: ${proof}`)];
}

const NOT_GOOD =
  /^DPoP realm="[^"]*", error="invalid_dpop_proof", error_description="[^"\\]*", algs="ES256 EdDSA PS256"$/;

async function assertRefused(lines: readonly string[], hint: string, at: { target?: string } = {}): Promise<void> {
  const { status, challenge } = await send(lines, at);
  assert.equal(status, 401, hint);
  assert.match(challenge, NOT_GOOD, hint);
}

test("a bound token with a proof of its key is accepted, for each algorithm, and the handler gets the key's thumbprint (RFC 9449 §7.1)", async () => {
  for (const algorithm of ['ES256', 'EdDSA', 'PS256'] as const) {
    const mine = new Prover(algorithm);
    const other = new Prover(algorithm);
    const bound = await issuer.token({ cnf: { jkt: mine.jkt } });
    const { status, body } = await send(dpop(bound, mine.prove(bound)));
    assert.equal(status, 200, algorithm);
    assert.match(body, new RegExp(mine.jkt));
    await assertRefused(dpop(bound, other.prove(bound)), `${algorithm}: another key`);
    const forged = other.prove(bound, {}, { jwk: mine.jwk });
    await assertRefused(dpop(bound, forged), `${algorithm}: signed with another key`);
  }
  for (const scheme of ['dpop', 'DPOP'])
    assert.equal((await send([`Authorization: ${scheme} ${token}`, `DPoP: ${prover.prove(token)}`])).status, 200);
});

test('a bound token sent as Bearer is refused with a DPoP challenge, even with a proof next to it (RFC 9449 §7.2)', async () => {
  const unbound = await issuer.token();
  assert.equal((await send([`Authorization: Bearer ${unbound}`])).status, 200);
  for (const proofs of [[], [`DPoP: ${prover.prove(token)}`]]) {
    const { status, challenge } = await send([`Authorization: Bearer ${token}`, ...proofs]);
    assert.equal(status, 401);
    assert.match(challenge, /^DPoP realm="[^"]*", error="invalid_token", error_description="[^"\\]*", algs="[^"]*"$/);
  }
});

test('an unbound token is refused under the DPoP scheme, whatever proof comes with it (RFC 9449 §7.1)', async () => {
  const unbound = await issuer.token();
  for (const proofs of [[], [prover.prove(unbound)]]) {
    const { status, challenge } = await send(dpop(unbound, ...proofs));
    assert.equal(status, 401);
    assert.match(challenge, /error="invalid_token"/);
  }
  assert.equal((await send([`Authorization: Bearer ${unbound}`, 'DPoP: anything'])).status, 200);
});

test("a proof doesn't make up for an invalid token or a missing scope", async () => {
  const bad = await issuer.token({ cnf: { jkt: prover.jkt }, exp: 1 });
  assert.match((await send(dpop(bad, prover.prove(bad)))).challenge, /error="invalid_token"/);
  const proof = prover.prove(token, { htu: `${API}/transfers` });
  const { status, challenge } = await send(dpop(token, proof), { target: '/transfers' });
  assert.equal(status, 403);
  assert.match(challenge, /error="insufficient_scope".*scope="\/transfers\.read"/);
});

test('the challenge uses the scheme that the client tried, and for DPoP it lists the algorithms (RFC 9449 §7.1)', async () => {
  const refused: Readonly<Record<string, readonly [number, string, string]>> = {
    'no token at all': [401, 'abc', '/accounts'],
    expired: [401, await issuer.token({ exp: 1 }), '/accounts'],
    "another API's": [401, await issuer.token({ aud: 'https://other.example.com' }), '/accounts'],
    'without the scope': [403, await issuer.token({ scope: '/other.read' }), '/accounts'],
    'for no route': [403, await issuer.token(), '/nowhere'],
  };
  for (const [hint, [status, shown, target]] of Object.entries(refused)) {
    const asBearer = await send([`Authorization: Bearer ${shown}`], { target });
    assert.equal(asBearer.status, status, hint);
    assert.match(asBearer.challenge, /^Bearer realm="[^"]*", error="(?!.*algs=)/, hint);
    const mine = shown === 'abc' ? shown : await rebind(shown);
    const proof = prover.prove(mine, { htu: API + target });
    const asDPoP = await send(dpop(mine, proof), { target });
    assert.equal(asDPoP.status, status, hint);
    assert.match(asDPoP.challenge, /^DPoP realm="[^"]*", error="[^"]*", .*algs="ES256 EdDSA PS256"$/, hint);
  }
});

/** The same token, bound to the prover's key. */
async function rebind(unbound: string): Promise<string> {
  return await issuer.token({ ...decodeJwt(unbound), cnf: { jkt: prover.jkt } });
}

test('there is exactly one proof: none, two, or two joined into one are refused (RFC 9449 §4.3, 1)', async () => {
  const [one, other] = [prover.prove(token), prover.prove(token)];
  await assertRefused(dpop(token), 'none');
  await assertRefused(dpop(token, ''), 'an empty one');
  await assertRefused(dpop(token, one, other), 'two');
  await assertRefused(dpop(token, one, one), 'the same twice');
  await assertRefused(dpop(token, `${one}, ${other}`), 'joined');
  await assertRefused(dpop(token, `${one},`), 'with a comma');
  // None of these used up the proofs.
  assert.equal((await send(dpop(token, one))).status, 200);
});

test('malformed proofs are refused (RFC 9449 §4.3, 2 to 7)', async () => {
  const { jwk } = prover;
  const secret = { ...jwk, ...prover.privateKey.export({ format: 'jwk' }) };
  const headers: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    'no typ': { typ: ABSENT },
    'another typ': { typ: 'jwt' },
    'an access token': { typ: 'at+jwt' },
    'no alg': { alg: ABSENT },
    none: { alg: 'none' },
    'a symmetric alg': { alg: 'HS256' },
    "another key's alg": { alg: 'PS256' },
    'no key': { jwk: ABSENT },
    'a private key': { jwk: secret },
    'a symmetric key': { jwk: { kty: 'oct', k: 'AAAA' } },
    'no point of the curve': { jwk: { ...jwk, y: jwk['x'] } },
    crit: { crit: ['exp'], exp: 1 },
    b64: { b64: true },
  };
  for (const [hint, header] of Object.entries(headers))
    await assertRefused(dpop(token, prover.prove(token, {}, header)), hint);
  const good = prover.prove(token);
  const [header = '', payload = '', signature = ''] = good.split('.');
  for (const text of [
    `${header}.${payload}`,
    `${header}.${payload}.`,
    `${good}.`,
    `${header}.${payload}.${'A'.repeat(86)}`,
    `${header}.${payload}.${signature.slice(0, -4)}`,
    `${header}.${payload}.${signature}=`,
    `${header}.${payload}x.${signature}`,
    `${'A'.repeat(5_000)}.${payload}.${signature}`,
    token,
    'null',
  ]) {
    await assertRefused(dpop(token, text), text);
  }
  assert.equal((await send(dpop(token, good))).status, 200);
});

test('a proof is only valid for this method, URL, token and time (RFC 9449 §4.3, 8 to 12)', async () => {
  const other = await issuer.token({ cnf: { jkt: prover.jkt } });
  const good: readonly Readonly<Record<string, unknown>>[] = [
    {},
    { htu: 'HTTPS://API.EXAMPLE.COM:443/accounts' },
    { htu: `${HTU}?page=2#top` },
    { iat: NOW_SECONDS - 60 },
    { iat: NOW_SECONDS + 10 },
    { jti: 'x'.repeat(256) },
    { nonce: 'of another server', more: true },
  ];
  const bad: readonly Readonly<Record<string, unknown>>[] = [
    { htm: 'POST' },
    { htm: 'get' },
    { htm: ABSENT },
    { htu: 'http://api.example.com/accounts' },
    { htu: 'https://api.example.org/accounts' },
    { htu: 'https://api.example.com:8443/accounts' },
    { htu: `${HTU}/` },
    { htu: `${API}/Accounts` },
    { htu: '/accounts' },
    { htu: [HTU] },
    { htu: ABSENT },
    { iat: NOW_SECONDS - 61 },
    { iat: NOW_SECONDS + 11 },
    { iat: String(NOW_SECONDS) },
    { iat: ABSENT },
    { jti: 'x'.repeat(257) },
    { jti: '' },
    { jti: 7 },
    { jti: ABSENT },
    { ath: ABSENT },
    { ath: hash(other) },
    { ath: `${hash(token)}=` },
    { ath: token },
  ];
  for (const claims of good) {
    const { status } = await send(dpop(token, prover.prove(token, claims)));
    assert.equal(status, 200, JSON.stringify(claims));
  }
  for (const claims of bad) await assertRefused(dpop(token, prover.prove(token, claims)), JSON.stringify(claims));
  // The query is not part of the address, and the path is (RFC 9449 §4.2).
  assert.equal((await send(dpop(token, prover.prove(token)), { target: '/accounts?page=2' })).status, 200);
  await assertRefused(dpop(token, prover.prove(token)), 'another path', { target: '/transfers' });
});

test('a proof and its jti can be used once; another key may use the same jti (RFC 9449 §11.1)', async () => {
  const other = new Prover();
  const theirs = await issuer.token({ cnf: { jkt: other.jkt } });
  const jti = makeId();
  const proof = prover.prove(token, { jti });
  assert.equal((await send(dpop(token, proof))).status, 200);
  await assertRefused(dpop(token, proof), 'the same proof');
  await assertRefused(dpop(token, prover.prove(token, { jti, iat: NOW_SECONDS - 1 })), 'the same jti');
  assert.equal((await send(dpop(theirs, other.prove(theirs, { jti })))).status, 200);
  assert.equal((await send(dpop(token, prover.prove(token)))).status, 200);
});

test('of twenty concurrent requests with one proof, one is accepted', async () => {
  const proof = prover.prove(token);
  const answers = await Promise.all(Array.from({ length: 20 }, () => send(dpop(token, proof))));
  assert.equal(answers.filter(({ status }) => status === 200).length, 1);
});

test('a proof is remembered for exactly as long as it could be used', async () => {
  const own = guardOf(issuer, { publicURL: API, maxStalenessSeconds: 3_600 });
  const check = (proof: string): ReturnType<Guard['check']> => own.guard.check(proved(token, proof), '/accounts.read');
  const proof = prover.prove(token, { iat: NOW_SECONDS + 10 });
  assertAllowed(await check(proof));
  own.clock.advance(70);
  assert.equal(assertDenied(await check(proof), 401).because, 'the proof: replayed');
  own.clock.advance(1);
  assert.equal(assertDenied(await check(proof), 401).because, 'iat is too far from now');
});

test('a revoked token is refused with its proof, and the proof is not used up', async () => {
  const asked: string[] = [];
  const rememberProof = (id: string): Promise<boolean> => Promise.resolve(asked.push(id) > 0);
  const own = guardOf(issuer, { publicURL: API, rememberProof });
  const jti = makeId();
  const mine = await issuer.token({ jti, cnf: { jkt: prover.jkt } });
  const check = (): ReturnType<Guard['check']> => own.guard.check(proved(mine, prover.prove(mine)), '/accounts.read');
  assertAllowed(await check());
  issuer.revoke({ kind: 'token', id: jti });
  while (own.guard.health().revocations === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(assertDenied(await check(), 401).because, 'revoked');
  assert.equal(asked.length, 1);
});

test('a revocation that arrives while the shared store is asked takes effect', async () => {
  const jti = makeId();
  const rememberProof = async (): Promise<boolean> => {
    const held = own.guard.health().revocations;
    issuer.revoke({ kind: 'token', id: jti });
    while (own.guard.health().revocations === held) await new Promise((resolve) => setImmediate(resolve));
    return true;
  };
  const own: Bench = guardOf(issuer, { publicURL: API, rememberProof });
  const mine = await issuer.token({ jti, cnf: { jkt: prover.jkt } });
  assert.equal(
    assertDenied(await own.guard.check(proved(mine, prover.prove(mine)), '/accounts.read'), 401).because,
    'revoked',
  );
});

test('all keys of a client share one quota of proofs, and beyond it only that client gets 429', async () => {
  const own = guardOf(issuer, { publicURL: API, proofsPerClientMax: 3, maxStalenessSeconds: 3_600 });
  const present = async (clientId: string, seconds = 0): ReturnType<Guard['check']> => {
    const another = new Prover();
    const mine = await issuer.token({ sub: clientId, client_id: clientId, cnf: { jkt: another.jkt } });
    const proof = another.prove(mine, { iat: NOW_SECONDS + seconds });
    return await own.guard.check(proved(mine, proof), '/accounts.read');
  };
  for (let at = 0; at < 3; at++) assertAllowed(await present('busy'));
  const { headers, body } = assertDenied(await present('busy'), 429);
  assert.equal(body.error, 'rate_limited');
  assert.match(headers['Retry-After'] ?? '', /^[1-9]\d*$/);
  // The credentials are valid, so there is nothing to challenge.
  assert.equal(headers['WWW-Authenticate'], undefined);
  assertAllowed(await present('quiet'));
  assertAllowed(await own.check(await issuer.token({ sub: 'busy', client_id: 'busy' })), 'a bearer token');
  own.clock.advance(61);
  assertAllowed(await present('busy', 61));
});

test('instances with a shared store accept a proof once between them; without one, each accepts it once (RFC 9449 §11.1)', async () => {
  const store = new Map<string, number>();
  const rememberProof = (id: string, expiresAt: number): Promise<boolean> => {
    const fresh = !store.has(id);
    store.set(id, expiresAt);
    return Promise.resolve(fresh);
  };
  const jti = makeId();
  for (const [options, second] of [
    [{ publicURL: API }, 200],
    [{ publicURL: API, rememberProof }, 401],
  ] as const) {
    const proof = prover.prove(token, { jti });
    const [one, other] = [await listen(guardOf(issuer, options).guard), await listen(guardOf(issuer, options).guard)];
    assert.equal((await send(dpop(token, proof), { to: one })).status, 200);
    assert.equal((await send(dpop(token, proof), { to: other })).status, second);
  }
  // Longer than the proof is valid here: an instance with a slow clock accepts it longer, and the store may be slow
  // too.
  assert.deepEqual([...store.values()], [NOW_SECONDS + 61 + 10]);
  const [id = ''] = store.keys();
  assert.match(id, /^[\w-]{43}$/);
});

test('a failing shared store is a 503, and any answer but true is a no', async () => {
  const answers: readonly (readonly [() => Promise<boolean>, number])[] = [
    [() => Promise.resolve(true), 200],
    [() => Promise.resolve(false), 401],
    [() => Promise.resolve(JSON.parse('"OK"')), 401],
    [() => Promise.reject(new Error('a secret of the store')), 503],
    [
      () => {
        throw new Error('a secret of the store');
      },
      503,
    ],
  ];
  for (const [rememberProof, status] of answers) {
    const own = guardOf(issuer, { publicURL: API, rememberProof });
    const decision = await own.guard.check(proved(token, prover.prove(token)), '/accounts.read');
    if (status === 200) assertAllowed(decision);
    else assert.ok(!JSON.stringify(assertDenied(decision, status)).includes('secret'));
  }
});

test("in Node, only publicURL says which URL clients call: Host and the request line don't count", async () => {
  const blind = guardOf(issuer);
  const to = await listen(blind.guard);
  for (const target of ['/accounts', `${API}/accounts`]) {
    const { status, challenge } = await send([...dpop(token, prover.prove(token))], { target, to });
    assert.equal(status, 401, target);
    assert.match(challenge, NOT_GOOD);
    assert.equal((await send(dpop(token, prover.prove(token)), { target })).status, 200, target);
  }
  const { because } = assertDenied(await blind.guard.check(proved(token, prover.prove(token)), '/accounts.read'), 401);
  assert.match(because, /publicURL/);
  // With publicURL set, nothing else counts.
  const elsewhere = prover.prove(token, { htu: 'https://evil.example/accounts' });
  await assertRefused(dpop(token, elsewhere), 'absolute', { target: 'https://evil.example/accounts' });
  await assertRefused([...dpop(token, elsewhere), 'X-Forwarded-Host: evil.example'], 'forwarded');
});

test('publicURL may have a path that a proxy strips before the guard sees it', async () => {
  for (const publicURL of [`${API}/v1`, `${API}/v1/`]) {
    const to = await listen(guardOf(issuer, { publicURL }).guard);
    const v1 = prover.prove(token, { htu: `${API}/v1/accounts` });
    assert.equal((await send(dpop(token, v1), { to })).status, 200);
    assert.equal((await send(dpop(token, prover.prove(token)), { to })).status, 401);
  }
});

test("fetch: the host is publicURL's, never the Request's, so a proof made for another API is refused (RFC 9449 §4.3, 9)", async () => {
  const statusOf = async (guarded: Guard, url: string, htu: string): Promise<number> => {
    const handler = protectFetch(guarded, policy, (_request, { boundTo }) => new Response(boundTo));
    const headers = { authorization: `DPoP ${token}`, dpop: prover.prove(token, { htu }) };
    return (await handler(new Request(url, { headers }))).status;
  };
  // Made for another API, which forwards the token and the proof to this one.
  const elsewhere = 'https://evil.example/accounts';
  for (const url of [HTU, elsewhere, 'http://10.0.0.1/accounts']) {
    assert.equal(await statusOf(guard, url, HTU), 200, url);
    assert.equal(await statusOf(guard, url, elsewhere), 401, url);
  }
  const { guard: blind } = guardOf(issuer);
  for (const htu of [HTU, elsewhere]) assert.equal(await statusOf(blind, htu, htu), 401, htu);
});

test('scheme, host and port are compared by meaning, the path byte by byte (RFC 9449 §4.3, RFC 3986 §6.2)', async () => {
  const same: Readonly<Record<string, readonly string[]>> = {
    'https://API.example.com:443': [HTU, 'https://api.example.com:443/accounts', 'HTTPS://api.EXAMPLE.com/accounts'],
    'http://localhost': ['http://localhost/accounts', 'http://LOCALHOST:80/accounts'],
    'http://localhost:3000': ['http://localhost:3000/accounts'],
  };
  const others: Readonly<Record<string, readonly string[]>> = {
    'https://API.example.com:443': ['https://api.example.com:80/accounts', 'http://api.example.com:443/accounts'],
    'http://localhost': ['http://localhost:443/accounts', 'https://localhost/accounts', 'http://localhost/ACCOUNTS'],
    'http://localhost:3000': ['http://localhost/accounts', 'http://localhost:30000/accounts'],
  };
  for (const [publicURL, good] of Object.entries(same)) {
    const own = guardOf(issuer, { publicURL });
    const check = (htu: string): ReturnType<Guard['check']> =>
      own.guard.check(proved(token, prover.prove(token, { htu })), '/accounts.read');
    for (const htu of good) assertAllowed(await check(htu), htu);
    for (const htu of others[publicURL] ?? []) assertDenied(await check(htu), 401, htu);
  }
});

test('no content of the DPoP header makes the guard fail: it is always refused', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.jsonValue().map((claims) => prover.seal({ typ: 'dpop+jwt', alg: 'ES256', jwk: prover.jwk }, claims)),
        fc.jsonValue().map((jwk) => prover.prove(token, {}, { jwk })),
      ),
      async (proof) => {
        assertDenied(await guard.check(proved(token, proof), '/accounts.read'), 401);
      },
    ),
    { numRuns: 300 },
  );
});

test('a refusal contains neither the token nor the proof', async () => {
  const proof = prover.prove(token, { htm: 'POST' });
  const text = JSON.stringify(await guard.check(proved(token, proof), '/accounts.read'));
  assert.ok(!text.includes(token) && !text.includes(proof));
});

test('the salt of PS256 is as long as its hash (RFC 7518 §3.5)', async () => {
  const rsa = new Prover('PS256');
  const bound = await issuer.token({ cnf: { jkt: rsa.jkt } });
  for (const saltLength of [32, 31, 0, 64]) {
    const [header = '', payload = ''] = rsa.prove(bound).split('.');
    const key = { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
    const signature = sign('sha256', Buffer.from(`${header}.${payload}`), key).toString('base64url');
    const decision = await guard.check(proved(bound, `${header}.${payload}.${signature}`), '/accounts.read');
    if (saltLength === 32) assertAllowed(decision);
    else assert.equal(assertDenied(decision, 401).because, 'the signature of the proof is wrong');
  }
});

test('a token bound to a point off the curve cannot be used: such a key has no valid signatures', async () => {
  const { crv, kty, x, y } = prover.jwk;
  for (const [jwk, isPoint] of [
    [{ crv, kty, x, y }, true],
    [{ crv, kty, x, y: x }, false],
  ] as const) {
    const bound = await issuer.token({ cnf: { jkt: hash(JSON.stringify(jwk)) } });
    const decision = await guard.check(proved(bound, prover.prove(bound, {}, { jwk })), '/accounts.read');
    if (isPoint) assertAllowed(decision);
    else assert.equal(assertDenied(decision, 401).because, 'the signature of the proof is wrong');
  }
});

test("nothing is verified with a key that the token isn't bound to: a stranger's key costs one hash", async () => {
  const proof = new Prover().prove(token);
  assertAllowed(await guard.check(proved(token, prover.prove(token)), '/accounts.read'));
  const verify = mock.method(crypto.subtle, 'verify');
  try {
    const { because } = assertDenied(await guard.check(proved(token, proof), '/accounts.read'), 401);
    assert.equal(because, 'the proof is of another key');
    assert.equal(verify.mock.callCount(), 0);
  } finally {
    verify.mock.restore();
  }
});

test('busy clients leave room for quiet ones, and a full memory is an outage: no proof may be forgotten', async () => {
  const own = guardOf(issuer, { publicURL: API, proofsPerClientMax: 4 });
  const present = async (clientId: string): Promise<number> => {
    const mine = await issuer.token({ sub: clientId, client_id: clientId, cnf: { jkt: prover.jkt } });
    const decision = await own.guard.check(proved(mine, prover.prove(mine)), '/accounts.read');
    return decision.allowed ? 200 : decision.status;
  };
  // Ten shares of four: twelve clients at full speed don't fill them.
  for (let at = 0; at < 12; at++) for (let round = 0; round < 4; round++) await present(`busy-${at}`);
  assert.equal(await present('busy-0'), 429);
  assert.equal(await present('quiet'), 200);
  let more = 0;
  while ((await present(`more-${more}`)) === 200) more += 1;
  assert.ok(more > 0 && more < 30);
  assert.equal(await present('last'), 503);
  own.clock.advance(9);
  assert.equal(await present('last'), 503);
});

test('a proof that expires while its request is checked is refused, used before or not', async () => {
  const own = guardOf(issuer, { publicURL: API, whenStale: 'introspect' });
  assertAllowed(await own.check(await issuer.token()));
  const check = (proof: string): ReturnType<Guard['check']> => own.guard.check(proved(token, proof), '/accounts.read');
  const [used, unused] = [prover.prove(token), prover.prove(token)];
  assertAllowed(await check(used));
  issuer.active.add(token);
  // Introspection takes so long that the proof, good at first, is too old when it's over.
  issuer.instead.set(PATHS.introspect, (_request, response) => {
    own.clock.advance(1);
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"active":true}');
  });
  own.clock.advance(60);
  assertDenied(await check(unused), 401);
  assertDenied(await check(used), 401);
  issuer.instead.delete(PATHS.introspect);
});

test('the shared store has 5 s to answer, and a later answer does not count', async () => {
  const local = await createTestIssuer({ audience: API });
  let answer = (_isFresh: boolean): void => {};
  let onAsk = (): void => {};
  const own = createGuard({
    ...local.options,
    publicURL: API,
    rememberProof: () =>
      new Promise((resolve) => {
        answer = resolve;
        onAsk();
      }),
  });
  after(() => own.close());
  await own.ready();
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    for (const [milliseconds, status] of [
      [4_999, 200],
      [5_000, 503],
    ] as const) {
      const mine = await local.token({ scope: '/accounts.read', boundTo: prover.jkt });
      const asked = new Promise<void>((resolve) => (onAsk = resolve));
      const now = Math.floor(Date.now() / 1000);
      const checking = own.check(proved(mine, prover.prove(mine, { iat: now })), '/accounts.read');
      await asked;
      mock.timers.tick(milliseconds);
      await new Promise(setImmediate);
      answer(true);
      const decision = await checking;
      if (status === 200) assertAllowed(decision);
      else {
        const because = 'The shared store of proofs could not be asked: no answer in time.';
        assert.equal(assertDenied(decision, status).because, because);
      }
    }
  } finally {
    mock.timers.reset();
  }
});
