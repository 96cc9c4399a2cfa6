/** The security schemes of the OpenAPI document: how a request authenticates. */
import { PATHS } from '@hallpass/protocol';
import { FEED_SCOPE } from '../feed.ts';
import type { Schema } from './schemas.ts';
import { PING_SCOPE } from '../ping.ts';

/** The schemes by name. `base`: the issuer without a trailing slash. */
export function securitySchemes(base: string): Readonly<Record<string, Schema>> {
  return {
    client_secret_basic: {
      type: 'http',
      scheme: 'basic',
      description:
        'client_id and client_secret, each form-encoded first (RFC 6749 §2.3.1). In the body instead, as client_id and client_secret, it is client_secret_post; with client_assertion, private_key_jwt.',
    },
    access_token: {
      type: 'oauth2',
      description: 'Authorization: Bearer TOKEN (RFC 6750).',
      flows: {
        clientCredentials: {
          tokenUrl: base + PATHS.token,
          refreshUrl: base + PATHS.token,
          scopes: {
            [PING_SCOPE]: 'To check that the token works.',
            [FEED_SCOPE]: 'To follow the revocations, with a token of a resource server.',
          },
        },
      },
    },
    dpop: {
      type: 'http',
      scheme: 'DPoP',
      description: 'Authorization: DPoP TOKEN, with a proof of its key in the DPoP header (RFC 9449 §7.1).',
    },
  };
}
