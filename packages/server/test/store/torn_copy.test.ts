/** Copies of the files of a store in use (ADR 34): one whose files are from different moments is not opened. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test, type TestContext } from 'node:test';
import { openSqliteStore } from '../../src/store/sqlite/sqlite.ts';
import { StoreUnusable, type Store } from '../../src/store/store.ts';
import { NOW, revocationRecord } from '../../../../testing/store_contract/records.ts';

/** Requests of 256 revocations each: more than enough for the log to be checkpointed and begun anew. */
const REQUESTS = 160;
/** How many of them share a commit. */
const AT_ONCE = 20;

/** Scattered over the pages of an index. */
function idOf(at: number): string {
  return `${Math.imul(at, 2_654_435_761)}-${at}`;
}

interface Rig {
  readonly folder: string;
  readonly file: string;
  readonly store: Store;
  /** What was acknowledged, in order. */
  readonly revoked: string[];
  readonly revokeMany: (requests: number) => Promise<void>;
}

async function startRig(t: TestContext): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-torn-'));
  const file = join(folder, 'hallpass.db');
  const store = await openSqliteStore({ file });
  t.after(async () => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const revoked: string[] = [];
  const revokeMany = async (requests: number): Promise<void> => {
    for (let left = requests; left > 0; left -= AT_ONCE) {
      const ids = Array.from({ length: Math.min(left, AT_ONCE) * 256 }, (_, at) => idOf(revoked.length + at));
      const batches = Array.from({ length: ids.length / 256 }, (_, at) => ids.slice(at * 256, (at + 1) * 256));
      await Promise.all(batches.map((batch) => store.revoke(batch.map((id) => revocationRecord('token', id)))));
      revoked.push(...ids);
    }
  };
  return { folder, file, store, revoked, revokeMany };
}

/** By another process: to close a file of a database would drop the locks that this one has on it. */
function copyFile(from: string, to: string): void {
  const done = spawnSync(process.execPath, ['-e', 'fs.copyFileSync(process.argv[1], process.argv[2])', from, to]);
  assert.equal(done.status, 0, done.stderr.toString());
}

/** Why a copy is refused; undefined when it is opened. Then everything has to be revoked in it that was before it was begun. */
async function judge(copy: string, revoked: readonly string[]): Promise<string | undefined> {
  let store: Store;
  try {
    store = await openSqliteStore({ file: copy });
  } catch (error) {
    assert.ok(error instanceof StoreUnusable);
    return error.message;
  }
  let alive = 0;
  for (const jti of revoked) {
    if (!(await store.isRevoked({ jti, grantId: 'g', clientId: 'c', issuedAt: NOW }))) alive += 1;
  }
  await store.close();
  assert.equal(alive, 0, `${alive} of ${revoked.length} revoked tokens are good again`);
  return undefined;
}

suite('a copy of the files of a store in use', () => {
  test('the database seconds before its log, or after it, or alone: refused, whatever was written between', async (t) => {
    const { folder, file, revoked, revokeMany } = await startRig(t);
    await revokeMany(REQUESTS);
    for (const [name, order] of [
      ['database first', ['', '-wal']],
      ['log first', ['-wal', '']],
      ['database alone', ['']],
    ] as const) {
      const copy = join(folder, `${name}.db`);
      const before = [...revoked];
      for (const [at, suffix] of order.entries()) {
        if (at > 0) await revokeMany(REQUESTS);
        copyFile(file + suffix, copy + suffix);
      }
      // A refusal must leave nothing behind that lets the next start in.
      for (let start = 0; start < 2; start++) {
        const refused = (await judge(copy, before)) ?? 'it was opened';
        assert.match(refused, /^The store is a torn copy: .*hallpass store backup/, name);
      }
    }
  });

  test('one after the other while it is written: refused, or nothing that was revoked is good again', async (t) => {
    const { folder, file, revoked, revokeMany } = await startRig(t);
    await revokeMany(REQUESTS);
    const done = new AbortController();
    const load = (async () => {
      while (!done.signal.aborted) await revokeMany(1);
    })();
    for (let round = 0; round < 12; round++) {
      const copy = join(folder, `copy-${round}.db`);
      const before = revoked.slice(-5_000);
      for (const suffix of ['', '-wal']) {
        await revokeMany(1);
        copyFile(file + suffix, copy + suffix);
      }
      await judge(copy, before);
    }
    done.abort();
    await load;
  });

  test('a whole one is opened: of both files at one moment, of a store that was closed, and one that SQLite made', async (t) => {
    const { folder, file, store, revoked, revokeMany } = await startRig(t);
    await revokeMany(REQUESTS);
    // The log may be carried over behind the last answer, and between the two copies.
    const momentOf = (): string =>
      ['', '-wal'].map((suffix) => statSync(file + suffix, { bigint: true }).mtimeNs).join();
    for (let moment = ''; moment !== momentOf();) {
      moment = momentOf();
      for (const suffix of ['', '-wal']) copyFile(file + suffix, join(folder, `still.db${suffix}`));
    }
    assert.equal(await judge(join(folder, 'still.db'), revoked), undefined);
    const other = new DatabaseSync(file, { timeout: 5_000 });
    other.prepare('VACUUM INTO ?').run(join(folder, 'vacuumed.db'));
    other.close();
    assert.equal(await judge(join(folder, 'vacuumed.db'), revoked), undefined);
    await store.close();
    assert.equal(existsSync(`${file}-wal`), false);
    copyFile(file, join(folder, 'closed.db'));
    assert.equal(await judge(join(folder, 'closed.db'), revoked), undefined);
    assert.equal(await judge(join(folder, 'closed.db'), revoked), undefined, 'and again');
  });
});
