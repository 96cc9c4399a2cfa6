/** What server, guard and client agree on, by standard. Nothing here reads a clock or a random source, or opens a connection. */

// Clients and their credentials: RFC 6749 §2.3, RFC 7617, RFC 7523, RFC 7517, RFC 7638
export { CLIENT_ASSERTION_LENGTH_MAX, CLIENT_ASSERTION_TYPE } from './client_assertion.ts';
export { judgeClientAssertion, parseClientAssertion, type UnverifiedAssertion } from './client_assertion.ts';
export { CLIENT_ID_LENGTH_MAX, CLIENT_SECRET_LENGTH_MAX, type ClientCredentials } from './client_credentials.ts';
export { isReadInTwoWays, parseBasic, parseBasicReadings, parsePlainBasic } from './client_credentials.ts';
export { printBasic, printPlainBasic } from './client_credentials.ts';
export { CLIENT_ALGORITHMS, type ClientAlgorithm, type ClientPublicKey, type JwkFault } from './client_public_key.ts';
export { parsePublicJwk, thumbprintInput } from './client_public_key.ts';

// Requests and answers: RFC 6749, RFC 7009, RFC 7662, RFC 8693, RFC 8414
export { metadataURL, openidConfigurationURLs, PATHS, splitURL } from './endpoints.ts';
export { canonicalIssuer } from './issuer.ts';
export { ACCESS_TOKEN_TYPE_URN, GRANT_TYPES, type GrantType } from './messages.ts';
export { parseErrorResponse, parseIntrospectedToken, parseTokenResponse } from './messages.ts';
export { TOKEN_TYPE_HINTS, type IntrospectionResponse, type TokenResponse, type TokenTypeHint } from './messages.ts';
export { BODY_BYTES_MAX, dialectOf, PARAMETERS_MAX, parseParameters } from './parameters.ts';
export type { Dialect, ParameterName, Parameters } from './parameters.ts';
export { isRefusal, listRefusals, printRefusal, refuse } from './refusal.ts';
export type { ErrorBody, ErrorCode, Refusal, RefusalReason } from './refusal.ts';

// Scopes: contract §7
export { covers, describeScopeFault, fillScope, isReserved, isScope, isSegmentValue, opens } from './scope.ts';
export { parseScope, ScopeSet, type FillFault, type Scope, type ScopeFault } from './scope.ts';
export { SCOPE_LENGTH_MAX, SEGMENT_LENGTH_MAX, type ScopeParameter, type ScopeValues } from './scope.ts';
export { describeScopeListFault, parseScopeList, printScopeList } from './scope_list.ts';
export { SCOPE_LIST_LENGTH_MAX, SCOPES_PER_REQUEST_MAX } from './scope_list.ts';

// Tokens: RFC 9068, RFC 7515, contract §5
export { ACCESS_TOKEN_LENGTH_MAX, ACCESS_TOKEN_SECONDS_MAX, ACCESS_TOKEN_TYPE } from './access_token.ts';
export { isMeantFor, parseAccessToken, parseAccessTokenClaims, type AccessTokenClaims } from './access_token.ts';
export { OPAQUE_TOKEN_PREFIX, printAccessTokenHeader, printSigningInput } from './access_token.ts';
export { SIGNING_ALGORITHMS, type SigningAlgorithm } from './access_token.ts';
export { isIdentifier, isTokenIdentifier, LINEAGE_MAX, lineageOf } from './identifier.ts';
export { makeChildIdentifier, makeIdentifier, momentOfIdentifier } from './identifier.ts';
export { parseJws, type KnownHeader } from './jws.ts';
export { openRefreshToken, sealRefreshToken, type RefreshKey, type RefreshTokenState } from './refresh_token.ts';
export { REFRESH_KEY_ID_BYTES, REFRESH_TOKEN_LENGTH_MAX, REFRESH_TOKEN_PREFIX } from './refresh_token.ts';

// Revocations: contract §9 Feed
export { CURSOR_LENGTH_MAX, isCursor, parseRevocationEntry, revokes } from './revocation.ts';
export type { Revocation, RevocationEntry, RevocationKind } from './revocation.ts';

// A protected resource: RFC 6750, RFC 9449
export { parseAccessTokenHeader, printBasicChallenge, printChallenge } from './challenge.ts';
export type { ChallengeOrigin, PresentedToken } from './challenge.ts';
export {
  DPOP_NONCE_MS,
  DPOP_PROOF_LENGTH_MAX,
  dpopNonceInput,
  judgeDpopProof,
  parseDpopProof,
  printDpopNonce,
} from './dpop.ts';
export type { DpopExpectation, UnverifiedProof } from './dpop.ts';

// What the standards are built on
export { readBody } from './body.ts';
export { parseBase64url, parseUtf8, printBase64url, utf8 } from './bytes.ts';
export { numericDate, type Clock, type NumericDate, type Random } from './clock.ts';
export { ConcurrencyLimit } from './concurrency_limit.ts';
export { isObject, parseJson } from './json.ts';
export { isLoopback, isPlaintextHost, isPlaintextTarget, isServerUrl, networkOf } from './network_address.ts';
export { SingleFlight } from './single_flight.ts';
export { findNearest, isLike } from './suggestion.ts';
export { escapeControls, escapeControlsInLines, flattenControls } from './terminal_text.ts';
