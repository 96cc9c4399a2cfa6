/** Events that a misused refresh token leaves in the store (contract §10). They never hold the token itself. */
import type { RefreshTokenState } from '@hallpass/protocol';
import type { StoreEvent } from '../../store/store.ts';

/** One key used another key's refresh token: it has leaked, or two systems are mixed up. `at` in milliseconds. */
export function refreshTokenOfAnotherClient(
  token: Pick<RefreshTokenState, 'clientId' | 'grantId' | 'generation'>,
  { clientId, at }: { readonly clientId: string; readonly at: number },
): StoreEvent {
  const { grantId, generation } = token;
  const detail = `generation ${generation}, issued to ${token.clientId}`;
  return { at, kind: 'refresh_token_of_another_client', clientId, grantId, detail };
}
