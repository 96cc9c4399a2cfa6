/** Readiness and `hallpass store verify` on PostgreSQL (ADR 34, ADR 35). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, suite, test, type TestContext } from 'node:test';
import { checkStore } from '../../src/store/verify/verify.ts';
import type { Findings } from '../../src/store/verify/findings.ts';
import { openPostgresStore } from '../../src/store/postgres/postgres.ts';
import { openPostgresCheck } from '../../src/store/postgres/check.ts';
import { StoreUnavailable, type Store } from '../../src/store/store.ts';
import { startPostgres } from '../../../../testing/postgres/cluster.ts';
import { NOW, readFeed, revocationRecord } from '../../../../testing/store_contract/records.ts';

const cluster = await startPostgres();
after(() => cluster.remove());
const random = (byteCount: number) => new Uint8Array(randomBytes(byteCount));

async function openFresh(t: TestContext): Promise<{ readonly store: Store; readonly url: string }> {
  const url = await cluster.createDatabase();
  const store = await openPostgresStore({ url, random });
  t.after(() => store.close());
  return { store, url };
}

test('a readiness check writes: it fails while nothing can be written, and recovers by itself', async (t) => {
  const { store, url } = await openFresh(t);
  await store.check();
  await cluster.query("ALTER TABLE counters ADD CONSTRAINT full_disk CHECK (name <> 'write probe') NOT VALID", {
    url,
  });
  await assert.rejects(store.check(), StoreUnavailable);
  assert.deepEqual((await readFeed(store)).ids, []);
  await cluster.query('ALTER TABLE counters DROP CONSTRAINT full_disk', { url });
  await store.check();
});

suite('hallpass store verify', () => {
  const verify = async (url: string): Promise<Findings> => {
    const store = await openPostgresCheck({ url, random });
    const { findings } = await checkStore(store, { openKey: 'not here.', progress: () => undefined });
    return findings;
  };

  test('with amcheck it finds a revocation that its index lost; without amcheck it says what it did not check', async (t) => {
    const { store, url } = await openFresh(t);
    await store.revoke([revocationRecord('token', 'before')]);
    const without = await verify(url);
    assert.deepEqual(without.faults, []);
    assert.match(without.notChecked.join(), /the database has no amcheck.*CREATE EXTENSION amcheck/);
    await cluster.query('CREATE EXTENSION amcheck', { url });
    const sound = await verify(url);
    assert.deepEqual([sound.faults, sound.notChecked], [[], ['The issuer keys were not decrypted: not here.']]);

    // An index that is not updated while a row is written looks like the result of a lost write.
    const keepUp = (isReady: boolean) =>
      cluster.query(
        `UPDATE pg_index SET indisready = ${isReady} WHERE indexrelid = 'revocations_of_subject'::regclass`,
        { url },
      );
    await keepUp(false);
    await cluster.query(
      `INSERT INTO revocations (position, kind, subject, expires_at, keep_until) VALUES (2, 'token', 'lost', ${NOW}, ${NOW})`,
      { url },
    );
    await keepUp(true);
    const damaged = await verify(url);
    assert.match(damaged.faults.join(), /The index revocations_of_subject: .*lacks matching index tuple/);
    assert.match(damaged.faults.join(), /The feed ends at 1, before its entry 2/);

    await cluster.query('CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader', { url });
    const asReader = url.replace('postgres@', 'reader@');
    assert.match((await verify(asReader)).notChecked.join(), /may not use amcheck.*GRANT EXECUTE/);
  });

  test('a database without a store, or with an older one, is left unchanged', async () => {
    const url = await cluster.createDatabase();
    await assert.rejects(verify(url), { name: 'StoreUnusable', message: /There is no store in this database/ });
    assert.deepEqual(await cluster.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", { url }), []);
    await cluster.query('CREATE TABLE hallpass_schema (one BIGINT PRIMARY KEY, version BIGINT NOT NULL)', { url });
    await cluster.query('INSERT INTO hallpass_schema VALUES (1, 3)', { url });
    await assert.rejects(verify(url), { message: /of an older Hallpass \(schema 3;/ });
  });
});
