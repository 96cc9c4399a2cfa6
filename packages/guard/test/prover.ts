/** A client with a key that signs proofs (RFC 9449 §4), valid or not, as a test needs them. */
import { constants, createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import type { ClientAlgorithm } from '@hallpass/protocol';
import { makeId, NOW_SECONDS } from './issuer.ts';

type Changes = Readonly<Record<string, unknown>>;

const MEMBERS: Readonly<Record<ClientAlgorithm, readonly string[]>> = {
  ES256: ['crv', 'kty', 'x', 'y'],
  EdDSA: ['crv', 'kty', 'x'],
  PS256: ['e', 'kty', 'n'],
};

const SIGNING = {
  ES256: { digest: 'sha256', options: { dsaEncoding: 'ieee-p1363' } },
  EdDSA: { digest: null, options: {} },
  PS256: { digest: 'sha256', options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } },
} as const satisfies Record<ClientAlgorithm, unknown>;

function makePair(algorithm: ClientAlgorithm): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  if (algorithm === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return algorithm === 'EdDSA' ? generateKeyPairSync('ed25519') : generateKeyPairSync('rsa', { modulusLength: 2048 });
}

/** Removes a header member or a claim. */
export const ABSENT = undefined;

export class Prover {
  readonly algorithm: ClientAlgorithm;
  readonly jwk: Readonly<Record<string, string>>;
  /** RFC 7638. */
  readonly jkt: string;
  readonly privateKey: KeyObject;

  constructor(algorithm: ClientAlgorithm = 'ES256') {
    const { privateKey, publicKey } = makePair(algorithm);
    const exported = new Map<string, unknown>(Object.entries(publicKey.export({ format: 'jwk' })));
    this.algorithm = algorithm;
    this.privateKey = privateKey;
    this.jwk = Object.fromEntries(MEMBERS[algorithm].map((name) => [name, String(exported.get(name))]));
    this.jkt = hash(JSON.stringify(this.jwk));
  }

  /** A proof for a token, for `GET https://api.example.com/accounts` at the tests' time unless changed. */
  prove(token: string, claims: Changes = {}, header: Changes = {}): string {
    const protectedHeader = { typ: 'dpop+jwt', alg: this.algorithm, jwk: this.jwk, ...header };
    const good = { jti: makeId(), htm: 'GET', htu: 'https://api.example.com/accounts', iat: NOW_SECONDS };
    return this.seal(protectedHeader, { ...good, ath: hash(token), ...claims });
  }

  /** Signs any header and claims. */
  seal(header: unknown, claims: unknown): string {
    const input = `${segment(header)}.${segment(claims)}`;
    const { digest, options } = SIGNING[this.algorithm];
    const signature = sign(digest, Buffer.from(input), { key: this.privateKey, ...options });
    return `${input}.${signature.toString('base64url')}`;
  }
}

/** SHA-256 as base64url. */
export function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

function segment(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}

/** A request with a token and these proofs. */
export function proved(
  token: string,
  ...proofs: readonly string[]
): { readonly method: string; readonly url: string; readonly headers: Readonly<Record<string, readonly string[]>> } {
  return { method: 'GET', url: '/accounts', headers: { authorization: [`DPoP ${token}`], dpop: proofs } };
}
