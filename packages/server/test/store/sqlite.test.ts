/** The embedded engine: the store contract, and what only a file on a disk can do. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { firstRows, MIGRATIONS } from '../../src/store/migrations.ts';
import { restoreBackup, writeBackup } from '../../src/store/transfer/backup.ts';
import { openSqliteStore } from '../../src/store/sqlite/sqlite.ts';
import { openSqliteTables } from '../../src/store/sqlite/tables.ts';
import { CLIENTS_MAX, StoreUnavailable, StoreUnusable, type Store } from '../../src/store/store.ts';
import { testStoreContract } from '../../../../testing/store_contract/contract.ts';
import {
  clientRecord,
  eventRecord,
  NOW,
  readFeed,
  revocationRecord,
} from '../../../../testing/store_contract/records.ts';

testStoreContract('sqlite', {
  open: (t) => {
    const file = freshFile(t);
    return () => openSqliteStore({ file });
  },
});

function freshFile(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-store-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'data', 'hallpass.db');
}

/** Opens a store that is closed before its folder is removed. */
async function openUntilEnd(t: TestContext, file: string): Promise<Store> {
  const store = await openSqliteStore({ file });
  t.after(() => store.close());
  return store;
}

/** Makes a store, closes it and changes its file by hand. */
async function tampered(t: TestContext, change: (database: DatabaseSync) => void): Promise<string> {
  const file = freshFile(t);
  await (await openSqliteStore({ file })).close();
  const database = new DatabaseSync(file);
  change(database);
  database.close();
  return file;
}

/** Changes the file while stores have it open. */
function changeByHand(file: string, statements: string): void {
  const database = new DatabaseSync(file, { timeout: 5_000 });
  database.exec(statements);
  database.close();
}

async function* asLines(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

/** Asserts that opening is refused. A store that opens by mistake is closed, so that the test can report it. */
async function assertUnusable(file: string, sentence: RegExp): Promise<void> {
  const outcome = await openSqliteStore({ file }).catch((error: unknown) => error);
  if (isStore(outcome)) await outcome.close();
  assert.ok(outcome instanceof StoreUnusable, 'it was opened, or failed in another way');
  assert.match(outcome.message, sentence);
}

function isStore(value: unknown): value is Store {
  return typeof value === 'object' && value !== null && 'close' in value;
}

suite('the embedded engine', () => {
  test('it holds CLIENTS_MAX clients and no more', async (t) => {
    const file = await tampered(t, (database) => {
      database.exec(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${CLIENTS_MAX - 1})
         INSERT INTO clients (client_id, version, record) SELECT 'c' || i, 1, '{}' FROM n`,
      );
    });
    const store = await openUntilEnd(t, file);
    const save = (clientId: string) => store.saveClient(clientRecord({ clientId }), { event: eventRecord('made') });
    assert.equal(await save('last'), 'saved');
    assert.equal(await save('beyond'), 'too_many');
    assert.equal(await store.findClient('beyond'), undefined);
    await store.deleteClient('c1', { event: eventRecord('deleted') });
    assert.equal(await save('beyond'), 'saved');
    const changed = clientRecord({ clientId: 'last', version: 2 });
    assert.equal(
      await store.saveClient(changed, { event: eventRecord('changed') }),
      'saved',
      'a change is still possible',
    );
  });

  test('a record is read only after a change, so that its size does not show in the response time', async (t) => {
    const file = freshFile(t);
    const store = await openUntilEnd(t, file);
    await store.saveClient(clientRecord(), { event: eventRecord('made') });
    const nameOf = async (clientId: string) => (await store.findClient(clientId))?.name;
    assert.deepEqual([await nameOf('client'), await nameOf('unknown')], ['a key', undefined]);
    changeByHand(file, "UPDATE clients SET record = 'no JSON'");
    assert.deepEqual([await nameOf('client'), await nameOf('unknown')], ['a key', undefined]);
    await store.saveClient(clientRecord({ version: 2, name: 'changed' }), { event: eventRecord('changed') });
    assert.equal(await nameOf('client'), 'changed');
  });

  test('a row written by an older server is never mistaken for the previous one', async (t) => {
    const file = freshFile(t);
    const store = await openUntilEnd(t, file);
    const recordOf = (name: string, version: number): string => JSON.stringify(clientRecord({ name, version }));
    await store.saveClient(clientRecord(), { event: eventRecord('made') });
    assert.equal((await store.findClient('client'))?.name, 'a key');
    const write = `UPDATE clients SET version = 2, record = '${recordOf('changed', 2)}' WHERE client_id = 'client'`;
    const anew = (name: string): string =>
      `DELETE FROM clients WHERE client_id = 'client';
       INSERT INTO clients (client_id, version, record) VALUES ('client', 2, '${recordOf(name, 2)}')`;
    for (const [statements, name] of [
      [write, 'changed'],
      [anew('made anew'), 'made anew'],
      [anew('and again'), 'and again'],
    ] as const) {
      changeByHand(file, statements);
      for (let look = 0; look < 2; look++) assert.equal((await store.findClient('client'))?.name, name);
    }
  });

  test('a restored client gets a new revision', async (t) => {
    const source = freshFile(t);
    const original = await openUntilEnd(t, source);
    await original.saveClient(clientRecord(), { event: eventRecord('made') });
    const lines: string[] = [];
    const write = async (line: string): Promise<void> => void lines.push(line.trimEnd());
    const progress = (): void => undefined;
    const from = openSqliteTables({ file: source });
    await writeBackup(from, { schema: MIGRATIONS.length, madeAt: '', write, progress });
    await from.close();
    const file = freshFile(t);
    const store = await openUntilEnd(t, file);
    const to = openSqliteTables({ file });
    await restoreBackup(asLines(lines), { to, feedId: 'another', progress });
    await to.close();
    assert.equal((await store.findClient('client'))?.name, 'a key');
    const revisionOf = (of: string): unknown => {
      const database = new DatabaseSync(of);
      const row = database.prepare("SELECT revision FROM clients WHERE client_id = 'client'").get();
      database.close();
      return row?.['revision'];
    };
    assert.notEqual(revisionOf(file), revisionOf(source));
    changeByHand(file, "UPDATE clients SET record = 'no JSON'");
    assert.equal((await store.findClient('client'))?.name, 'a key');
  });

  test('the file is in write-ahead mode', async (t) => {
    const file = freshFile(t);
    await openUntilEnd(t, file);
    const database = new DatabaseSync(file, { readOnly: true });
    t.after(() => database.close());
    assert.equal(database.prepare('PRAGMA journal_mode').get()?.['journal_mode'], 'wal');
  });

  test('a database that cannot promise durability is refused at the start', async () => {
    // A database in memory has no write-ahead log, so it stands for any store that is not durable.
    await assertUnusable(':memory:', /cannot promise .*journal_mode=memory/);
  });

  test('a folder that it creates is closed to others', { skip: process.platform === 'win32' }, async (t) => {
    const file = freshFile(t);
    await openUntilEnd(t, file);
    assert.equal(statSync(join(file, '..')).mode & 0o777, 0o700);
  });

  test('a folder that cannot be made is refused with a sentence that names it', async (t) => {
    const file = freshFile(t);
    writeFileSync(join(file, '..'), 'in the way');
    const below = join(file, '..', 'below', 'hallpass.db');
    await assertUnusable(below, /^The folder of the store cannot be made: .*below\.$/);
  });

  test('a store that a newer Hallpass wrote is refused and left as it is', async (t) => {
    const file = await tampered(t, (database) => database.exec('PRAGMA user_version = 99'));
    await assertUnusable(file, /^The store was written by a newer Hallpass .*schema 99/);
    const database = new DatabaseSync(file, { readOnly: true });
    t.after(() => database.close());
    assert.equal(database.prepare('PRAGMA user_version').get()?.['user_version'], 99);
  });

  for (let version = 0; version < MIGRATIONS.length; version++) {
    test(`a store of schema ${version} is migrated with all its data, however often a start is killed`, async (t) => {
      const file = freshFile(t);
      mkdirSync(dirname(file), { recursive: true });
      const open = (): DatabaseSync => {
        const database = new DatabaseSync(file);
        database.exec('PRAGMA journal_mode = WAL; BEGIN IMMEDIATE');
        return database;
      };
      const take = (database: DatabaseSync, statements: readonly string[]): void => {
        for (const statement of statements) database.exec(statement.replaceAll('BIGINT', 'INTEGER'));
      };
      if (version > 0) {
        const before = open();
        for (const step of MIGRATIONS.slice(0, version)) take(before, step);
        for (const { text, values } of firstRows('before')) before.prepare(text).run(...values);
        before.exec(`INSERT INTO revocations (position, kind, subject, before_date, expires_at, keep_until)
                     VALUES (1, 'token', 'jti', NULL, ${NOW + 60}, ${NOW + 60}); UPDATE feed SET last_position = 1;
                     INSERT INTO clients (client_id, version, record)
                     VALUES ('client', 1, '${JSON.stringify(clientRecord())}');
                     PRAGMA user_version = ${version}`);
        // A server that knows revisions wrote one; for older rows, the migration step adds it.
        const marking = (statement: string): boolean => statement.startsWith('UPDATE clients SET revision');
        if (MIGRATIONS.slice(0, version).flat().some(marking))
          before.exec("UPDATE clients SET revision = '1-1' WHERE client_id = 'client'");
        before.exec('COMMIT');
        before.close();
      }
      const statements = MIGRATIONS.slice(version).flat();
      for (let killed = 1; killed <= statements.length; killed++) {
        const dying = open();
        take(dying, statements.slice(0, killed));
        // Closing drops whatever is not committed, like a kill.
        dying.close();
      }
      const store = await openUntilEnd(t, file);
      const { ids } = await readFeed(store);
      assert.deepEqual(ids, version > 0 ? ['jti'] : []);
      assert.deepEqual(await store.findClient('client'), version > 0 ? clientRecord() : undefined);
      changeByHand(file, "UPDATE clients SET record = 'no JSON' WHERE client_id = 'client'");
      assert.equal((await store.findClient('client'))?.name, version > 0 ? 'a key' : undefined, 'it has a revision');
      await store.revoke([revocationRecord('token', 'later')]);
      assert.deepEqual((await readFeed(store)).ids, [...ids, 'later']);
    });
  }

  test('a file that is not a database is refused with a sentence that names it', async (t) => {
    const file = await tampered(t, () => undefined);
    writeFileSync(file, 'This is a text, and a text is no database. '.repeat(100));
    await assertUnusable(file, /hallpass\.db/);
  });

  test('processes that open a new store at once share one store', { timeout: 120_000 }, async (t) => {
    for (let round = 0; round < 5; round++) {
      const file = freshFile(t);
      const stores = await Promise.all(Array.from({ length: 6 }, () => openUntilEnd(t, file)));
      await Promise.all(stores.map((store, at) => store.revoke([revocationRecord('token', `jti-${at}`)])));
      for (const store of stores) assert.equal((await readFeed(store)).ids.length, stores.length);
    }
  });

  test(
    'a write waits for another process that is writing, and is invisible until then',
    { timeout: 120_000 },
    async (t) => {
      const file = freshFile(t);
      const store = await openUntilEnd(t, file);
      const release = await lockFromOutside(t, file);
      const written = store.revoke([revocationRecord('token', 'jti')]);
      // Reads do not wait for the lock.
      for (let look = 0; look < 50; look++) assert.deepEqual((await readFeed(store)).ids, []);
      await release();
      await written;
      assert.deepEqual((await readFeed(store)).ids, ['jti']);
    },
  );

  test('a write that fails does not fail the others in its commit', async (t) => {
    const store = await openUntilEnd(t, freshFile(t));
    const origin = 'https://app.example.com';
    const event = eventRecord('made');
    const outcomes = await Promise.allSettled([
      store.revoke([revocationRecord('token', 'before')]),
      store.saveClient(clientRecord({ origins: [origin, origin] }), { event }),
      store.revoke([revocationRecord('token', 'after')]),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.ok(outcomes[1]?.status === 'rejected' && outcomes[1].reason instanceof StoreUnavailable);
    assert.deepEqual((await readFeed(store)).ids, ['before', 'after']);
    assert.equal(await store.findClient('client'), undefined);
    assert.equal(await store.isOriginListed(origin), false);
    assert.deepEqual(await store.listEvents({ limit: 1 }), []);
  });

  test(
    'on a full disk writes reject, reads go on, and nothing acknowledged is lost',
    {
      skip: process.platform === 'win32',
      timeout: 60_000,
    },
    async (t) => {
      const file = freshFile(t);
      const { acknowledged, refused, readable } = await fillDisk(file);
      assert.equal(refused, 'StoreUnavailable');
      assert.equal(readable, true);
      assert.ok(acknowledged.length > 0);
      const store = await openUntilEnd(t, file);
      const kept = new Set((await readFeed(store, { limit: 1_000 })).ids);
      assert.deepEqual(
        acknowledged.filter((id) => !kept.has(id)),
        [],
      );
      await store.revoke([revocationRecord('token', 'with room again')]);
    },
  );
});

/** Takes the write lock in another process. Resolves with the function that releases it. */
async function lockFromOutside(t: TestContext, file: string): Promise<() => Promise<void>> {
  const program = `
    const database = new (require('node:sqlite').DatabaseSync)(process.argv[1]);
    database.exec('BEGIN IMMEDIATE');
    process.stdin.once('data', () => { database.exec('COMMIT'); database.close(); process.exit(); });
    console.log('locked');
  `;
  const child = spawn(process.execPath, ['-e', program, file], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return async () => {
    const ended = once(child, 'exit');
    child.stdin.write('release\n');
    await ended;
  };
}

interface Filled {
  readonly acknowledged: readonly string[];
  readonly refused: string;
  readonly readable: boolean;
}

/** Writes in a process with a file size limit, which acts like a full disk, until a write rejects. */
async function fillDisk(file: string): Promise<Filled> {
  const program = fileURLToPath(new URL('fill_disk.ts', import.meta.url));
  const limited = 'ulimit -f 1024 && exec "$@"';
  const node = [process.execPath, '--conditions=hallpass-source', program, file];
  const child = spawn('sh', ['-c', limited, 'sh', ...node], { stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(child, 'close');
  const printed: Filled = JSON.parse(Buffer.concat(chunks).toString());
  return printed;
}
