/** The Hallpass SDK: get an access token, take it back, try it out. For Node and browsers. */
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
