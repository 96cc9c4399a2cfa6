/** Behind a pooler each transaction may use another connection, so nothing may be left in a session (ADR 36). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { Client } from 'pg';
import { openPostgresStore } from '../../src/store/postgres/postgres.ts';
import { openPostgresTables } from '../../src/store/postgres/tables.ts';
import { startHallpass } from '../../../../testing/server/server.ts';
import { startPostgres } from '../../../../testing/postgres/cluster.ts';
import { readFeed, revocationRecord } from '../../../../testing/store_contract/records.ts';
import { startRotatingPooler } from '../../../../testing/proxies/rotating_pooler.ts';

const cluster = await startPostgres();
after(() => cluster.remove());
const random = (byteCount: number) => new Uint8Array(randomBytes(byteCount));

test('a server works when every transaction is on another connection, and leaves nothing in a session', async (t) => {
  const pooler = await startRotatingPooler(cluster.port);
  t.after(() => pooler.close());
  const url = pooler.through(await cluster.createDatabase());
  const hallpass = await startHallpass({
    environment: { HALLPASS_DATABASE_URL: url, HALLPASS_ISSUER: 'http://127.0.0.1:8080' },
  });
  const [key, api] = [await hallpass.makeKey(), await hallpass.makeKey({ resourceServerFor: ['https://api.example'] })];
  const tokens = await hallpass.issue(key);
  const refreshed = await hallpass.refresh(key, tokens.refreshToken);
  assert.equal(refreshed.status, 200);
  const again = await hallpass.refresh(key, tokens.refreshToken);
  assert.equal(again.body['refresh_token'], refreshed.body['refresh_token']);
  assert.equal(await hallpass.isActive(key, tokens.accessToken), true);
  assert.equal((await hallpass.revoke(key, tokens.accessToken)).status, 200);
  assert.equal(await hallpass.isActive(key, tokens.accessToken), false);
  const page = await hallpass.request('/oauth2/revocations?after=', {
    headers: { authorization: `Basic ${Buffer.from(`${api.clientId}:${api.clientSecret}`).toString('base64')}` },
  });
  assert.match(page.text, /"kind":"token"/);
  await hallpass.keys.disable(key.clientId);
  assert.equal((await hallpass.refresh(key, tokens.refreshToken)).outcome, '401 invalid_client');
  assert.equal((await hallpass.request('/health/ready')).status, 200);
  await hallpass.close();
  assert.ok(pooler.transactions() > 50, `${pooler.transactions()} transactions`);
  assert.deepEqual([...pooler.left], []);
});

test('a store in its own schema, a snapshot and refused statements leave nothing either', async (t) => {
  const pooler = await startRotatingPooler(cluster.port);
  t.after(() => pooler.close());
  const place = { url: pooler.through(await cluster.createDatabase()), schema: 'Its own', random };
  const store = await openPostgresStore(place);
  t.after(() => store.close());
  const endless = randomBytes(8_000).toString('hex');
  const outcomes = await Promise.allSettled(
    ['one', endless, 'two'].map((id) => store.revoke([revocationRecord('token', id)])),
  );
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.deepEqual((await readFeed(store)).ids, ['one', 'two']);
  const tables = openPostgresTables(place);
  t.after(() => tables.close());
  const rows = await tables.snapshot((sql) => sql.all('SELECT subject FROM revocations ORDER BY position'));
  assert.deepEqual(
    rows.map((row) => row['subject']),
    ['one', 'two'],
  );
  await assert.rejects(
    tables.snapshot((sql) => sql.run('DELETE FROM revocations')),
    /cannot do this now/,
  );
  assert.deepEqual([...pooler.left], []);
});

test('the test pooler detects leftovers: a prepared statement, a setting, a lock, a listener, a temporary table', async (t) => {
  const pooler = await startRotatingPooler(cluster.port);
  t.after(() => pooler.close());
  const client = new Client({ connectionString: pooler.through(cluster.url('postgres')) });
  await client.connect();
  t.after(() => client.end());
  await client.query({ name: 'kept', text: 'SELECT 1' });
  await client.query("SET LOCAL lock_timeout = '5s'; SELECT set_config('lock_timeout', '5s', true)");
  assert.deepEqual([...pooler.left], ['prepared kept']);
  for (const text of [
    "SET lock_timeout = '5s'",
    'SELECT pg_advisory_lock(1)',
    'LISTEN news',
    'CREATE TEMP TABLE own (one INT)',
  ]) {
    await client.query(text);
  }
  // Leftovers are found at the end of a transaction, before the next one begins.
  await client.query('SELECT 1');
  assert.deepEqual([...pooler.left].toSorted(), [
    'listens news',
    'locks advisory',
    'prepared kept',
    'set lock_timeout',
    'table own',
  ]);
});
