/** The server's tests that depend most on what the store remembers, on PostgreSQL. `on_postgres.matrix.ts` runs the others. */
import { test } from 'node:test';
import { assertHoldsOnPostgres } from './on_postgres.ts';

test('refresh tokens and their predecessors behave the same on PostgreSQL', async () => {
  await assertHoldsOnPostgres(['refresh_token', 'predecessor'], 40);
});
