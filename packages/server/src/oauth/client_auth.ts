/** Who asks (contract §3): a client with a secret, in the header, in the body or in both alike, or with a signed assertion. */
import {
  CLIENT_ALGORITHMS,
  CLIENT_ASSERTION_TYPE,
  CLIENT_ID_LENGTH_MAX,
  CLIENT_SECRET_LENGTH_MAX,
  isRefusal,
  judgeClientAssertion,
  numericDate,
  parseBasic,
  parseClientAssertion,
  printBasicChallenge,
  refuse,
  type ClientAlgorithm,
  type ClientCredentials,
  type ClientPublicKey,
  type Parameters,
  type Refusal,
  type UnverifiedAssertion,
} from '@hallpass/protocol';
import type { Client, ClientSecret, OnceMark } from '../store/store.ts';
import type { Authority } from './authority.ts';
import { findForeignSecret } from './foreign_secret.ts';
import { equalBytes } from './key_ring.ts';
import type { Attempt, Budget, Source } from './limits.ts';
import { isSignedBy, sha256 } from './public_key.ts';
import { renewHash } from './secret_hash.ts';
import type { WireRequest } from './wire.ts';

/** The most secrets, or public keys, that a client has at a time. */
export const SECRETS_MAX = 2;

/** A client that has shown that it is itself. */
export interface AuthenticatedClient {
  readonly client: Client;
  /** What it used of the things that can be used once. To be marked when all else holds, and before the answer. */
  readonly once: readonly OnceMark[];
}

/** What a request brings to show who it is from. */
type Evidence =
  | ({ readonly method: 'client_secret' } & ClientCredentials)
  | { readonly method: 'private_key_jwt'; readonly assertion: string; readonly clientId: string | undefined };

/**
 * The client that sent a request, or a refusal. Unknown client, wrong secret, expired secret, wrong method and disabled
 * client are one refusal, after the same work: nobody learns here which keys exist.
 */
export async function authenticateClient(
  authority: Authority,
  request: WireRequest,
  { parameters, budget = 'requests' }: { readonly parameters?: Parameters; readonly budget?: Budget } = {},
): Promise<AuthenticatedClient | Refusal> {
  const known = await identifyClient(authority, request, parameters);
  if (isRefusal(known)) return known;
  return (await authority.limits.spend(known.client, budget)) ?? known;
}

/** The same, for an endpoint that knows only later which budget of the client a request is taken from. */
export async function identifyClient(
  authority: Authority,
  request: WireRequest,
  parameters?: Parameters,
): Promise<AuthenticatedClient | Refusal> {
  const evidence = findEvidence(request.header('authorization'), parameters);
  if (isRefusal(evidence)) return evidence;
  // Asked for at most once, and not at all by a request that is right: that one needs no guard to vouch for its address.
  let source: Promise<Source> | undefined;
  const findSourceOnce = (): Promise<Source> => (source ??= findSource(authority, request));
  const authenticated =
    evidence.method === 'client_secret'
      ? await authenticateBySecret(authority, evidence, findSourceOnce)
      : await authenticateByAssertion(authority, evidence);
  if (!isRefusal(authenticated)) return authenticated;
  const attempt = { source: await findSourceOnce(), clientId: evidence.clientId };
  return (await limitFailure(authority, attempt, authenticated)) ?? authenticated;
}

/** The answer in place of a failure, when its source has failed too often: the same whatever was wrong. */
async function limitFailure(
  { limits }: Authority,
  attempt: Attempt,
  { refused }: Refusal,
): Promise<Refusal | undefined> {
  // A secret that was not verified, or could not be right now: nothing was found out, so nothing is counted.
  return refused === 'authentication_failed' ? await limits.countFailure(attempt) : limits.findBlock(attempt);
}

/** How a guard shows, with a key that it passes on, that it is a resource server's (ADR 17): Basic, with its own key. */
const GUARD_HEADER = 'hallpass-guard';
/** The address that the key came from. Believed from a guard alone. */
const CALLER_HEADER = 'hallpass-caller';

/**
 * Where a failed request comes from. The address behind a guard counts only when the guard shows its own key: anybody
 * else could make up an address for every guess.
 */
async function findSource(authority: Authority, request: WireRequest): Promise<Source> {
  const own: Source = { address: request.address };
  const header = request.header(GUARD_HEADER);
  if (header === undefined) return own;
  const credentials = parseBasic(header);
  const guard =
    credentials === undefined ? undefined : await authenticateBySecret(authority, credentials, async () => own);
  if (guard !== undefined && !isRefusal(guard) && guard.client.resourceServerFor.length > 0) {
    return { address: request.header(CALLER_HEADER) ?? '', reportedBy: guard.client.clientId };
  }
  // Counted like any other guess, or this would be the place to guess the secrets of guards.
  await authority.limits.countFailure({ source: own, clientId: credentials?.clientId });
  return own;
}

/** RFC 6749 §5.2: who tried by header is told which scheme to use. */
export function challengeFor(authority: Authority, request: WireRequest, refusal: Refusal): Record<string, string> {
  if (refusal.refused !== 'authentication_failed' || request.header('authorization') === undefined) return {};
  return { 'www-authenticate': printBasicChallenge(authority.issuer) };
}

function findEvidence(header: string | undefined, parameters: Parameters | undefined): Evidence | Refusal {
  const values = parameters?.values;
  const assertion = values?.get('client_assertion');
  const type = values?.get('client_assertion_type');
  const clientId = values?.get('client_id');
  if (assertion === undefined && type === undefined) {
    return findSecret(header, clientId, values?.get('client_secret'));
  }
  // One way to authenticate at a time (RFC 6749 §2.3).
  const alone = header === undefined && values?.get('client_secret') === undefined;
  if (assertion === undefined || type !== CLIENT_ASSERTION_TYPE || !alone) return refuse('malformed_assertion');
  return { method: 'private_key_jwt', assertion, clientId };
}

function findSecret(
  header: string | undefined,
  clientId: string | undefined,
  clientSecret: string | undefined,
): Evidence | Refusal {
  if (header === undefined) {
    if (clientId === undefined || clientSecret === undefined) {
      return refuse('authentication_failed', { because: 'no credentials' });
    }
    return { method: 'client_secret', clientId, clientSecret };
  }
  const basic = parseBasic(header);
  if (basic === undefined)
    return refuse('authentication_failed', { because: 'Authorization is not well-formed Basic' });
  const agree =
    (clientId ?? basic.clientId) === basic.clientId && (clientSecret ?? basic.clientSecret) === basic.clientSecret;
  return agree ? { method: 'client_secret', ...basic } : refuse('conflicting_credentials');
}

async function authenticateBySecret(
  authority: Authority,
  { clientId, clientSecret }: ClientCredentials,
  findSourceOnce: () => Promise<Source>,
): Promise<AuthenticatedClient | Refusal> {
  // Before hashing: a secret of a megabyte must not cost one (RFC 6749 §10.10).
  if (clientId.length > CLIENT_ID_LENGTH_MAX || clientSecret.length > CLIENT_SECRET_LENGTH_MAX) {
    return refuse('authentication_failed', { because: 'credentials too long' });
  }
  const client = await authority.store.findClient(clientId);
  const own = findMatchingSecret(authority, clientSecret, client?.secrets ?? NOBODYS_SECRETS);
  if (client === undefined) return refuse('authentication_failed', { because: 'unknown client' });
  // An imported key that was not used yet answers in its own time (docs/threats.md); disabled, in that of all others.
  const imported = client.secrets.some(({ foreign }) => foreign !== undefined) && !client.disabled;
  const costly = own === undefined && imported;
  if (costly || own?.guessable === true) {
    const blocked = authority.limits.findGuessBlock({ source: await findSourceOnce(), clientId });
    if (blocked !== undefined) return blocked;
  }
  const matching = costly ? await findForeignSecret(authority, client, clientSecret) : own;
  if (matching !== undefined && isRefusal(matching)) return matching;
  if (matching === undefined && costly) await authority.limits.countCostlyGuess(await findSourceOnce());
  if (matching === undefined) return refuse('authentication_failed', { because: `wrong secret for ${clientId}` });
  if (client.disabled) return refuse('authentication_failed', { because: `${clientId} is disabled` });
  if (own !== undefined) renewHash(authority, { client, secret: own, clientSecret });
  authority.noteSecretUse(clientId, matching.secretId);
  return { client, once: [] };
}

/** In place of those of a client that is not there: no text hashes to it, and it ended long ago. */
const NOBODYS_SECRETS: readonly ClientSecret[] = [
  { secretId: '', keyId: 'AAAAAAAAAAA', hash: 'A'.repeat(43), createdAt: 0, expiresAt: 0 },
];

/** Always hashes and compares for as many secrets as a client can have, whether it has them or not. */
function findMatchingSecret(
  { keys, clock }: Authority,
  clientSecret: string,
  secrets: readonly ClientSecret[],
): ClientSecret | undefined {
  let matching: ClientSecret | undefined;
  for (let place = 0; place < SECRETS_MAX; place++) {
    const secret = secrets[place];
    const key = secret === undefined ? keys.secret : keys.findSecret(secret.keyId);
    const hash = (key ?? keys.secret).mac(clientSecret);
    const kept = secret === undefined ? Buffer.alloc(hash.length) : Buffer.from(secret.hash, 'base64url');
    const equal = equalBytes(hash, kept);
    const live = secret !== undefined && key !== undefined && (secret.expiresAt ?? Infinity) > clock.now();
    if (equal && live) matching = secret;
  }
  return matching;
}

/** RFC 7523 §3, with the issuer as the one audience (rfc7523bis §4). */
async function authenticateByAssertion(
  { store, clock, issuer }: Authority,
  { assertion, clientId }: Extract<Evidence, { method: 'private_key_jwt' }>,
): Promise<AuthenticatedClient | Refusal> {
  const no = (because: string): Refusal => refuse('authentication_failed', { because });
  const parsed = parseClientAssertion(assertion);
  if (parsed === undefined) return no('not an assertion');
  if (clientId !== undefined && clientId !== parsed.clientId) return no('client_id is not the sub of the assertion');
  const client = await store.findClient(parsed.clientId);
  const signed = isSignedByOneOf(client?.publicKeys ?? [], parsed);
  if (client === undefined || client.authentication !== 'private_key_jwt' || !signed) return no('wrong signature');
  const claims = parsed.claims() ?? new Map<string, unknown>();
  const judged = judgeClientAssertion(claims, { clientId: parsed.clientId, issuer, now: numericDate(clock.now()) });
  if ('fault' in judged) return no(judged.fault);
  if (client.disabled) return no(`${parsed.clientId} is disabled`);
  const { jti, expiresAt } = judged;
  return { client, once: [{ space: `assertion ${parsed.clientId}`, id: sha256(jti), expiresAt }] };
}

/** Always verifies for as many public keys as a client can have, whether it has them or not. */
function isSignedByOneOf(
  publicKeys: readonly ClientPublicKey[],
  { algorithm, signingInput, signature }: UnverifiedAssertion,
): boolean {
  const offered = CLIENT_ALGORITHMS.find((candidate) => candidate === algorithm);
  if (offered === undefined) return false;
  // The algorithm is the registered key's, never the header's own choice (RFC 8725 §3.1).
  const keys = publicKeys.filter((key) => key.algorithm === offered);
  const bytes = signature();
  let signed = false;
  for (let place = 0; place < SECRETS_MAX; place++) {
    const key = keys[place];
    const verified = isSignedBy(key ?? { algorithm: offered, jwk: NOBODYS_JWKS[offered] }, signingInput, bytes);
    if (verified && key !== undefined) signed = true;
  }
  return signed;
}

/** In place of keys that are not there: the base points of the two curves, and the largest number of 2048 bits. */
const NOBODYS_JWKS: Record<ClientAlgorithm, ClientPublicKey['jwk']> = {
  ES256: {
    crv: 'P-256',
    kty: 'EC',
    x: 'axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY',
    y: 'T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU',
  },
  EdDSA: { crv: 'Ed25519', kty: 'OKP', x: 'WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY' },
  PS256: { e: 'AQAB', kty: 'RSA', n: `${'_'.repeat(341)}w` },
};
