/** A command that meets a broken store says in a sentence what to do, and never prints a stack. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test, type TestContext } from 'node:test';
import { openSqliteStore } from '../../src/store/sqlite/sqlite.ts';
import { makeFolder, type Done, type Environment } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { clientRecord, eventRecord, NOW, revocationRecord } from '../../../../testing/store_contract/records.ts';

const PAGE_BYTES = 4_096;
const REVOKED = Array.from({ length: 400 }, (_, at) => `jti-of-a-revoked-token-${at}`);

/** A folder with a closed store that holds some rows. */
async function makeStore(t: TestContext): Promise<string> {
  const folder = makeFolder(t);
  const store = await openSqliteStore({ file: join(folder, 'hallpass.db') });
  await store.revoke(REVOKED.map((jti) => revocationRecord('token', jti)));
  for (let at = 0; at < 20; at++) {
    await store.saveClient(clientRecord({ clientId: `client-${at}` }), { event: eventRecord('made') });
  }
  await store.close();
  return folder;
}

const MASTER_KEY = randomBytes(32).toString('base64url');

function settingsOf(folder: string): Environment {
  return { HALLPASS_DATA_DIR: folder, HALLPASS_ISSUER: 'http://localhost:8080', HALLPASS_MASTER_KEY: MASTER_KEY };
}

function rootPageOf(file: string, name: string): number {
  const database = new DatabaseSync(file, { readOnly: true });
  const row = database.prepare('SELECT rootpage FROM sqlite_schema WHERE name = ?').get(name);
  database.close();
  return Number(row?.['rootpage']);
}

function overwrite(file: string, from: number, bytes: Uint8Array): void {
  const all = readFileSync(file);
  all.set(bytes, from);
  writeFileSync(file, all);
}

const DAMAGED = /The store is damaged.*restore the newest backup/s;

/** Ways to break a store, and what each command that reads it must say. */
const BROKEN: Readonly<Record<string, { readonly how: (file: string) => void; readonly says: RegExp }>> = {
  'with a broken page': {
    how: (file) =>
      overwrite(file, (rootPageOf(file, 'revocations') - 1) * PAGE_BYTES, new Uint8Array(PAGE_BYTES).fill(0xff)),
    says: DAMAGED,
  },
  'with a broken page of the schema': {
    how: (file) => overwrite(file, 100, new Uint8Array(64).fill(0xff)),
    says: DAMAGED,
  },
  'that was cut short': { how: (file) => truncateSync(file, 5 * PAGE_BYTES), says: DAMAGED },
  'full of zeros': { how: (file) => overwrite(file, 0, new Uint8Array(readFileSync(file).length)), says: DAMAGED },
  'that is no database': { how: (file) => writeFileSync(file, 'a shopping list\n'.repeat(100)), says: DAMAGED },
  'of no bytes': { how: (file) => truncateSync(file, 0), says: /The store is empty: .*restore the newest backup/ },
  'that is a folder': {
    how: (file) => {
      rmSync(file);
      mkdirSync(file);
    },
    says: /The store is not a file: .*Is HALLPASS_DATA_DIR right\?/,
  },
  'that is not there': { how: (file) => rmSync(file), says: /There is no store here: .*set HALLPASS_DATA_DIR/ },
};

function assertExplained({ code, stderr }: Done, says: RegExp): void {
  assert.ok(code === 1 || code === 2, String(code));
  assert.match(stderr, says);
  assert.doesNotMatch(stderr, /\n\s+at |Try again|ERR_/);
}

suite('a store', () => {
  for (const [name, { how, says }] of Object.entries(BROKEN)) {
    test(`${name}: verify says so and makes no store`, async (t) => {
      const folder = await makeStore(t);
      const file = join(folder, 'hallpass.db');
      how(file);
      assertExplained(await runCommand(['store', 'verify'], settingsOf(folder)), says);
      assert.equal(existsSync(file), name !== 'that is not there');
    });
  }

  for (const name of ['with a broken page', 'that was cut short', 'of no bytes', 'that is not there']) {
    test(`${name}: backup says so and leaves no file that looks whole`, async (t) => {
      const { how, says } = BROKEN[name] ?? {};
      assert.ok(how !== undefined && says !== undefined);
      const folder = await makeStore(t);
      how(join(folder, 'hallpass.db'));
      const backups = makeFolder(t);
      assertExplained(await runCommand(['store', 'backup', join(backups, 'backup')], settingsOf(folder)), says);
      assert.deepEqual(readdirSync(backups), []);
    });
  }

  test('with broken pages: copy, keys list, events and rewrap say so as well', async (t) => {
    const folder = await makeStore(t);
    const file = join(folder, 'hallpass.db');
    for (const table of ['clients', 'events', 'keys', 'revocations']) {
      overwrite(file, (rootPageOf(file, table) - 1) * PAGE_BYTES, new Uint8Array(PAGE_BYTES).fill(0xff));
    }
    const nowhere = 'postgres://nobody@127.0.0.1:1/none';
    const ran = await Promise.all(
      [['keys', 'list'], ['events'], ['master-key', 'rewrap'], ['store', 'copy', '--to', nowhere]].map((words) =>
        runCommand(words, settingsOf(folder)),
      ),
    );
    for (const done of ran.slice(0, 3)) assertExplained(done, DAMAGED);
    assert.doesNotMatch(ran[3]?.stderr ?? '', /\n\s+at /);
  });

  test('with one flipped bit in an index, which makes a revoked token valid again: verify finds it, and counts the sound tables', async (t) => {
    const folder = await makeStore(t);
    const file = join(folder, 'hallpass.db');
    assert.equal((await runCommand(['store', 'verify'], settingsOf(folder))).code, 0);
    const whole = makeFolder(t);
    cpSync(file, join(whole, 'hallpass.db'));
    const bytes = readFileSync(file);
    // The text is in the table, and once more in the index by which tokens are looked up.
    const jti = REVOKED[7] ?? '';
    const places = [...bytes.toString('latin1').matchAll(new RegExp(`${jti}(?=token|[^0-9])`, 'g'))].map(
      ({ index }) => index,
    );
    const revived = await findRevived(file, places, jti);
    assert.ok(revived !== undefined, 'no flip made it valid again');
    const verified = await runCommand(['store', 'verify', '--json'], settingsOf(folder));
    assert.equal(verified.code, 1, verified.stderr);
    const found: { readonly whole: boolean; readonly faults: readonly string[]; readonly tables: readonly unknown[] } =
      JSON.parse(verified.stdout);
    assert.equal(found.whole, false);
    assert.ok(
      found.faults.some((fault) => fault.includes('revocations')),
      found.faults.join(),
    );
    assert.ok(found.tables.length > 5, 'the counts of the readable tables');
    assert.match(verified.stderr, DAMAGED);
  });
});

/** Flips one bit at each of these places in turn, until the token is valid again, and leaves the file like that. */
async function findRevived(file: string, places: readonly number[], jti: string): Promise<number | undefined> {
  const whole = readFileSync(file);
  for (const place of places) {
    const flipped = Buffer.from(whole);
    flipped[place] = (flipped[place] ?? 0) ^ 1;
    writeFileSync(file, flipped);
    const store = await openSqliteStore({ file });
    const isRevoked = await store.isRevoked({ jti, grantId: 'g', clientId: 'c', issuedAt: NOW });
    await store.close();
    if (!isRevoked) return place;
  }
  return undefined;
}
