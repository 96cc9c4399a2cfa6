/**
 * Identifies callers by any kind of credentials. What they may do, and whether they were revoked, is decided elsewhere.
 */
import { refuse, type Refusal, type Scope } from '@hallpass/protocol';
import { ApiKeys } from './api_keys.ts';
import type { Holder, Identified } from './holder.ts';
import type { IssuerClient } from '../issuer/issuer_client.ts';
import type { KeySet } from '../issuer/key_set.ts';
import { isOpaqueToken, OpaqueTokens } from './opaque_tokens.ts';
import type { GuardSettings } from '../settings.ts';
import type { PresentedKey } from '../request.ts';
import { SignedTokens } from './signed_tokens.ts';
import type { TokenExpectations } from './verification.ts';

/** Chooses the way to identify a caller by the kind of credentials. */
export class Identity {
  readonly #signed: SignedTokens;
  readonly #opaque: OpaqueTokens | undefined;
  readonly #keys: ApiKeys | undefined;

  constructor(
    settings: GuardSettings & Pick<TokenExpectations, 'aheadSeconds' | 'onOtherAudience'>,
    {
      issuerClient,
      keySet,
      isRevoked,
    }: { issuerClient: IssuerClient; keySet: KeySet; isRevoked: (holder: Holder) => boolean },
  ) {
    const { opaqueTokenSeconds, apiKeySeconds, rememberedTokensMax: max } = settings;
    this.#signed = new SignedTokens({ ...settings, keySet }, max);
    if (opaqueTokenSeconds !== undefined) {
      this.#opaque = new OpaqueTokens({ ...settings, issuerClient, cacheSeconds: opaqueTokenSeconds, max });
    }
    if (apiKeySeconds !== undefined) {
      const identifyToken = async (token: string): Promise<Identified | Refusal> => await this.identifyToken(token);
      const cacheSeconds = apiKeySeconds;
      this.#keys = new ApiKeys({ ...settings, issuerClient, cacheSeconds, max, identifyToken, isRevoked });
    }
  }

  get acceptsKeys(): boolean {
    return this.#keys !== undefined;
  }

  /** The machine may have slept, so everything cached from the issuer has to be requested again. */
  invalidate(): void {
    this.#opaque?.invalidate();
    this.#keys?.invalidate();
  }

  /** Returns immediately for a cached token. Rejects with `Outage` if the issuer is needed and unreachable. */
  identifyToken(token: string, address?: string): Identified | Refusal | Promise<Identified | Refusal> {
    return this.#opaque !== undefined && isOpaqueToken(token)
      ? this.#opaque.identify(token, address)
      : this.#signed.identify(token);
  }

  /** The same for an API key. `scope`: what the request needs, or the refusal it's going to get. */
  async identifyKey({ key, address }: PresentedKey, scope: Scope | Refusal): Promise<Identified | Refusal> {
    if (this.#keys === undefined) return refuse('missing_credentials');
    if ('segments' in scope) return await this.#keys.identify(key, scope, address);
    // Without a valid key it's always 401, whatever the route.
    return (await this.#keys.authenticate(key, address)) ?? scope;
  }
}
