/** A client that signs assertions in place of a secret (RFC 7523) and proofs of possession (RFC 9449), with `jose`. */
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { createHash, randomUUID } from 'node:crypto';
import { CLIENT_ASSERTION_TYPE, type ClientAlgorithm } from '@hallpass/protocol';
import type { TestClock } from '../server/server.ts';

/** A key pair, and what a client signs with it. */
export class Signer {
  readonly privateKey: CryptoKey;
  /** The public key. */
  readonly jwk: JWK;
  readonly thumbprint: string;
  readonly algorithm: ClientAlgorithm;

  static async make(algorithm: ClientAlgorithm = 'ES256'): Promise<Signer> {
    const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
    const jwk = await exportJWK(publicKey);
    return new Signer(algorithm, privateKey, jwk, await calculateJwkThumbprint(jwk));
  }

  private constructor(algorithm: ClientAlgorithm, privateKey: CryptoKey, jwk: JWK, thumbprint: string) {
    this.algorithm = algorithm;
    this.privateKey = privateKey;
    this.jwk = jwk;
    this.thumbprint = thumbprint;
  }

  /** The body parameters of a client assertion. `changes` add claims and header members, or remove them as undefined. */
  async assert(
    to: { readonly issuer: string; readonly clock: TestClock },
    clientId: string,
    changes: { readonly claims?: object; readonly header?: object } = {},
  ): Promise<{ readonly client_assertion_type: string; readonly client_assertion: string }> {
    const now = to.clock.seconds;
    const claims = { iss: clientId, sub: clientId, aud: to.issuer, jti: randomUUID(), iat: now, exp: now + 60 };
    const client_assertion = await this.sign({ ...claims, ...changes.claims }, { ...changes.header });
    return { client_assertion_type: CLIENT_ASSERTION_TYPE, client_assertion };
  }

  /** A DPoP proof for one request. */
  async prove(
    request: { readonly method?: string; readonly url: string; readonly clock: TestClock; readonly token?: string },
    changes: { readonly claims?: object; readonly header?: object } = {},
  ): Promise<string> {
    const { method = 'POST', url, clock, token } = request;
    const ath = token === undefined ? {} : { ath: createHash('sha256').update(token).digest('base64url') };
    const claims = { jti: randomUUID(), htm: method, htu: url, iat: clock.seconds, ...ath, ...changes.claims };
    return await this.sign(claims, { typ: 'dpop+jwt', jwk: this.jwk, ...changes.header });
  }

  /** Claims with the value undefined are left out. */
  async sign(claims: object, header: object): Promise<string> {
    return await new SignJWT(JSON.parse(JSON.stringify(claims)))
      .setProtectedHeader({ alg: this.algorithm, ...header })
      .sign(this.privateKey);
  }
}
