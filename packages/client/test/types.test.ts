/** What the compiler refuses. Each line that must not compile has beside it the nearest one that does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  CreateAccessTokenRequest,
  CreateAccessTokenResponse,
  HallpassErrorCode,
  HallpassOptions,
  RevokeAccessTokenRequest,
} from '@hallpass/client';

const key = { clientId: 'a', clientSecret: 'b' };

const requests: readonly CreateAccessTokenRequest[] = [
  { ...key, grantType: 'client_credentials' },
  { ...key, grantType: 'client_credentials', scope: '/a.read', refreshToken: 'ignored', resource: 'https://a.example' },
  { ...key, grantType: 'client_credentials', scope: undefined },
  { ...key, grantType: 'refresh_token', refreshToken: 'c' },
  { ...key, grantType: 'refresh_token', refreshToken: 'c', resource: ['https://a.example'] as const },
  // @ts-expect-error -- a refresh needs its token (RFC 6749 §6)
  { ...key, grantType: 'refresh_token' },
  // @ts-expect-error -- and one that is there
  { ...key, grantType: 'refresh_token', refreshToken: undefined },
  // @ts-expect-error -- a grant that is not offered
  { ...key, grantType: 'password' },
  // @ts-expect-error -- no grant
  { ...key },
  // @ts-expect-error -- no secret
  { clientId: 'a', grantType: 'client_credentials' },
  // @ts-expect-error -- the names of the wire are not ours
  { ...key, grant_type: 'client_credentials' },
  // @ts-expect-error -- scopes are one text
  { ...key, grantType: 'client_credentials', scope: ['/a.read'] },
];

const revocations: readonly RevokeAccessTokenRequest[] = [
  { ...key, token: 'c' },
  { ...key, token: 'c', tokenTypeHint: 'access_token' },
  // @ts-expect-error -- no token
  { ...key, tokenTypeHint: 'access_token' },
  // @ts-expect-error -- a kind that is not offered
  { ...key, token: 'c', tokenTypeHint: 'id_token' },
];

const options: readonly HallpassOptions[] = [
  { serverURL: 'https://auth.example.com' },
  { serverURL: 'https://auth.example.com', security: { accessToken: '' }, fetch, retry: { attempts: 1 } },
  // @ts-expect-error -- no server
  { security: { accessToken: '' } },
  // @ts-expect-error -- an object that prints its password
  { serverURL: new URL('https://auth.example.com') },
];

/** Never called: what an answer may be used for. */
export function readAnswer(answer: CreateAccessTokenResponse): readonly (string | number | undefined)[] {
  // @ts-expect-error -- an answer without tokens has to be thought of (seed)
  const unsure = answer.accessTokenResponse.accessToken;
  // @ts-expect-error -- an answer is not written to
  answer.statusCode = 201;
  return [unsure, answer.accessTokenResponse?.accessToken, answer.accessTokenResponse?.expiresIn];
}

const codes: readonly HallpassErrorCode[] = ['invalid_client', 'timeout', 'a_code_of_another_server'];

test('the types say what the seed page says; the compiler checked this file', () => {
  assert.deepEqual([requests.length, revocations.length, options.length, codes.length], [12, 4, 4, 3]);
});
