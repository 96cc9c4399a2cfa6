/** Client authentication (contract §3): by a secret, in the header, the body or the same in both, or by a signed assertion. */
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

/** The most secrets, or public keys, that a client can have at a time. */
export const SECRETS_MAX = 2;

/** A client that has authenticated. */
export interface AuthenticatedClient {
  readonly client: Client;
  /** The single-use ids that it used. They are marked as used when everything else holds, before the response. */
  readonly once: readonly SingleUseId[];
}

/**
 * The client that sent a request, or a refusal; charges the request to one of its budgets. An unknown client, a wrong or
 * expired secret, a wrong method and a disabled client get one refusal after the same work: it reveals no client ids.
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

/** The same without charging a budget, for an endpoint that only learns later which one to charge. */
export async function identifyClient(
  authority: Authority,
  request: WireRequest,
  parameters?: Parameters,
): Promise<AuthenticatedClient | Refusal> {
  const evidence = readCredentials(request.header('authorization'), parameters);
  if (isRefusal(evidence)) return claimedBy(evidence, screenClaim(parameters?.values.get('client_id')));
  // Looked up at most once, and not at all for correct credentials: those need no guard to vouch for their address.
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
  // Each way to read the header is a guess.
  const clientIds = evidence.readings.map(({ clientId }) => clientId);
  const limited = await limitFailure(authority, { source: await findSourceOnce(), clientIds }, authenticated);
  return limited ?? (await withClaim(authority, evidence, authenticated));
}

/** The refusal that replaces a failure once its source has failed too often: the same, whatever was wrong. */
async function limitFailure(
  { limits }: Authority,
  { source, clientIds }: { readonly source: Source; readonly clientIds: readonly (string | undefined)[] },
  refusal: Refusal,
): Promise<Refusal | undefined> {
  let limited: Refusal | undefined;
  for (const clientId of clientIds) {
    // If the secret was not verified, the caller has learned nothing, so nothing is counted.
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
 * The same refusal with the id that an unknown caller claims. If the secret that it sent is some key's id, the two were
 * swapped, and the id that it sent is a secret. Looked up for every failure, so that the time reveals nothing.
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

/** How a guard that passes on a caller's key authenticates itself (ADR 17): Basic, with its own key. */
const GUARD_HEADER = 'hallpass-guard';
/** The address that the caller's key came from. Only a guard is believed. */
const CALLER_HEADER = 'hallpass-caller';

/**
 * Where a failed request comes from. The address that a guard reports counts only if the guard authenticates: anybody else
 * could make up a new address for every guess.
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
  // Counted like any other guess, or this would be a free way to guess guards' secrets.
  await authority.limits.countFailure({ source: own, clientId: credentials?.clientId });
  return own;
}

/** RFC 6749 §5.2: a client that used the Authorization header learns which scheme to use. */
export function challengeFor(authority: Authority, request: WireRequest, refusal: Refusal): Record<string, string> {
  if (refusal.refused !== 'authentication_failed' || request.header('authorization') === undefined) return {};
  return { 'www-authenticate': printBasicChallenge(authority.issuer) };
}

/** One way to read the credentials, with the client of that id and its matching secret. */
interface Candidate {
  readonly credentials: ClientCredentials;
  readonly client: Client | undefined;
  /** Undefined also if only a foreign hash can tell. */
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
  // A correct secret in the wrong place is a wrong secret, and costs as much.
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

/** Looks at every reading, whatever comes of the first, so that the time depends on the request and not on the key. */
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
 * The reading that matches the foreign hash of an imported secret (ADR 39). Each attempt costs a password hash, so the
 * second reading is tried only if the first was wrong, and a guesser is charged for both.
 */
async function findImported(
  authority: Authority,
  candidates: readonly Candidate[],
  findSourceOnce: () => Promise<Source>,
): Promise<Candidate | undefined | Refusal> {
  let tried = 0;
  for (const candidate of candidates) {
    const { client, credentials } = candidate;
    // A key that has not been used yet takes its own time (docs/threats.md). A disabled one takes the time of all others.
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

/** Stands in for the secrets of an unknown client: no text has this hash, and it expired long ago. */
const NOBODYS_SECRETS: readonly ClientSecret[] = [
  { secretId: '', keyId: 'AAAAAAAAAAA', hash: 'A'.repeat(43), createdAt: 0, expiresAt: 0 },
];

/** Always hashes and compares as many secrets as a client can have, so that the time does not tell how many it has. */
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

/** Always verifies with as many public keys as a client can have, so that the time does not tell how many it has. */
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

/** Stand in for missing keys: the base points of the two curves, and the largest number of 2048 bits. */
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
