/** The Hallpass SDK: create, refresh, revoke and try out access tokens. For Node, browsers and workers. */
export { Hallpass, type HallpassOptions, type PingResponse, type Security } from './hallpass.ts';
export type {
  AccessTokenOperations,
  AccessTokenResponse,
  ClientCredentialsRequest,
  CreateAccessTokenRequest,
  CreateAccessTokenResponse,
  RefreshTokenRequest,
  RevokeAccessTokenRequest,
  RevokeAccessTokenResponse,
} from './access_token.ts';
export { HallpassError, type HallpassErrorCode } from './hallpass_error.ts';
export type { RetryOptions } from './exchange.ts';
