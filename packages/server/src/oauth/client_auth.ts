/** Who asks (contract §3): client authentication by secret, in the header, in the body, or in both alike. */
import {
  CLIENT_ID_LENGTH_MAX,
  CLIENT_SECRET_LENGTH_MAX,
  isRefusal,
  parseBasic,
  printBasicChallenge,
  refuse,
  type ClientCredentials,
  type Parameters,
  type Refusal,
} from '@hallpass/protocol';
import type { ClientSecret, KnownClient } from '../store/store.ts';
import type { Authority } from './authority.ts';
import { equalBytes } from './key_ring.ts';
import type { WireRequest } from './wire.ts';

/** The most secrets that a client has at a time. */
export const SECRETS_MAX = 2;

/**
 * The client that sent a request, or a refusal. Unknown client, wrong secret, expired secret and disabled client are
 * one refusal, after the same work: nobody learns here which keys exist.
 */
export async function authenticateClient(
  authority: Authority,
  request: WireRequest,
  parameters?: Parameters,
): Promise<KnownClient | Refusal> {
  const credentials = findCredentials(request.header('authorization'), parameters);
  if (isRefusal(credentials)) return credentials;
  return await authenticate(authority, credentials);
}

/** RFC 6749 §5.2: who tried by header is told which scheme to use. */
export function challengeFor(authority: Authority, request: WireRequest, refusal: Refusal): Record<string, string> {
  if (refusal.refused !== 'authentication_failed' || request.header('authorization') === undefined) return {};
  return { 'www-authenticate': printBasicChallenge(authority.issuer) };
}

function findCredentials(header: string | undefined, parameters: Parameters | undefined): ClientCredentials | Refusal {
  const clientId = parameters?.values.get('client_id');
  const clientSecret = parameters?.values.get('client_secret');
  if (header === undefined) {
    if (clientId === undefined || clientSecret === undefined) {
      return refuse('authentication_failed', { because: 'no credentials' });
    }
    return { clientId, clientSecret };
  }
  const basic = parseBasic(header);
  if (basic === undefined)
    return refuse('authentication_failed', { because: 'Authorization is not well-formed Basic' });
  const agree =
    (clientId ?? basic.clientId) === basic.clientId && (clientSecret ?? basic.clientSecret) === basic.clientSecret;
  return agree ? basic : refuse('conflicting_credentials');
}

async function authenticate(
  authority: Authority,
  { clientId, clientSecret }: ClientCredentials,
): Promise<KnownClient | Refusal> {
  // Before hashing: a secret of a megabyte must not cost one (RFC 6749 §10.10).
  if (clientId.length > CLIENT_ID_LENGTH_MAX || clientSecret.length > CLIENT_SECRET_LENGTH_MAX) {
    return refuse('authentication_failed', { because: 'credentials too long' });
  }
  const known = await authority.store.findClient(clientId);
  const matching = findMatchingSecret(authority, clientSecret, known?.client.secrets ?? []);
  if (known === undefined) return refuse('authentication_failed', { because: 'unknown client' });
  if (matching === undefined) return refuse('authentication_failed', { because: `wrong secret for ${clientId}` });
  if (known.client.disabled) return refuse('authentication_failed', { because: `${clientId} is disabled` });
  authority.noteSecretUse(clientId, matching.secretId);
  return known;
}

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
