/** Credentials of each kind to their holder. What they may do, and whether that was taken back, is not asked here. */
import { refuse, type Refusal, type Scope } from '@hallpass/protocol';
import { ApiKeys } from './api_keys.ts';
import type { Holder, Identified } from './holder.ts';
import type { IssuerClient } from '../issuer/issuer_client.ts';
import type { KeySet } from '../issuer/key_set.ts';
import { isOpaqueToken, OpaqueTokens } from './opaque_tokens.ts';
import type { GuardSettings } from '../options.ts';
import type { PresentedKey } from '../request.ts';
import { SignedTokens } from './signed_tokens.ts';
import type { Expected } from './verification.ts';

export class Identity {
  readonly #signed: SignedTokens;
  readonly #opaque: OpaqueTokens | undefined;
  readonly #keys: ApiKeys | undefined;

  constructor(
    settings: GuardSettings & Pick<Expected, 'aheadSeconds' | 'onOtherAudience'>,
    {
      issuerClient,
      keySet,
      isRevoked,
    }: { issuerClient: IssuerClient; keySet: KeySet; isRevoked: (holder: Holder) => boolean },
  ) {
    const { opaqueTokenSeconds, apiKeySeconds, rememberedTokensMax: max } = settings;
    this.#signed = new SignedTokens({ ...settings, keySet }, max);
    if (opaqueTokenSeconds !== undefined) {
      this.#opaque = new OpaqueTokens({ ...settings, issuerClient, believedSeconds: opaqueTokenSeconds, max });
    }
    if (apiKeySeconds !== undefined) {
      const identifyToken = async (token: string): Promise<Identified | Refusal> => await this.identifyToken(token);
      const believedSeconds = apiKeySeconds;
      this.#keys = new ApiKeys({ ...settings, issuerClient, believedSeconds, max, identifyToken, isRevoked });
    }
  }

  get takesKeys(): boolean {
    return this.#keys !== undefined;
  }

  /** The machine may have slept: whatever the issuer said before is asked for again. */
  invalidate(): void {
    this.#opaque?.invalidate();
    this.#keys?.invalidate();
  }

  /** At once for a token that is remembered. Rejects with `Outage` when the issuer is needed and away. */
  identifyToken(token: string, address?: string): Identified | Refusal | Promise<Identified | Refusal> {
    return this.#opaque !== undefined && isOpaqueToken(token)
      ? this.#opaque.identify(token, address)
      : this.#signed.identify(token);
  }

  /** The same for an API key, by the scope that the request needs, or by the refusal that it is going to get. */
  async identifyKey({ key, address }: PresentedKey, scope: Scope | Refusal): Promise<Identified | Refusal> {
    if (this.#keys === undefined) return refuse('missing_credentials');
    if ('segments' in scope) return await this.#keys.identify(key, scope, address);
    // Who has no good key gets 401, whatever the route.
    return (await this.#keys.authenticate(key, address)) ?? scope;
  }
}
