/** Who asks (contract §3): a client with a secret, in the header, in the body or in both alike, or with a signed assertion. */
import {
  CLIENT_ALGORITHMS,
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
import type { Client, ClientSecret, SingleUseId } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import {
  readCredentials,
  screenClaim,
  takesSecretFrom,
  type PresentedAssertion,
  type PresentedSecret,
} from './presented_credentials.ts';
import { findForeignSecret } from '../imported_secrets/foreign_secret.ts';
import { equalBytes } from '../keys/key_ring.ts';
import type { Budget, Source } from '../limits/limits.ts';
import { isSignedBy, sha256 } from './public_key.ts';
import { renewHash } from '../keys/secret_hash.ts';
import type { WireRequest } from '../../wire.ts';

/** The most secrets, or public keys, that a client has at a time. */
export const SECRETS_MAX = 2;

/** A client that has shown that it is itself. */
export interface AuthenticatedClient {
  readonly client: Client;
  /** What it used of the things that can be used once. To be marked when all else holds, and before the answer. */
  readonly once: readonly SingleUseId[];
}

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
  const evidence = readCredentials(request.header('authorization'), parameters);
  if (isRefusal(evidence)) return claimedBy(evidence, screenClaim(parameters?.values.get('client_id')));
  // Asked for at most once, and not at all by a request that is right: that one needs no guard to vouch for its address.
  let source: Promise<Source> | undefined;
  const findSourceOnce = (): Promise<Source> => (source ??= findSource(authority, request));
  if (evidence.method === 'private_key_jwt') {
    const authenticated = await authenticateByAssertion(authority, evidence);
    if (!isRefusal(authenticated)) return authenticated;
    const attempts = { source: await findSourceOnce(), clientIds: [evidence.clientId] };
    return (await limitFailure(authority, attempts, authenticated)) ?? authenticated;
  }
  const authenticated = await authenticateBySecret(authority, evidence, findSourceOnce);
  if (!isRefusal(authenticated)) return authenticated;
  // Each reading is a guess.
  const clientIds = evidence.readings.map(({ clientId }) => clientId);
  const limited = await limitFailure(authority, { source: await findSourceOnce(), clientIds }, authenticated);
  return limited ?? (await withClaim(authority, evidence, authenticated));
}

/** The answer in place of a failure, when its source has failed too often: the same whatever was wrong. */
async function limitFailure(
  { limits }: Authority,
  { source, clientIds }: { readonly source: Source; readonly clientIds: readonly (string | undefined)[] },
  refusal: Refusal,
): Promise<Refusal | undefined> {
  let limited: Refusal | undefined;
  for (const clientId of clientIds) {
    // A secret that was not verified, or could not be right now: nothing was found out, so nothing is counted.
    const isFailure = refusal.refused === 'authentication_failed';
    const full = isFailure ? await limits.countFailure({ source, clientId }) : limits.findBlock({ source, clientId });
    limited ??= full;
  }
  return limited === undefined ? undefined : claimedBy(limited, refusal.claimedClientId);
}

function claimedBy(refusal: Refusal, claimedClientId: string | undefined): Refusal {
  return claimedClientId === undefined ? refusal : { ...refusal, claimedClientId };
}

/**
 * The same refusal with the id that an unknown caller claims to have. If what it sent as its secret is the id of a key, the
 * two were swapped, and what stands in the place of the id is a secret. Looked up for every failure, known or not: the
 * time must not tell.
 */
async function withClaim({ store }: Authority, { readings }: PresentedSecret, refusal: Refusal): Promise<Refusal> {
  let isSwapped = false;
  for (const { clientSecret } of readings) {
    isSwapped = (await store.findClient(clientSecret.slice(0, CLIENT_ID_LENGTH_MAX))) !== undefined || isSwapped;
  }
  if (refusal.claimedClientId !== undefined) return refusal;
  if (isSwapped) return { ...refusal, because: 'client_id and client_secret are swapped' };
  const [{ clientId, clientSecret } = NO_CREDENTIALS] = readings;
  return claimedBy(refusal, screenClaim(clientId, clientSecret));
}

const NO_CREDENTIALS: ClientCredentials = { clientId: '', clientSecret: '' };

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
    credentials === undefined
      ? undefined
      : await authenticateBySecret(
          authority,
          { method: 'client_secret', from: 'header', readings: [credentials] },
          async () => own,
        );
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

/** A reading of the credentials, with the client of that id, and the one of its secrets that is the same. */
interface Candidate {
  readonly credentials: ClientCredentials;
  readonly client: Client | undefined;
  /** Undefined also where only a foreign hash could tell. */
  readonly own: ClientSecret | undefined;
}

async function authenticateBySecret(
  authority: Authority,
  { from, readings }: PresentedSecret,
  findSourceOnce: () => Promise<Source>,
): Promise<AuthenticatedClient | Refusal> {
  // Before hashing: a secret of a megabyte must not cost one (RFC 6749 §10.10).
  const short = readings.filter(
    ({ clientId, clientSecret }) =>
      clientId.length <= CLIENT_ID_LENGTH_MAX && clientSecret.length <= CLIENT_SECRET_LENGTH_MAX,
  );
  if (short.length === 0) return refuse('authentication_failed', { because: 'credentials too long' });
  const candidates = await findCandidates(authority, short);
  const known = candidates.find(({ client }) => client !== undefined)?.client;
  const no = (because: string): Refusal => claimedBy(refuse('authentication_failed', { because }), known?.clientId);
  // A key's secret in the wrong place is a wrong secret, and costs what one costs.
  const usable = candidates.filter(({ client }) => client !== undefined && takesSecretFrom(client, from));
  const matching =
    usable.find(({ own }) => own !== undefined) ?? (await findImported(authority, usable, findSourceOnce));
  if (isRefusal(matching)) return matching;
  const { client, own, credentials: { clientId, clientSecret } = NO_CREDENTIALS } = matching ?? {};
  if (client === undefined || own === undefined) {
    if (known === undefined) return no('unknown client');
    return no(
      usable.length === 0 ? `another method than that of ${known.clientId}` : `wrong secret for ${known.clientId}`,
    );
  }
  if (own.guessable === true) {
    const blocked = authority.limits.findGuessBlock({ source: await findSourceOnce(), clientId });
    if (blocked !== undefined) return claimedBy(blocked, clientId);
  }
  if (client.disabled) return no(`${clientId} is disabled`);
  if (own.foreign === undefined) renewHash(authority, { client, secret: own, clientSecret });
  authority.onSecretUsed(clientId, own.secretId);
  return { client, once: [] };
}

/** All readings are looked at, whatever comes of the first: the time is one of the request, not of its key. */
async function findCandidates(
  authority: Authority,
  readings: readonly ClientCredentials[],
): Promise<readonly Candidate[]> {
  const candidates: Candidate[] = [];
  for (const credentials of readings) {
    const { clientId, clientSecret } = credentials;
    const before = candidates.find((candidate) => candidate.credentials.clientId === clientId);
    const client = before === undefined ? await authority.store.findClient(clientId) : before.client;
    const own = findMatchingSecret(authority, clientSecret, client?.secrets ?? NOBODYS_SECRETS);
    candidates.push({ credentials, client, own });
  }
  return candidates;
}

/**
 * The reading that fits the foreign hash of an imported secret (ADR 39). Each that is tried costs a password hash: the
 * second one is tried only when the first was wrong, and a guesser pays for both.
 */
async function findImported(
  authority: Authority,
  candidates: readonly Candidate[],
  findSourceOnce: () => Promise<Source>,
): Promise<Candidate | undefined | Refusal> {
  let tried = 0;
  for (const candidate of candidates) {
    const { client, credentials } = candidate;
    // A key that was not used yet answers in its own time (docs/threats.md); disabled, in that of all others.
    const isImported = client?.disabled === false && client.secrets.some(({ foreign }) => foreign !== undefined);
    if (!isImported) continue;
    const { clientId, clientSecret } = credentials;
    const blocked = authority.limits.findGuessBlock({ source: await findSourceOnce(), clientId });
    if (blocked !== undefined) return claimedBy(blocked, clientId);
    const found = await findForeignSecret(authority, client, clientSecret);
    if (isRefusal(found)) return claimedBy(found, clientId);
    if (found !== undefined) return { ...candidate, own: found };
    tried += 1;
  }
  for (; tried > 0; tried--) await authority.limits.countCostlyGuess(await findSourceOnce());
  return undefined;
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
  { assertion, clientId }: PresentedAssertion,
): Promise<AuthenticatedClient | Refusal> {
  let claimed = screenClaim(clientId);
  const no = (because: string): Refusal => claimedBy(refuse('authentication_failed', { because }), claimed);
  const parsed = parseClientAssertion(assertion);
  if (parsed === undefined) return no('not an assertion');
  claimed = screenClaim(parsed.clientId);
  if (clientId !== undefined && clientId !== parsed.clientId) return no('client_id is not the sub of the assertion');
  const client = await store.findClient(parsed.clientId);
  claimed = client?.clientId ?? claimed;
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
