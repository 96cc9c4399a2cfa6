/** The PostgreSQL engine: the store contract, and what only a remote server can do. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Client } from 'pg';
import { openPostgresStore, type PostgresOptions } from '../../src/store/postgres/postgres.ts';
import { CLIENTS_MAX, StoreUnavailable, StoreUnusable, type Store } from '../../src/store/store.ts';
import { testStoreContract } from '../../../../testing/store_contract/contract.ts';
import { startPostgres } from '../../../../testing/postgres/cluster.ts';
import { startProxy, type Proxy } from '../../../../testing/proxies/lossy_proxy.ts';
import {
  NOW,
  clientRecord,
  eventRecord,
  readFeed,
  revocationBefore,
  revocationRecord,
  rotationRecord,
} from '../../../../testing/store_contract/records.ts';

const cluster = await startPostgres();
after(() => cluster.remove());

/** Everything is answered within this: 8 s, and some room for a busy machine. */
const ANSWER_MS_MAX = 9_500;
const random = (byteCount: number) => new Uint8Array(randomBytes(byteCount));
const token = (id: string) => [revocationRecord('token', id)];
const event = eventRecord('event');

let places = 0;

// Each test has its own schema, in a database that does not order texts by code point.
const shared = await cluster.createDatabase({ icuLocale: 'en' });
testStoreContract('PostgreSQL', {
  open: () => {
    const schema = freshPlace();
    return () => openPostgresStore({ url: shared, schema, random, connections: 5 });
  },
});

function freshPlace(): string {
  places += 1;
  return `Place ${places}`;
}

async function openUntilEnd(
  t: TestContext,
  options: Partial<PostgresOptions> & { readonly url: string },
): Promise<Store> {
  const store = await openPostgresStore({ random, ...options });
  t.after(() => store.close());
  return store;
}

async function openFresh(
  t: TestContext,
  options: Partial<PostgresOptions> = {},
): Promise<{ store: Store; url: string }> {
  const url = await cluster.createDatabase();
  return { url, store: await openUntilEnd(t, { url, ...options }) };
}

/** The error with which opening fails. A store that opens by mistake is closed, so that the test can report it. */
async function refusal(options: Partial<PostgresOptions> & { readonly url: string }): Promise<unknown> {
  try {
    await (await openPostgresStore({ random, ...options })).close();
    return 'it was opened';
  } catch (error) {
    return error;
  }
}

async function assertUnusable(url: string, sentence: RegExp): Promise<void> {
  const error = await refusal({ url });
  assert.ok(error instanceof StoreUnusable, inspect(error));
  assert.match(error.message, sentence);
}

/** Asks until there is an answer, or until the test times out. */
async function untilAnswered<Result>(t: TestContext, ask: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      assert.ok(error instanceof StoreUnavailable, inspect(error));
      assert.ok(!t.signal.aborted, 'the store does not come back');
    }
  }
}

/** Queries the database until the column `so` is true. */
async function until(t: TestContext, text: string, url: string): Promise<void> {
  while (!t.signal.aborted) if ((await cluster.query(text, { url }))[0]?.['so'] === true) return;
  assert.fail(`It never was so: ${text}`);
}

async function outcomeOf(asked: Promise<unknown>): Promise<{ readonly error: unknown; readonly tookMs: number }> {
  const began = performance.now();
  const error = await asked.then(
    () => 'it was done',
    (failure: unknown) => failure,
  );
  return { error, tookMs: performance.now() - began };
}

/** A foreign connection, inside a transaction. */
async function outsider(t: TestContext, url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  t.after(() => client.end());
  await client.query("BEGIN; SET LOCAL deadlock_timeout = '30s'");
  return client;
}

/** The rest of this file runs on the machine's own PostgreSQL where there is one, so the embedded one is tried here. */
test('the embedded PostgreSQL starts, is durable, and survives a kill', async (t) => {
  const other = await startPostgres({ binaries: 'embedded' }).catch((error: Error) => error);
  if (other instanceof Error) {
    assert.match(other.message, /^There is no PostgreSQL for the tests/);
    t.skip(other.message);
    return;
  }
  t.after(() => other.remove());
  const store = await openUntilEnd(t, { url: await other.createDatabase() });
  await store.revoke(token('jti'));
  await other.kill();
  await other.start();
  assert.deepEqual((await untilAnswered(t, () => readFeed(store))).ids, ['jti']);
  assert.equal((await other.query('SHOW fsync'))[0]?.['fsync'], 'on');
});

suite('durability', () => {
  const SERVER: readonly (readonly [settings: Readonly<Record<string, string>>, sentence: RegExp | undefined])[] = [
    [{ synchronous_commit: 'off' }, /cannot promise .*\(synchronous_commit = off\)/],
    [{ fsync: 'off' }, /cannot promise .*\(fsync = off\)/],
    [{ full_page_writes: 'off' }, /cannot promise .*\(full_page_writes = off\)/],
    [{ synchronous_commit: 'local', synchronous_standby_names: 'b' }, /\(synchronous_commit = local beside/],
    [{ default_transaction_read_only: 'on' }, /^The database is read only/],
    // Without standbys, this machine's disk is all there is.
    [{ synchronous_commit: 'local' }, undefined],
  ];
  for (const [settings, sentence] of SERVER) {
    const what = Object.entries(settings).flat().join(' ');
    test(`a server with ${what} is ${sentence === undefined ? 'accepted' : 'refused until that is changed'}`, async () => {
      const url = await cluster.createDatabase();
      await cluster.configure(settings);
      try {
        if (sentence === undefined) assert.equal(await refusal({ url }), 'it was opened');
        else await assertUnusable(url, sentence);
      } finally {
        await cluster.configure(Object.fromEntries(Object.keys(settings).map((name) => [name, undefined])));
      }
      assert.equal(await refusal({ url }), 'it was opened');
    });
  }

  test('synchronous_commit = off for one role or one database is refused as well', async () => {
    const url = await cluster.createDatabase();
    await cluster.query(`CREATE ROLE lazy SUPERUSER LOGIN; ALTER ROLE lazy SET synchronous_commit = off`);
    const name = new URL(url).pathname.slice(1);
    await assertUnusable(cluster.url(name, 'lazy'), /synchronous_commit = off/);
    assert.equal(await refusal({ url }), 'it was opened', 'the other role');
    await cluster.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
    await assertUnusable(url, /synchronous_commit = off/);
  });

  test('a running store notices when durability is switched off on its server', async (t) => {
    const { store } = await openFresh(t);
    await store.check();
    await cluster.configure({ fsync: 'off' });
    try {
      await assert.rejects(store.check(), { name: 'StoreUnavailable', message: /fsync = off/ });
    } finally {
      await cluster.configure({ fsync: undefined });
    }
    await store.check();
  });

  test('a reload does not weaken a running transaction, and a commit that no standby confirmed is not acknowledged', async (t) => {
    const { store, url } = await openFresh(t, { connections: 1 });
    await store.revoke(token('confirmed'));
    const other = await outsider(t, url);
    await other.query('UPDATE feed SET last_position = last_position');
    const revoked = outcomeOf(store.revoke(token('unconfirmed')));
    await until(t, "SELECT COUNT(*) = 1 AS so FROM pg_stat_activity WHERE wait_event_type = 'Lock'", url);
    await cluster.configure({ synchronous_commit: 'off', synchronous_standby_names: 'nobody' });
    t.after(() => cluster.configure({ synchronous_commit: undefined, synchronous_standby_names: undefined }));
    await other.query('ROLLBACK');
    // It still waits, which the new settings would not. Then the operator gives up on the standby:
    await until(t, "SELECT COUNT(*) = 1 AS so FROM pg_stat_activity WHERE wait_event = 'SyncRep'", url);
    await cluster.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", { url });
    const { error } = await revoked;
    assert.ok(error instanceof StoreUnavailable, inspect(error));
    assert.match(error.message, /with a warning: .*synchronous replication/);
    await assert.rejects(store.revoke(token('refused')), {
      name: 'StoreUnavailable',
      message: /synchronous_commit = off/,
    });
  });

  test('a standby is refused, and its primary is not', async (t) => {
    const url = await cluster.createDatabase();
    assert.equal(await refusal({ url }), 'it was opened');
    const standby = await cluster.startStandby();
    t.after(() => standby.remove());
    await assertUnusable(standby.url(new URL(url).pathname.slice(1)), /^The database is a standby/);
    assert.equal(await refusal({ url }), 'it was opened');
  });
});

suite('the schema', () => {
  test('a store that a newer Hallpass wrote is refused and left as it is', async () => {
    const url = await cluster.createDatabase();
    assert.equal(await refusal({ url }), 'it was opened');
    await cluster.query('UPDATE hallpass_schema SET version = 99', { url });
    await assertUnusable(url, /^The store was written by a newer Hallpass .*schema 99/);
    assert.deepEqual(await cluster.query('SELECT version::int FROM hallpass_schema', { url }), [{ version: 99 }]);
  });

  test('instances that start at once on a fresh database share one store', async (t) => {
    for (let round = 0; round < 3; round++) {
      const place = { url: shared, schema: freshPlace() };
      const stores = await Promise.all(Array.from({ length: 6 }, () => openUntilEnd(t, place)));
      await Promise.all(stores.map((store, at) => store.revoke(token(`jti-${at}`))));
      for (const store of stores) assert.equal((await readFeed(store)).ids.length, stores.length);
    }
  });

  test('a start that is killed at any statement of the schema is completed by the next one', async (t) => {
    const url = await cluster.createDatabase();
    // The server ends the connection at the n-th statement that changes the schema.
    await cluster.query(
      `CREATE SCHEMA deadly; CREATE SEQUENCE deadly.at; CREATE TABLE deadly.mine (at BIGINT);
       CREATE FUNCTION deadly.kill() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
         IF nextval('deadly.at') = (SELECT MAX(at) FROM deadly.mine) THEN
           PERFORM pg_terminate_backend(pg_backend_pid());
         END IF; END $$;
       CREATE EVENT TRIGGER deadly ON ddl_command_end EXECUTE FUNCTION deadly.kill()`,
      { url },
    );
    let killed = 0;
    for (let at = 1; ; at++) {
      await cluster.query(`SELECT setval('deadly.at', 1, false); INSERT INTO deadly.mine VALUES (${at})`, { url });
      const outcome = await refusal({ url });
      if (outcome === 'it was opened') break;
      assert.ok(outcome instanceof StoreUnavailable, inspect(outcome));
      killed += 1;
      assert.ok(killed < 100);
    }
    assert.ok(killed > 10, `killed ${killed} times`);
    await cluster.query('DROP EVENT TRIGGER deadly', { url });
    const store = await openUntilEnd(t, { url });
    await store.revoke(token('jti'), event);
    assert.deepEqual((await readFeed(store)).ids, ['jti']);
  });

  test('a role that may not create tables is refused', async () => {
    const url = await cluster.createDatabase();
    const name = new URL(url).pathname.slice(1);
    await cluster.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE poor LOGIN', { url });
    await assertUnusable(cluster.url(name, 'poor'), /^The role of Hallpass may not create tables/);
  });
});

suite('many instances', () => {
  test('concurrent revocations share a commit', async (t) => {
    const { store, url } = await openFresh(t);
    await Promise.all(Array.from({ length: 64 }, (_, at) => store.revoke(token(`jti-${at}`), event)));
    const commits = 'SELECT COUNT(DISTINCT xmin::text)::int AS commits, COUNT(*)::int AS rows FROM ';
    assert.deepEqual(await cluster.query(`${commits} revocations`, { url }), [{ commits: 1, rows: 64 }]);
    // Sequential ones cannot.
    for (let at = 0; at < 3; at++) await store.revoke(token(`alone-${at}`));
    assert.deepEqual(await cluster.query(`${commits} revocations`, { url }), [{ commits: 4, rows: 67 }]);
  });

  test('a revocation that cannot be stored does not fail the others in its commit', async (t) => {
    const { store } = await openFresh(t);
    // No PostgreSQL index can hold a text this long.
    const endless = randomBytes(8_000).toString('hex');
    const outcomes = await Promise.allSettled(['before', endless, 'after'].map((id) => store.revoke(token(id))));
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.ok(outcomes[1]?.status === 'rejected' && outcomes[1].reason instanceof StoreUnavailable);
    assert.deepEqual((await readFeed(store)).ids, ['before', 'after']);
  });

  test('together they never exceed CLIENTS_MAX clients', async (t) => {
    const { store: a, url } = await openFresh(t);
    const b = await openUntilEnd(t, { url });
    await cluster.query(
      `INSERT INTO clients (client_id, version, record) SELECT 'c' || i, 1, '{}' FROM generate_series(1, ${CLIENTS_MAX - 1}) i`,
      { url },
    );
    const outcomes = await Promise.all(
      [a, b, a, b].map((store, at) => store.saveClient(clientRecord({ clientId: `new ${at}` }), { event })),
    );
    assert.deepEqual(outcomes.toSorted(), ['saved', 'too_many', 'too_many', 'too_many']);
  });

  test('after a deadlock the operation is retried', async (t) => {
    const { store, url } = await openFresh(t);
    await store.saveClient(clientRecord(), { event });
    const other = await outsider(t, url);
    await other.query('UPDATE feed SET last_position = last_position');
    const revocations = [revocationBefore('client', NOW + 1)];
    const saved = store.saveClient(clientRecord({ version: 2 }), { event, revocations });
    await until(t, "SELECT COUNT(*) = 1 AS so FROM pg_stat_activity WHERE wait_event_type = 'Lock'", url);
    // Each now waits for the other's lock, and the server ends the store's transaction.
    await other.query("UPDATE clients SET version = version WHERE client_id = 'client'");
    await other.query('COMMIT');
    assert.equal(await saved, 'saved');
    assert.equal((await store.listEvents({ limit: 10 })).length, 2, 'nothing of the first attempt is stored');
    assert.equal((await store.findClient('client'))?.version, 2);
  });

  test('a server with default_transaction_isolation = serializable works as well', async (t) => {
    const url = await cluster.createDatabase();
    await cluster.query(
      `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET default_transaction_isolation = 'serializable'`,
    );
    const [a, b] = [await openUntilEnd(t, { url }), await openUntilEnd(t, { url })];
    const outcomes = await Promise.all(
      Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? a : b).rotate(rotationRecord({ rotatedAt: at }))),
    );
    assert.equal(outcomes.filter((outcome) => outcome === 'rotated').length, 1);
    assert.equal(outcomes.filter((outcome) => outcome === 'already_used').length, 39);
  });

  test('a process opens no more connections than its setting', async (t) => {
    const { store, url } = await openFresh(t, { connections: 3 });
    const asked = Promise.all(
      Array.from({ length: 300 }, async (_, at) => {
        await store.rotate(rotationRecord({ grantId: `grant ${at}` }));
        return await store.findFamily(`grant ${at}`);
      }),
    );
    const counted: number[] = [];
    const done = new AbortController();
    const counting = (async () => {
      const count = "SELECT COUNT(*)::int AS n FROM pg_stat_activity WHERE application_name = 'hallpass'";
      while (!done.signal.aborted) counted.push(Number((await cluster.query(count, { url }))[0]?.['n']));
    })();
    assert.equal((await asked).filter((family) => family?.generation === 1).length, 300);
    done.abort();
    await counting;
    assert.equal(Math.max(...counted), 3);
  });
});

suite('an outage', () => {
  test('a server killed under load and restarted: callers get an answer in time, acknowledged writes are there, and work goes on', async (t) => {
    const { store } = await openFresh(t);
    const acknowledged: string[] = [];
    const slow: number[] = [];
    let failures = 0;
    const done = new AbortController();
    const load = Array.from({ length: 32 }, async (_, caller) => {
      for (let at = 0; !done.signal.aborted; at++) {
        const id = `jti-${caller}-${at}`;
        const { error, tookMs } = await outcomeOf(store.revoke(token(id)));
        if (tookMs > ANSWER_MS_MAX) slow.push(tookMs);
        if (error === 'it was done') acknowledged.push(id);
        else {
          assert.ok(error instanceof StoreUnavailable, inspect(error));
          failures += 1;
        }
      }
    });
    try {
      while (acknowledged.length < 200) await sleep(5);
      await cluster.kill();
      const before = acknowledged.length;
      await cluster.start();
      await untilAnswered(t, () => store.revoke(token('first after')));
      while (acknowledged.length < before + 200) await sleep(5);
    } finally {
      // A closed store answers at once, so callers that kept asking would starve everything else.
      done.abort();
      await Promise.all(load);
    }
    assert.ok(failures > 0, 'no caller noticed');
    assert.deepEqual(slow, []);
    const kept = new Set((await readFeed(store, { limit: 1_000 })).ids);
    assert.deepEqual(
      acknowledged.filter((id) => !kept.has(id)),
      [],
    );
  });

  test('idle connections that the server ends are replaced', async (t) => {
    const { store, url } = await openFresh(t, { connections: 2 });
    await Promise.all([store.check(), store.check()]);
    await cluster.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hallpass'", {
      url,
    });
    await untilAnswered(t, () => store.revoke(token('jti')));
    assert.deepEqual((await readFeed(store)).ids, ['jti']);
  });

  test('a server that turns read only is refused until it is writable again', async (t) => {
    const { store } = await openFresh(t, { connections: 2 });
    await store.revoke(token('before'));
    await cluster.configure({ default_transaction_read_only: 'on' });
    try {
      await assert.rejects(store.revoke(token('refused')), StoreUnavailable);
      await assert.rejects(store.rotate(rotationRecord()), StoreUnavailable);
      // It is not read from either: a demoted primary may answer with old data.
      await assert.rejects(readFeed(store), { name: 'StoreUnavailable', message: /read only/ });
    } finally {
      await cluster.configure({ default_transaction_read_only: undefined });
    }
    await store.revoke(token('after'));
    assert.deepEqual((await readFeed(store)).ids, ['before', 'after']);
  });

  test('a commit whose answer is lost rejects, is not retried, and is safe to repeat', async (t) => {
    const { store, proxy, url } = await openThroughProxy(t);
    await store.saveClient(clientRecord(), { event });
    proxy.wire = 'loses_answer_to_commit';
    await assert.rejects(store.saveClient(clientRecord({ version: 2 }), { event }), StoreUnavailable);
    await assert.rejects(store.revoke(token('jti'), event), StoreUnavailable);
    proxy.wire = 'whole';
    const direct = await openUntilEnd(t, { url });
    assert.equal((await direct.findClient('client'))?.version, 2, 'it took effect');
    assert.equal((await direct.listEvents({ limit: 10 })).length, 3, 'once');
    await store.revoke(token('jti'));
    assert.deepEqual((await readFeed(direct)).ids, ['jti']);
    assert.equal(await store.saveClient(clientRecord({ version: 2 }), { event }), 'changed_meanwhile');
  });

  test('a rotation whose answer is lost rejects and is not retried', async (t) => {
    const { store, proxy, url } = await openThroughProxy(t);
    await store.rotate(rotationRecord({ rotatedAt: 1 }));
    proxy.wire = 'loses_answers';
    await assert.rejects(store.rotate(rotationRecord({ from: 1, rotatedAt: 2 })), StoreUnavailable);
    proxy.wire = 'whole';
    const direct = await openUntilEnd(t, { url });
    assert.equal((await direct.findFamily('grant'))?.generation, 2);
    assert.equal(await store.rotate(rotationRecord({ from: 1, rotatedAt: 3 })), 'already_used');
    assert.equal((await direct.findFamily('grant'))?.rotatedAt, 2);
  });
});

/** Both wait for real time limits of PostgreSQL and the driver, on databases of their own, so they wait side by side. */
suite('a time limit', { concurrency: true }, () => {
  test('a write that waits too long for another transaction rejects, while reads go on', async (t) => {
    const { store, url } = await openFresh(t);
    const other = await outsider(t, url);
    await other.query('UPDATE feed SET last_position = last_position');
    const revoked = outcomeOf(store.revoke(token('jti')));
    assert.deepEqual((await readFeed(store)).ids, []);
    assert.equal(await store.rotate(rotationRecord()), 'rotated');
    const { error, tookMs } = await revoked;
    assert.ok(error instanceof StoreUnavailable && tookMs < ANSWER_MS_MAX, inspect(error));
    await other.query('ROLLBACK');
    await store.revoke(token('jti'));
  });

  test('on a silent network every operation rejects in time, and works again when the network does', async (t) => {
    const { store, proxy } = await openThroughProxy(t);
    await store.revoke(token('before'));
    proxy.wire = 'silent';
    const asked = [
      store.revoke(token('lost')),
      store.rotate(rotationRecord()),
      store.saveClient(clientRecord(), { event }),
      store.findClient('client'),
      store.check(),
      ...Array.from({ length: 20 }, () => store.findFamily('grant')),
    ];
    for (const { error, tookMs } of await Promise.all(asked.map(outcomeOf))) {
      assert.ok(error instanceof StoreUnavailable, inspect(error));
      assert.ok(tookMs < ANSWER_MS_MAX, `${tookMs} ms`);
    }
    proxy.wire = 'whole';
    await untilAnswered(t, () => store.revoke(token('after')));
    assert.deepEqual((await readFeed(store)).ids, ['before', 'after']);
  });
});

async function openThroughProxy(t: TestContext): Promise<{ store: Store; proxy: Proxy; url: string }> {
  const url = await cluster.createDatabase();
  const proxy = await startProxy(cluster.port);
  t.after(() => proxy.close());
  const store = await openUntilEnd(t, { url: proxy.through(url) });
  return { store, proxy, url };
}

suite('the address', () => {
  const SECRET = 'pass/word%that&nobody=sees';
  const secretly = (url: string) => url.replace('postgres@', `postgres:${encodeURIComponent(SECRET)}@`);

  test('its password is in no error', async (t) => {
    const url = secretly(await cluster.createDatabase());
    const store = await openUntilEnd(t, { url });
    await cluster.configure({ default_transaction_read_only: 'on' });
    const errors = [
      await store.revoke(token('jti')).catch((error: unknown) => error),
      await store.check().catch((error: unknown) => error),
    ];
    await cluster.configure({ default_transaction_read_only: undefined });
    for (const wrong of [
      url.replace(/\/[^/]*$/, '/no_such_database'),
      url.replace(/:\d+\//, ':1/'),
      url.replace(/127.0.0.1:\d+/, 'localhost:1'),
      url.replace('127.0.0.1', 'no.such.host.invalid'),
      url.replace(/:\d+\//, ':no port/'),
      `${url}?sslmode=verify-full`,
      `${url}?sslmode=verify-full&sslrootcert=/no/such/file`,
      `${url}?options=-c%20fsync%3Doff`,
    ]) {
      errors.push(await refusal({ url: wrong }));
    }
    for (const error of errors) {
      assert.ok(error instanceof StoreUnavailable || error instanceof StoreUnusable, inspect(error));
      const shown = inspect(error, { depth: 20, showHidden: true });
      for (const secret of [SECRET, encodeURIComponent(SECRET)]) assert.ok(!shown.includes(secret), error.message);
    }
  });

  test('a missing database is reported to the operator', async () => {
    await assertUnusable(cluster.url('no_such_database'), /^The database does not exist/);
  });

  test('with a CA certificate, plaintext and unverified modes are refused', async () => {
    const url = await cluster.createDatabase();
    const tls = { ca: 'an authority' };
    const error = await refusal({ url, tls });
    assert.ok(error instanceof StoreUnavailable, inspect(error));
    assert.match(error.message, /does not support SSL/);
    for (const mode of ['disable', 'no-verify']) {
      assert.ok((await refusal({ url: `${url}?sslmode=${mode}`, tls })) instanceof StoreUnusable, mode);
    }
    assert.equal(await refusal({ url: `${url}?sslmode=disable` }), 'it was opened');
  });

  test('the database certificate is verified: its CA and its name', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'hallpass-tls-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const own = selfSigned(folder, 'own');
    const other = selfSigned(folder, 'other');
    if (own === undefined || other === undefined) {
      t.skip('There is no openssl to make a certificate.');
      return;
    }
    const url = await cluster.createDatabase();
    await cluster.useCertificate(own);
    t.after(() => cluster.configure({ ssl: undefined }));

    await openUntilEnd(t, { url, tls: { ca: own.certificate } });
    const encrypted = 'SELECT bool_and(ssl) AS so FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)';
    await until(t, `${encrypted} WHERE application_name = 'hallpass'`, url);
    assert.equal(await refusal({ url: `${url}?sslmode=verify-full&sslrootcert=${own.file}` }), 'it was opened');
    assert.equal(await refusal({ url: `${url}?sslmode=require&sslrootcert=${own.file}` }), 'it was opened');

    for (const wrong of [
      { url, tls: { ca: other.certificate } },
      { url: url.replace('127.0.0.1', 'localhost'), tls: { ca: own.certificate } },
      { url: `${url}?sslmode=require` },
      { url: `${url}?sslmode=verify-full&sslrootcert=${other.file}` },
    ]) {
      const error = await refusal(wrong);
      assert.ok(error instanceof StoreUnusable, inspect(error));
      assert.match(error.message, /^The certificate of the database cannot be verified/);
    }
  });
});

interface Certificate {
  readonly key: string;
  readonly certificate: string;
  /** The path of the certificate. */
  readonly file: string;
}

/** A self-signed certificate for 127.0.0.1. */
function selfSigned(folder: string, name: string): Certificate | undefined {
  const [keyFile, file] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
  const kind = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=a database'];
  const made = spawnSync('openssl', [
    ...kind,
    '-addext',
    'subjectAltName=IP:127.0.0.1',
    '-keyout',
    keyFile,
    '-out',
    file,
  ]);
  if (made.status !== 0) return undefined;
  return { key: readFileSync(keyFile, 'utf8'), certificate: readFileSync(file, 'utf8'), file };
}
