/** Proofs of possession (RFC 9449) at this server: which key the caller has, and that it signed this very request. */
import {
  DPOP_NONCE_MS,
  dpopNonceInput,
  isRefusal,
  judgeDpopProof,
  numericDate,
  parseDpopProof,
  printDpopNonce,
  refuse,
  type Refusal,
} from '@hallpass/protocol';
import type { SingleUseId } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import type { KeyRing } from '../keys/key_ring.ts';
import { isSignedBy, sha256, thumbprintOf } from './public_key.ts';
import type { WireRequest } from '../../wire.ts';

/** A key that the caller proved to have. */
export interface Possession {
  /** The thumbprint of the key (RFC 7638). */
  readonly jkt: string;
  /** The proof's `jti`, marked as used when everything else holds. */
  readonly once: SingleUseId;
}

/**
 * The possession that a request proves; undefined if it has no proof; a refusal if the proof is bad. `path` is where the
 * request was sent; `token` is its access token, if it has one.
 */
export function readProof(
  authority: Authority,
  request: WireRequest,
  { path, token }: { readonly path: string; readonly token?: string },
): Possession | Refusal | undefined {
  const header = request.header('dpop');
  if (header === undefined) return undefined;
  const { issuer, clock, dpopNonces } = authority;
  const proof = parseDpopProof(header);
  if (proof === undefined) return notGood(token, 'malformed');
  if (!isSignedBy(proof.key, proof.signingInput, proof.signature())) return notGood(token, 'wrong signature');
  const judged = judgeDpopProof(proof.claims() ?? new Map<string, unknown>(), {
    method: request.method,
    url: issuer + path,
    now: numericDate(clock.now()),
    isNonceGood: dpopNonces ? (nonce) => isNonceGood(authority, nonce) : undefined,
    ath: token === undefined ? undefined : sha256(token),
  });
  if ('fault' in judged) {
    if (judged.wantsNonce !== true) return notGood(token, judged.fault);
    return refuse(token === undefined ? 'dpop_nonce_wanted' : 'resource_nonce_wanted', { because: judged.fault });
  }
  const jkt = thumbprintOf(proof.key);
  return { jkt, once: { space: `proof ${jkt}`, id: sha256(judged.jti), expiresAt: judged.expiresAt } };
}

/** A bad proof is a 400 at the token endpoint, and a 401 where a token is used (RFC 9449 §5, §7.1). */
function notGood(token: string | undefined, because: string): Refusal {
  return refuse(token === undefined ? 'dpop_proof_not_good' : 'resource_proof_not_good', { because });
}

/** Whether a token came with a proof of its key: then the id of the proof, to be used up when everything else holds. */
export function judgePossession(
  boundTo: string | undefined,
  possession: Possession | Refusal | undefined,
): SingleUseId | Refusal {
  if (boundTo === undefined) return refuse('token_not_good', { because: 'DPoP with a token that is not bound' });
  if (isRefusal(possession)) return possession;
  if (possession === undefined) return refuse('resource_proof_not_good', { because: 'no proof' });
  return possession.jkt === boundTo ? possession.once : refuse('resource_proof_not_good', { because: 'another key' });
}

/** The nonce for the next proof (RFC 9449 §8). The same on every instance: it is made from the time and a shared key. */
function currentNonce({ keys, clock }: Authority): string {
  return makeNonce(keys.secret, Math.floor(clock.now() / DPOP_NONCE_MS));
}

function isNonceGood({ keys, clock }: Authority, nonce: string): boolean {
  const period = Math.floor(clock.now() / DPOP_NONCE_MS);
  // Instances' clocks may differ, so the nonces of the last and the next period are good too, and those of the key before
  // the one in use and the key after it.
  return keys.secretKeys.some((key) =>
    [period, period - 1, period + 1].some((other) => makeNonce(key, other) === nonce),
  );
}

function makeNonce(key: KeyRing['secret'], period: number): string {
  return printDpopNonce(key.mac(dpopNonceInput(period)));
}

/** The header with the nonce for the next proof, if this server requires nonces. */
export function nonceHeader(authority: Authority): Record<string, string> {
  return authority.dpopNonces ? { 'dpop-nonce': currentNonce(authority) } : {};
}
