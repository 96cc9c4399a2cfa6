/** Guard and server together: tokens, keys and revocations of a real Hallpass, checked by an API in Node. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { compilePolicy, type Guard, type GuardOptions } from '@hallpass/guard';
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, exportJWK, SignJWT } from 'jose';
import * as oauth from 'oauth4webapi';
import { openApi, type GuardedApi } from '../testing/server/guarded_api.ts';
import {
  createKey,
  makeDataDir,
  startHallpass,
  type Credentials,
  type HallpassProcess,
} from '../testing/process/process.ts';

/**
 * How long a change at the server may take to be the guard's as well, in milliseconds: after `maxStalenessSeconds` without
 * news the guard would refuse everybody. Where all is idle it is a second at the most.
 */
const HEARD_MS_MAX = 10_000;
/** How long is waited between two looks, in milliseconds. */
const LOOK_MS = 20;
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
const BIN = fileURLToPath(new URL('../packages/server/bin/hallpass.js', import.meta.url));

const insecure = { [oauth.allowInsecureRequests]: true };
const policy = compilePolicy({ 'GET /accounts': '/accounts.read', 'POST /accounts': '/accounts.write' });
const { dataDir, remove } = makeDataDir();
let api: GuardedApi;
/** The same API on another address; this instance asks for nonces. */
let asking: GuardedApi;
let hallpass: HallpassProcess;
let partner: Credentials;
let guard: Guard;
let server: oauth.AuthorizationServer;

before(async () => {
  [api, asking] = await Promise.all([openApi(), openApi()]);
  const scopes = ['--scope', '/accounts.read', '--scope', '/accounts.write'];
  partner = await createKey(dataDir, ['Partner', ...scopes, '--audience', api.origin]);
  const credentials = await createKey(dataDir, ['Accounts API', '--resource-server', api.origin]);
  hallpass = await startHallpass(dataDir);
  const options: GuardOptions = { issuer: hallpass.issuer, audience: api.origin, credentials, resourceMetadata: true };
  guard = api.guardBy(policy, options);
  const other = asking.guardBy(policy, { ...options, dpopNonces: true });
  await Promise.all([guard.ready(), other.ready()]);
  const issuer = new URL(hallpass.issuer);
  const found = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' });
  server = await oauth.processDiscoveryResponse(issuer, found);
});
after(async () => {
  api.close();
  asking.close();
  await hallpass.stop();
  remove();
});

const client = (): oauth.Client => ({ client_id: partner.clientId });
const authentication = (): oauth.ClientAuth => oauth.ClientSecretBasic(partner.clientSecret);

/** A key pair of a client, and what its token requests are signed with. */
interface Holder {
  readonly keys: oauth.CryptoKeyPair;
  readonly handle: oauth.DPoPHandle;
}

async function makeHolder(): Promise<Holder> {
  const keys = await oauth.generateKeyPair('ES256', { extractable: true });
  return { keys, handle: oauth.DPoP(client(), keys) };
}

/** A token of the server; bound to the key of a holder, if there is one. */
async function askForToken(holder?: Holder): Promise<string> {
  const scope = '/accounts.read';
  const options = holder === undefined ? insecure : { ...insecure, DPoP: holder.handle };
  const answer = await oauth.clientCredentialsGrantRequest(server, client(), authentication(), { scope }, options);
  const { access_token, token_type } = await oauth.processClientCredentialsResponse(server, client(), answer);
  assert.equal(token_type, holder === undefined ? 'bearer' : 'dpop');
  return access_token;
}

/** A token that was cut from another, bound to the key of a holder (RFC 8693 §2.1). */
async function exchange(subject: string, holder: Holder): Promise<string> {
  const parameters = { subject_token: subject, subject_token_type: ACCESS_TOKEN_TYPE };
  const options = { ...insecure, DPoP: holder.handle };
  const answer = await oauth.genericTokenEndpointRequest(
    server,
    client(),
    authentication(),
    EXCHANGE,
    parameters,
    options,
  );
  return (await oauth.processGenericTokenEndpointResponse(server, client(), answer)).access_token;
}

/** A proof for `GET /accounts` with a token, made with nothing but jose (RFC 9449 §4.2). */
async function prove(token: string, { keys }: Holder): Promise<string> {
  const ath = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(token))).toString('base64url');
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: await exportJWK(keys.publicKey) };
  return await new SignJWT({ htm: 'GET', htu: `${api.origin}/accounts`, ath, jti: randomUUID() })
    .setProtectedHeader(header)
    .setIssuedAt()
    .sign(keys.privateKey);
}

interface Answer {
  readonly status: number;
  readonly challenge: string;
  readonly body: string;
}

async function get(headers: Readonly<Record<string, string>>): Promise<Answer> {
  const response = await fetch(`${api.origin}/accounts`, { headers });
  const challenge = response.headers.get('www-authenticate') ?? '';
  return { status: response.status, challenge, body: await response.text() };
}

function getAsBearer(token: string): Promise<Answer> {
  return get({ authorization: `Bearer ${token}` });
}

async function getWithProof(token: string, holder: Holder): Promise<Answer> {
  return await get({ authorization: `DPoP ${token}`, dpop: await prove(token, holder) });
}

async function revoke(token: string): Promise<void> {
  const answer = await oauth.revocationRequest(server, client(), authentication(), token, insecure);
  await oauth.processRevocationResponse(answer);
}

/** Looks until what is seen is as it should be, and gives it back; fails when that takes longer than it may. */
async function eventually<Seen>(look: () => Promise<Seen>, isDone: (seen: Seen) => boolean): Promise<Seen> {
  const startedAt = performance.now();
  for (;;) {
    const seen = await look();
    if (isDone(seen)) return seen;
    assert.ok(performance.now() - startedAt < HEARD_MS_MAX, `not within ${HEARD_MS_MAX} ms: ${JSON.stringify(seen)}`);
    await pause(LOOK_MS);
  }
}

/** What a command at the server's store prints. */
async function runHallpass(...words: readonly string[]): Promise<string> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(?:HALLPASS_|NODE_|FORCE_COLOR)/.test(name));
  const env = { ...Object.fromEntries(inherited), HALLPASS_DATA_DIR: dataDir };
  return (await promisify(execFile)(process.execPath, [BIN, ...words], { env })).stdout;
}

const INVALID_TOKEN = /^DPoP .*error="invalid_token".*algs="ES256 EdDSA PS256"/;
const INVALID_PROOF = /^DPoP .*error="invalid_dpop_proof".*algs="ES256 EdDSA PS256"/;

describe('a token that the server bound to a key (RFC 9449 §5)', () => {
  test('opens the API to a client that signs each request, as oauth4webapi does (RFC 9449 §7.1)', async () => {
    const holder = await makeHolder();
    const token = await askForToken(holder);
    const jwk = await exportJWK(holder.keys.publicKey);
    assert.deepEqual(decodeJwt(token)['cnf'], { jkt: await calculateJwkThumbprint(jwk) });
    const address = new URL(`${api.origin}/accounts?page=2`);
    const options = { ...insecure, DPoP: holder.handle };
    for (const attempt of ['first', 'second']) {
      const response = await oauth.protectedResourceRequest(token, 'GET', address, undefined, null, options);
      assert.equal(response.status, 200, attempt);
      assert.equal(await response.text(), partner.clientId);
    }
  });

  test('is refused as Bearer, and with a proof that is missing, used, by another key or for another token (RFC 9449 §7)', async () => {
    const [holder, stranger] = await Promise.all([makeHolder(), makeHolder()]);
    const [token, other] = await Promise.all([askForToken(holder), askForToken(holder)]);
    const authorization = `DPoP ${token}`;
    const used = await prove(token, holder);
    assert.equal((await get({ authorization, dpop: used })).status, 200);
    const refused: Readonly<Record<string, readonly [RegExp, Readonly<Record<string, string>>]>> = {
      'as Bearer': [INVALID_TOKEN, { authorization: `Bearer ${token}` }],
      'as Bearer, with a proof': [
        INVALID_TOKEN,
        { authorization: `Bearer ${token}`, dpop: await prove(token, holder) },
      ],
      'without a proof': [INVALID_PROOF, { authorization }],
      replayed: [INVALID_PROOF, { authorization, dpop: used }],
      'of another key': [INVALID_PROOF, { authorization, dpop: await prove(token, stranger) }],
      'for another token': [INVALID_PROOF, { authorization, dpop: await prove(other, holder) }],
    };
    for (const [hint, [expected, headers]] of Object.entries(refused)) {
      const { status, challenge } = await get(headers);
      assert.equal(status, 401, hint);
      assert.match(challenge, expected, hint);
    }
    assert.equal((await getWithProof(token, holder)).status, 200);
    assert.equal((await getWithProof(other, holder)).status, 200);
  });

  test('is refused once revoked, even with a good proof; another token of the key still works (RFC 7009 §2)', async () => {
    const holder = await makeHolder();
    const [token, other] = await Promise.all([askForToken(holder), askForToken(holder)]);
    assert.equal((await getWithProof(token, holder)).status, 200);
    await revoke(token);
    const { challenge } = await eventually(
      () => getWithProof(token, holder),
      ({ status }) => status === 401,
    );
    assert.match(challenge, INVALID_TOKEN);
    assert.equal((await getWithProof(other, holder)).status, 200);
  });

  test('opens an API that demands nonces, for a client such as oauth4webapi that repeats them (RFC 9449 §9)', async () => {
    const holder = await makeHolder();
    const token = await askForToken(holder);
    const address = new URL(`${asking.origin}/accounts`);
    const options = { ...insecure, DPoP: holder.handle };
    const ask = (): Promise<Response> =>
      oauth.protectedResourceRequest(token, 'GET', address, undefined, null, options);
    await assert.rejects(ask(), (error) => oauth.isDPoPNonceError(error));
    assert.equal((await ask()).status, 200);
    assert.equal((await ask()).status, 200);
  });
});

test('a challenge leads a client to the metadata of the API, and from there to the server’s (RFC 9728 §5, RFC 8414 §3)', async () => {
  const { status, challenge } = await get({});
  assert.equal(status, 401);
  const address = /^Bearer .*resource_metadata="([^"]+)"$/.exec(challenge)?.[1] ?? '';
  const described = await readJson(address);
  assert.equal(described.get('resource'), api.origin);
  assert.deepEqual(described.get('scopes_supported'), ['/accounts.read', '/accounts.write']);
  assert.deepEqual(described.get('authorization_servers'), [hallpass.issuer]);
  const metadata = await readJson(`${hallpass.issuer}/.well-known/oauth-authorization-server`);
  assert.equal(metadata.get('issuer'), hallpass.issuer);
  const offered = metadata.get('dpop_signing_alg_values_supported');
  assert.deepEqual(described.get('dpop_signing_alg_values_supported'), offered);
  assert.equal(metadata.get('token_endpoint'), server.token_endpoint);
  // Another resource has its metadata elsewhere, and here there is no other.
  assert.equal((await fetch(`${address}/other`)).status, 401);
});

async function readJson(address: string): Promise<ReadonlyMap<string, unknown>> {
  const response = await fetch(address);
  assert.equal(response.status, 200, address);
  const body: unknown = await response.json();
  assert.ok(typeof body === 'object' && body !== null);
  return new Map<string, unknown>(Object.entries(body));
}

describe('a token that was exchanged for another key (RFC 8693 §2)', () => {
  test("works with that key and not with its parent's, and the parent the other way round (RFC 9449 §5)", async () => {
    const [backend, page] = await Promise.all([makeHolder(), makeHolder()]);
    const parent = await askForToken(backend);
    const child = await exchange(parent, page);
    for (const [token, own, other] of [
      [parent, backend, page],
      [child, page, backend],
    ] as const) {
      assert.equal((await getWithProof(token, own)).status, 200);
      const { status, challenge } = await getWithProof(token, other);
      assert.equal(status, 401);
      assert.match(challenge, INVALID_PROOF);
      assert.match((await getAsBearer(token)).challenge, INVALID_TOKEN);
    }
  });

  test('is revoked with its parent; revoking it does not revoke the parent (RFC 7009 §2.1)', async () => {
    const [backend, page] = await Promise.all([makeHolder(), makeHolder()]);
    const parent = await askForToken(backend);
    const [child, sibling] = [await exchange(parent, page), await exchange(parent, page)];
    for (const token of [child, sibling]) assert.equal((await getWithProof(token, page)).status, 200);
    await revoke(child);
    const isRefused = ({ status }: Answer): boolean => status === 401;
    assert.match((await eventually(() => getWithProof(child, page), isRefused)).challenge, INVALID_TOKEN);
    assert.equal((await getWithProof(sibling, page)).status, 200);
    assert.equal((await getWithProof(parent, backend)).status, 200);
    await revoke(parent);
    assert.match((await eventually(() => getWithProof(sibling, page), isRefused)).challenge, INVALID_TOKEN);
    assert.equal((await getWithProof(parent, backend)).status, 401);
  });
});

test('when a signing key is removed, a running guard refuses its tokens and accepts those of the next key', async () => {
  const old = await askForToken();
  assert.equal((await getAsBearer(old)).status, 200);
  const { kid = '' } = decodeProtectedHeader(old);
  await runHallpass('signing-keys', 'remove', kid, '--yes');
  const show = (): ReturnType<Guard['check']> =>
    guard.check({ method: 'GET', url: '/accounts', headers: { authorization: `Bearer ${old}` } }, '/accounts.read');
  // Not revoked alone: whoever has the key could make tokens that no revocation is about.
  const isGone = (decision: Awaited<ReturnType<typeof show>>): boolean =>
    !decision.allowed && decision.because === 'the issuer has no such key';
  await eventually(show, isGone);
  assert.equal((await getAsBearer(old)).status, 401);
  const { status, token } = await eventually(
    async () => {
      const fresh = await askForToken();
      return { status: (await getAsBearer(fresh)).status, token: fresh };
    },
    (seen) => seen.status === 200,
  );
  assert.equal(status, 200);
  assert.notEqual(decodeProtectedHeader(token).kid, kid);
});
