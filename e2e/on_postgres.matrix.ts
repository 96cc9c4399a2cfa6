/** The server's tests that depend on what the store remembers, on PostgreSQL: all but those of the suite. */
import { test } from 'node:test';
import { assertHoldsOnPostgres } from './on_postgres.ts';

const FILES = [
  'feed',
  'grant_lifetimes',
  'introspect',
  'outage',
  'policy_changes',
  'private_key_jwt',
  'revoke',
  'signing_keys',
  'token_exchange',
];

test("the server's tests hold on PostgreSQL", () => assertHoldsOnPostgres(FILES, 200));
