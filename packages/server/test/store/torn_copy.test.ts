/** A copy of the files of a store in use is not opened when the files are from different moments (ADR 34). */
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

/** Commits of 256 revocations: enough for the log to be checkpointed and restarted more than once. */
const COMMITS = 48;
const ROWS = 256;
/** How many of the revoked tokens are looked up in each copy, spread evenly. */
const SAMPLE = 1_500;

/** Ids that scatter over the pages of an index, so that each commit logs many pages. */
function idOf(at: number): string {
  return `${Math.imul(at, 2_654_435_761)}-${at}`;
}

interface Rig {
  readonly folder: string;
  readonly file: string;
  readonly store: Store;
  /** The acknowledged revocations, in order. */
  readonly revoked: string[];
  readonly revokeMany: (commits: number) => Promise<void>;
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
  const revokeMany = async (commits: number): Promise<void> => {
    for (let commit = 0; commit < commits; commit++) {
      const ids = Array.from({ length: ROWS }, (_, at) => idOf(revoked.length + at));
      await store.revoke(ids.map((id) => revocationRecord('token', id)));
      revoked.push(...ids);
    }
  };
  return { folder, file, store, revoked, revokeMany };
}

/** Copies in another process: closing a file of a database here would drop this process's locks on it. */
function copyFile(from: string, to: string): void {
  const done = spawnSync(process.execPath, ['-e', 'fs.copyFileSync(process.argv[1], process.argv[2])', from, to]);
  assert.equal(done.status, 0, done.stderr.toString());
}

/** Why a copy is refused; undefined when it opens. Then it has to hold everything revoked before the copy began. */
async function judge(copy: string, revoked: readonly string[]): Promise<string | undefined> {
  let store: Store;
  try {
    store = await openSqliteStore({ file: copy });
  } catch (error) {
    assert.ok(error instanceof StoreUnusable);
    return error.message;
  }
  let alive = 0;
  const step = Math.max(1, Math.floor(revoked.length / SAMPLE));
  for (const jti of revoked.filter((_, at) => at % step === 0)) {
    if (!(await store.isRevoked({ jti, grantId: 'g', clientId: 'c', issuedAt: NOW }))) alive += 1;
  }
  await store.close();
  assert.equal(alive, 0, `${alive} revoked tokens are valid again`);
  return undefined;
}

suite('a copy of the files of a store in use', () => {
  test('is refused when the database was copied before its log, after it, or alone', async (t) => {
    const { folder, file, revoked, revokeMany } = await startRig(t);
    await revokeMany(COMMITS);
    for (const [name, order] of [
      ['database first', ['', '-wal']],
      ['log first', ['-wal', '']],
      ['database alone', ['']],
    ] as const) {
      const copy = join(folder, `${name}.db`);
      const before = [...revoked];
      for (const [at, suffix] of order.entries()) {
        if (at > 0) await revokeMany(COMMITS);
        copyFile(file + suffix, copy + suffix);
      }
      // A refusal must leave nothing behind that would let the next start through.
      for (let start = 0; start < 2; start++) {
        const refused = (await judge(copy, before)) ?? 'it was opened';
        assert.match(refused, /^The store is a torn copy: .*hallpass store backup/, name);
      }
    }
  });

  test('taken file by file under load is refused, or holds everything revoked before it', async (t) => {
    const { folder, file, revoked, revokeMany } = await startRig(t);
    await revokeMany(COMMITS);
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

  test('is opened when it is whole: both files from one moment, a closed store, or a copy made by SQLite', async (t) => {
    const { folder, file, store, revoked, revokeMany } = await startRig(t);
    await revokeMany(COMMITS);
    // A checkpoint may run after the last answer, between the two copies; then copy again.
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
