/** `hallpass store verify` on the embedded engine finds every flipped bit that changes an answer (ADR 35). */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test, type TestContext } from 'node:test';
import { chanceOf } from '../../../../testing/chance.ts';
import { checkStore } from '../../src/store/verify/verify.ts';
import { ParsedClients } from '../../src/store/parsed_clients.ts';
import type { Sql } from '../../src/store/sql.ts';
import { openSqliteStore } from '../../src/store/sqlite/sqlite.ts';
import { openSqliteCheck } from '../../src/store/sqlite/check.ts';
import { sqlOf } from '../../src/store/sqlite/connection.ts';
import type { KeyRecord } from '../../src/store/store.ts';
import * as verbs from '../../src/store/verbs/verbs.ts';
import {
  clientRecord,
  eventRecord,
  keyRecord,
  NOW,
  revocationBefore,
  revocationRecord,
  rotationRecord,
} from '../../../../testing/store_contract/records.ts';

/** How many bits are flipped; for a long run, set FLIPS=10000. */
const FLIPS = Number(process.env['FLIPS'] ?? 120);
const COUNT = 60;
const WRAPPED = 'v1.wrapped-as-it-was-made';
const numbers = Array.from({ length: COUNT }, (_, at) => at);

/** The file of a closed store that holds some of everything that decides an answer. */
async function makeStore(t: TestContext): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-verify-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'hallpass.db');
  const store = await openSqliteStore({ file });
  const event = eventRecord('made');
  await Promise.all([
    ...numbers.map((at) => store.revoke([revocationRecord('token', `jti-${at}`)])),
    ...numbers.map((at) => store.rotate(rotationRecord({ grantId: `grant-${at}`, clientId: `client-${at % 20}` }))),
    ...numbers.map((at) => store.useOnce([{ space: 'proof', id: `mark-${at}`, expiresAt: NOW + 100 }])),
    ...numbers.slice(0, 20).map((at) => {
      const client = clientRecord({ clientId: `client-${at}`, origins: [`https://${at}.example.com`] });
      return store.saveClient(client, { event });
    }),
    store.revoke([revocationBefore('client-3', NOW)]),
    store.addKey(keyRecord({ wrapped: WRAPPED }), -1),
    store.saveTime({ now: NOW * 1000, trusted: NOW * 1000, settled: false }),
  ]);
  await store.close();
  return file;
}

/** Every answer that the rows decide; `failed` for one that throws. */
async function answersOf(file: string): Promise<readonly string[]> {
  const answers: string[] = [];
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    const sql = sqlOf(database, () => 0);
    const ask = async (answer: (sql: Sql) => Promise<unknown>): Promise<void> => {
      answers.push(await answer(sql).then(JSON.stringify, () => 'failed'));
    };
    for (const at of numbers) {
      const subject = { jti: `jti-${at}`, grantId: `grant-${at}`, clientId: `client-${at}`, issuedAt: NOW };
      await ask((on) => verbs.isRevoked(on, subject));
      await ask((on) => verbs.findFamily(on, `grant-${at}`));
      await ask((on) => verbs.findClient(on, `client-${at}`, new ParsedClients()));
      await ask((on) => verbs.findIssueNotBefore(on, `client-${at}`));
      await ask((on) => verbs.isOriginListed(on, `https://${at}.example.com`));
      await ask((on) => on.all('SELECT 1 AS used FROM used_once WHERE space = ? AND id = ?', 'proof', `mark-${at}`));
    }
    await ask(verbs.loadKeys);
    await ask((on) => verbs.readRevocations(on, { limit: 1_000, now: NOW }));
    await ask(verbs.findTime);
    // What would be forgotten at two moments.
    for (const [table, end] of [
      ['revocations', 'keep_until'],
      ['families', 'expires_at'],
      ['used_once', 'expires_at'],
    ]) {
      await ask((on) => on.all(`SELECT COUNT(*) AS ended FROM ${table} WHERE ${end} < ?`, NOW + 50));
      await ask((on) => on.all(`SELECT COUNT(*) AS ended FROM ${table} WHERE ${end} < ?`, NOW + 2_000));
    }
    return answers;
  } catch {
    return ['it does not open'];
  } finally {
    database?.close();
  }
}

/** The faults that a check finds. A store that cannot be opened has one. */
async function faultsOf(file: string): Promise<readonly string[]> {
  const openKey = ({ wrapped }: KeyRecord): void => {
    if (wrapped !== WRAPPED) throw new Error('The key was changed.');
  };
  try {
    const store = openSqliteCheck({ file });
    const { findings } = await checkStore(store, { openKey, progress: () => undefined });
    return findings.faults;
  } catch (error) {
    return [String(error)];
  }
}

suite('a bit flipped in the file of a store', () => {
  test('is found if it changes an answer', async (t) => {
    const file = await makeStore(t);
    const whole = readFileSync(file);
    const answers = await answersOf(file);
    assert.ok(!answers.includes('failed'));
    assert.deepEqual(await faultsOf(file), [], 'a sound store has no faults');
    const seed = Number(process.env['HALLPASS_TEST_SEED'] ?? 1);
    const chance = chanceOf(seed);
    let changed = 0;
    for (let flip = 0; flip < FLIPS; flip++) {
      const offset = Math.floor(chance.next() * whole.length);
      const bit = Math.floor(chance.next() * 8);
      const damaged = Buffer.from(whole);
      damaged[offset] = (damaged[offset] ?? 0) ^ (1 << bit);
      const copy = `${file}.copy`;
      writeFileSync(copy, damaged);
      const faults = await faultsOf(copy);
      const after = await answersOf(copy);
      const isSame = JSON.stringify(after) === JSON.stringify(answers);
      if (!isSame) changed += 1;
      const differs = after.findIndex((answer, at) => answer !== answers[at]);
      assert.ok(
        isSame || faults.length > 0,
        `seed ${seed}: bit ${bit} at ${offset} turns ${answers[differs]} into ${after[differs]}, and verify finds nothing`,
      );
      for (const suffix of ['', '-wal', '-shm']) rmSync(copy + suffix, { force: true });
    }
    t.diagnostic(`${changed} flips changed an answer`);
    assert.ok(changed > FLIPS / 20, `${changed} flips changed an answer`);
  });
});
