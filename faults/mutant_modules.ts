/** The modules whose tests are put to the proof, and the tests that belong to each; those that are quick to fail first. */

export interface MutatedModule {
  readonly file: string;
  readonly tests: readonly string[];
}

function protocol(name: string, ...tests: readonly string[]): MutatedModule {
  return {
    file: `packages/protocol/src/${name}.ts`,
    tests: tests.map((test) => `packages/protocol/test/${test}.test.ts`),
  };
}

function guard(name: string, ...tests: readonly string[]): MutatedModule {
  return { file: `packages/guard/src/${name}.ts`, tests: tests.map((test) => `packages/guard/test/${test}.test.ts`) };
}

export const MODULES: Readonly<Record<string, MutatedModule>> = {
  scope: protocol('scope', 'scope', 'reserved_scopes', 'scope_truth_table'),
  access_token: protocol('access_token', 'access_token'),
  bytes: protocol('bytes', 'bytes'),
  jws: protocol('jws', 'jws'),
  challenge: protocol('challenge', 'challenge'),
  path: guard('path', 'path', 'policy'),
  policy: guard('policy', 'policy_grammar', 'route_truth_table', 'policy'),
  request: guard('request', 'request', 'credentials', 'dpop'),
  decision: guard('decision', 'decision', 'credentials', 'dpop', 'nonces'),
  event_stream: guard('event_stream', 'event_stream'),
  proof_memory: guard('proof_memory', 'proof_memory', 'dpop'),
  proof_register: guard('proof_register', 'proof_register', 'dpop'),
  nonces: guard('nonces', 'nonce_values', 'nonces'),
  resource_metadata: guard('resource_metadata', 'resource_metadata', 'metadata'),
  metadata_endpoint: guard('metadata_endpoint', 'resource_metadata', 'metadata'),
  possession: guard('possession', 'possession'),
  verification: guard('verification', 'verification', 'attacks'),
  key_set: guard('key_set', 'held_keys', 'usable_keys', 'key_set'),
  options: guard('options', 'options'),
  recent: guard('recent', 'remembered'),
  signed_tokens: guard('signed_tokens', 'remembered', 'verification'),
  opaque_tokens: guard('opaque_tokens', 'testing'),
  api_keys: guard('api_keys', 'testing'),
  issuer_client: guard('issuer_client', 'issuer_client'),
  pending: guard('pending', 'testing'),
  identity: guard('identity', 'identity', 'testing', 'credentials'),
  templates: guard('templates', 'templates', 'scopes', 'types'),
  identifier_table: guard('identifier_table', 'identifier_table'),
  revocation_set: guard('revocation_set', 'revocation_set', 'feed'),
  gate: guard('gate', 'gate', 'express', 'fastify'),
  forward_auth: guard('forward_auth', 'forward_auth'),
  fetch: guard('fetch', 'adapters', 'metadata', 'nonces'),
  node: guard('node', 'adapters', 'metadata', 'nonces'),
  feed_page: guard('feed_page', 'feed_page'),
  confirmations: guard('confirmations', 'confirmations'),
  feed_stream: guard('feed_stream', 'feed_stream'),
  revocation_feed: guard('revocation_feed', 'revocation_feed', 'revocation_feed_times'),
  outage: guard('outage', 'outage'),
  holder: guard('holder', 'holder'),
  express: guard('express', 'express'),
  fastify: guard('fastify', 'fastify'),
  hono: guard('hono', 'hono'),
  openapi: guard('openapi', 'openapi_file', 'openapi', 'openapi_draft'),
  openapi_draft: guard('openapi_draft', 'openapi_draft'),
  openapi_faults: guard('openapi_faults', 'openapi_faults'),
  openapi_operations: guard('openapi_operations', 'openapi_operations'),
  openapi_overlay: guard('openapi_overlay', 'openapi_overlay'),
  closed_paths: guard('closed_paths', 'closed_paths', 'openapi_members'),
  openapi_files: guard('openapi_files', 'openapi_files'),
  openapi_json: guard('openapi_json', 'openapi_pieces'),
  openapi_members: guard('openapi_members', 'openapi_members'),
  openapi_pieces: guard('openapi_pieces', 'openapi_pieces'),
  openapi_references: guard('openapi_references', 'openapi_operations', 'openapi_files'),
  openapi_security: guard('openapi_security', 'openapi_routes', 'openapi_draft'),
  openapi_servers: guard('openapi_servers', 'openapi_operations'),
  openapi_table: guard('openapi_table', 'openapi_routes', 'closed_paths'),
  openapi_yaml: guard('openapi_yaml', 'openapi_text'),
  openapi_routes: guard('openapi_routes', 'openapi_routes'),
  openapi_text: guard('openapi_text', 'openapi_text'),
  guard: guard(
    'guard',
    'guard',
    'credentials',
    'scopes',
    'remembered',
    'metadata',
    'testing',
    'nonces',
    'key_set',
    'dpop',
    'feed',
    'policy',
  ),
};
