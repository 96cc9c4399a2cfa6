/** `hallpass store backup`, `restore` and `verify`, next to a running server (contract: acknowledged means durable). */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { listIssuerKeys, removeIssuerKey } from '../../src/operator/issuer_keys.ts';
import { openInstance } from '../../src/serving/instance.ts';
import { readSettings } from '../../src/serving/settings/settings.ts';
import { systemClock, systemRandom } from '../../src/serving/system.ts';
import { restoreBackup, verifyBackup, writeBackup } from '../../src/store/transfer/backup.ts';
import { MIGRATIONS } from '../../src/store/migrations.ts';
import { openSqliteStore } from '../../src/store/sqlite/sqlite.ts';
import { openSqliteTables } from '../../src/store/sqlite/tables.ts';
import {
  makeFolder,
  makeStore,
  serve,
  type Done,
  type Environment,
  type Running,
} from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { basicOf, until, type Key } from '../../../../testing/server/server.ts';
import {
  clientRecord,
  eventRecord,
  NOW,
  revocationBefore,
  revocationRecord,
} from '../../../../testing/store_contract/records.ts';

const USES = ['sign', 'refresh_mac', 'secret_mac', 'access_seal'] as const;
const ISSUER = { HALLPASS_ISSUER: 'http://localhost:8080' };
const FORM = 'application/x-www-form-urlencoded';

type Document = Readonly<Record<string, unknown>>;

async function post(at: Running, path: string, key: Key, form: Readonly<Record<string, string>>): Promise<Document> {
  const answer = await fetch(at.url + path, {
    method: 'POST',
    headers: { authorization: basicOf(key), 'content-type': FORM },
    body: new URLSearchParams(form),
  });
  const body: Document = await answer.json();
  return { status: answer.status, ...body };
}

const issue = (at: Running, key: Key): Promise<Document> =>
  post(at, '/oauth2/token', key, { grant_type: 'client_credentials', scope: '/accounts.write' });
const refresh = (at: Running, key: Key, token: unknown): Promise<Document> =>
  post(at, '/oauth2/token', key, { grant_type: 'refresh_token', refresh_token: String(token) });
const isActive = async (at: Running, key: Key, token: unknown): Promise<unknown> =>
  (await post(at, '/oauth2/introspect', key, { token: String(token) }))['active'];

function parse({ code, stdout, stderr }: Done): Document {
  assert.equal(code, 0, stderr);
  const document: Document = JSON.parse(stdout);
  return document;
}

async function makeKey(on: Environment): Promise<Key> {
  const made = parse(await runCommand(['keys', 'create', 'partner', '--scope', '/accounts.write', '--json'], on));
  return { clientId: String(made['client_id']), clientSecret: String(made['client_secret']) };
}

/** The settings of a second store under the same master key. */
function elsewhere(t: TestContext, on: Environment): Environment {
  const masterKey = readFileSync(join(on['HALLPASS_DATA_DIR'] ?? '', 'master.key'), 'utf8').trim();
  return { ...on, HALLPASS_DATA_DIR: makeFolder(t), HALLPASS_MASTER_KEY: masterKey };
}

async function* asLines(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

suite('a backup', () => {
  test('taken under load holds everything revoked before it began, and the restored store works', async (t) => {
    const at = await serve(t, ISSUER);
    const key = await makeKey(at.environment);
    const kept = await issue(at, key);
    const rotated = await refresh(at, key, (await issue(at, key))['refresh_token']);
    const file = join(makeFolder(t), 'backup');

    const revoked: unknown[] = [];
    const done = new AbortController();
    const load = Array.from({ length: 8 }, async () => {
      while (!done.signal.aborted) {
        const { access_token: token, refresh_token: next } = await issue(at, key);
        await refresh(at, key, next);
        await post(at, '/oauth2/revoke', key, { token: String(token) });
        revoked.push(token);
      }
    });
    await until(async () => revoked.length >= 20, 5_000);
    const before = revoked.length;
    const backup = parse(await runCommand(['store', 'backup', file, '--json'], at.environment));
    const restoredOn = elsewhere(t, at.environment);
    done.abort();
    await Promise.all(load);
    assert.equal(backup['file'], file);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const text = readFileSync(file, 'utf8');
    for (const secret of [key.clientSecret, String(kept['access_token']), String(kept['refresh_token'])]) {
      assert.ok(!text.includes(secret), 'it holds no secret and no token');
    }

    const dry = parse(await runCommand(['store', 'restore', file, '--dry-run', '--json'], restoredOn));
    assert.deepEqual([dry['restored'], dry['rows']], [false, backup['rows']]);
    assert.equal(existsSync(join(restoredOn['HALLPASS_DATA_DIR'] ?? '', 'hallpass.db')), false, 'nothing was made');
    assert.equal(parse(await runCommand(['store', 'restore', file, '--json'], restoredOn))['rows'], backup['rows']);
    const again = await runCommand(['store', 'restore', file], restoredOn);
    assert.equal(again.code, 2);
    assert.match(again.stderr, /replaces 2 API keys and .*--yes/);

    const restored = await serve(t, { ...ISSUER, ...restoredOn });
    assert.equal(await isActive(restored, key, kept['access_token']), true);
    assert.equal((await refresh(restored, key, rotated['refresh_token']))['status'], 200);
    // Whatever was acknowledged when the backup began has to be in it.
    for (const token of revoked.slice(0, before)) assert.equal(await isActive(restored, key, token), false);
    const feedOf = async (server: Running): Promise<string> => {
      const api = parse(
        await runCommand(
          ['keys', 'create', 'api', '--resource-server', ISSUER.HALLPASS_ISSUER, '--json'],
          server.environment,
        ),
      );
      const reader = { clientId: String(api['client_id']), clientSecret: String(api['client_secret']) };
      const answer = await fetch(`${server.url}/oauth2/revocations?after=`, {
        headers: { authorization: basicOf(reader) },
      });
      const { cursor }: { readonly cursor: string } = await answer.json();
      return cursor.split('-')[0] ?? '';
    };
    assert.notEqual(await feedOf(restored), await feedOf(at), 'guards that have read further start over');
  });

  test('holds what is revoked while it is written, and a restored store knows it', async (t) => {
    const [file, copy] = [join(makeFolder(t), 'hallpass.db'), join(makeFolder(t), 'hallpass.db')];
    const store = await openSqliteStore({ file });
    await store.saveClient(clientRecord(), { event: eventRecord('made') });
    await store.revoke([revocationBefore('client', NOW)]);
    const tables = openSqliteTables({ file });
    const lines: string[] = [];
    await writeBackup(tables, {
      schema: MIGRATIONS.length,
      madeAt: 'now',
      progress: () => undefined,
      write: async (line) => {
        lines.push(line.trimEnd());
        // By the time the first client is written, the snapshot is in the past.
        if (!line.startsWith('["clients"')) return;
        await store.revoke([revocationRecord('token', `late ${lines.length}`)]);
        // Moves an entry that is already in the copy: the client gets a second line.
        await store.revoke([revocationBefore('client', NOW + lines.length)]);
      },
    });
    await tables.close();
    const { cursor } = await store.readRevocations({ limit: 10, now: NOW });
    await store.close();

    await verifyBackup(asLines(lines), MIGRATIONS.length);
    await (await openSqliteStore({ file: copy })).close();
    const target = openSqliteTables({ file: copy });
    await restoreBackup(asLines(lines), { to: target, feedId: 'restored', progress: () => undefined });
    await target.close();
    const restored = await openSqliteStore({ file: copy });
    const page = await restored.readRevocations({ limit: 10, now: NOW, after: cursor });
    assert.deepEqual(
      page.entries.map(({ id }) => id.split(' ')[0]),
      ['late', 'late', 'client'],
      'all of them, even for a reader with a cursor of the original store',
    );
    assert.match(page.cursor, /^restored-5-/);
    await restored.close();
  });

  test('whose restore fails halfway leaves the store empty, and can be restored again', async (t) => {
    const from = join(makeFolder(t), 'from.db');
    const store = await openSqliteStore({ file: from });
    await store.saveClient(clientRecord(), { event: eventRecord('made') });
    // More than one page.
    const many = 1_500;
    await store.revoke(Array.from({ length: many }, (_, at) => revocationRecord('token', `dead ${at}`)));
    await store.close();
    const lines: string[] = [];
    const source = openSqliteTables({ file: from });
    const write = async (line: string): Promise<void> => void lines.push(line.trimEnd());
    await writeBackup(source, { write, schema: MIGRATIONS.length, madeAt: 'now', progress: () => undefined });
    await source.close();

    const copy = join(makeFolder(t), 'copy.db');
    await (await openSqliteStore({ file: copy })).close();
    const half = async function* (): AsyncGenerator<string> {
      for (const line of lines.slice(0, -2)) yield line;
      throw new Error('the file could not be read on');
    };
    const target = openSqliteTables({ file: copy });
    const restore = (of: AsyncIterable<string>): Promise<number> =>
      restoreBackup(of, { to: target, feedId: 'restored', progress: () => undefined });
    await assert.rejects(restore(half()), /read on/);
    const count = async (table: string): Promise<unknown> =>
      (await target.snapshot((sql) => sql.all(`SELECT count(*) AS rows FROM ${table}`)))[0]?.['rows'];
    assert.deepEqual(
      [await count('revocations'), await count('clients')],
      [0, 1],
      'the placeholder row that every store has',
    );
    assert.ok((await restore(asLines(lines))) > many);
    assert.deepEqual([await count('revocations'), await count('clients')], [many, 2]);
    await target.close();
  });

  test('that is damaged, cut, longer, another kind of file or from a newer version is refused as a whole', async (t) => {
    const on = await makeStore(t, ISSUER);
    await makeKey(on);
    const file = join(makeFolder(t), 'backup');
    parse(await runCommand(['store', 'backup', file, '--json'], on));
    const text = readFileSync(file, 'utf8');
    const whole = await verifyBackup(asLines(text.trimEnd().split('\n')), MIGRATIONS.length);
    assert.equal(whole.byTable.get('clients'), 2);

    const lines = text.split('\n');
    const cut = lines.slice(0, -2).join('\n');
    for (const [damaged, sentence] of [
      [text.replace('partner', 'partnez'), /checksum/],
      [cut, /has no end/],
      [[...lines.slice(0, 2), ...lines.slice(3)].join('\n'), /checksum/],
      [`${text}${lines[1] ?? ''}\n`, /goes on after its end/],
      [text.replace('"schema":', '"schema":99'), /newer Hallpass/],
      ['{"a":1}\n', /not a backup of a Hallpass store/],
      ['not json\n', /not a backup of a Hallpass store/],
      [`${lines[0] ?? ''}\nnot json\n`, /damaged: a line is not JSON/],
    ] as const) {
      const verified = verifyBackup(asLines(damaged.trimEnd().split('\n')), MIGRATIONS.length);
      await assert.rejects(verified, { name: 'TransferRefusal', message: sentence });
    }
    await assert.rejects(verifyBackup(asLines([]), MIGRATIONS.length), /has no end/);

    // The commands check the whole file before they touch the store.
    const bad = `${file}.cut`;
    writeFileSync(bad, cut);
    const target = { ...on, HALLPASS_DATA_DIR: makeFolder(t) };
    for (const verb of ['verify', 'restore']) {
      const { code, stderr } = await runCommand(['store', verb, bad], target);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /has no end/);
    }
    assert.equal(existsSync(join(target.HALLPASS_DATA_DIR, 'hallpass.db')), false);
    assert.match((await runCommand(['store', 'verify', file], on)).stdout, /Whole.*backup of/);
    const over = await runCommand(['store', 'backup', file], on);
    assert.equal(over.code, 1);
    assert.match(over.stderr, /already/);
    assert.equal(readFileSync(file, 'utf8'), text, 'the existing file is untouched');
  });

  test('has the same counts and checksums as its store', async (t) => {
    const on = await makeStore(t, ISSUER);
    await makeKey(on);
    const file = join(makeFolder(t), 'backup');
    await runCommand(['store', 'backup', file], on);
    const other = elsewhere(t, on);
    await runCommand(['store', 'restore', file], other);
    const [ours, theirs] = [
      await runCommand(['store', 'verify', '--json'], on),
      await runCommand(['store', 'verify', '--json'], other),
    ];
    const tables = (done: Done): readonly Document[] => {
      const {
        whole,
        faults,
        tables: all,
      }: { whole: boolean; faults: string[]; tables: Document[] } = JSON.parse(done.stdout);
      assert.deepEqual([whole, faults], [true, []]);
      return all.filter(({ table }) => table !== 'feed');
    };
    assert.deepEqual(tables(ours), tables(theirs));
    assert.ok(tables(ours).some(({ table, rows }) => table === 'clients' && rows === 2));
  });

  test('restored over a store in use, it replaces the API keys, and whatever that store revoked stays revoked', async (t) => {
    const on = await makeStore(t, ISSUER);
    const kept = await makeKey(on);
    const file = join(makeFolder(t), 'backup');
    parse(await runCommand(['store', 'backup', file, '--json'], on));
    const at = await serve(t, on);
    const [dead, alive] = [await issue(at, kept), await issue(at, kept)];
    await post(at, '/oauth2/revoke', kept, { token: String(dead['access_token']) });
    const newer = await makeKey(on);
    assert.equal((await runCommand(['keys', 'revoke-tokens', newer.clientId], on)).code, 0);
    assert.equal((await refresh(at, newer, (await issue(at, newer))['refresh_token']))['status'], 200);

    const dry = parse(await runCommand(['store', 'restore', file, '--dry-run', '--json'], on));
    assert.deepEqual(dry['replaced'], { api_keys: 2, refreshed_grants: 1 });
    const unasked = await runCommand(['store', 'restore', file], on);
    assert.equal(unasked.code, 2);
    assert.match(
      unasked.stderr,
      /In the store .* replaces 2 API keys and 1 refreshed grant with a backup of .* repeat it with --yes/,
    );
    assert.equal((await issue(at, newer))['status'], 200, 'nothing was changed');

    assert.equal(parse(await runCommand(['store', 'restore', file, '--yes', '--json'], on))['restored'], true);
    await until(async () => (await issue(at, newer))['status'] === 401, 5_000);
    assert.equal(await isActive(at, kept, dead['access_token']), false, 'revoked after the backup');
    assert.equal(await isActive(at, kept, alive['access_token']), true);
    assert.equal((await issue(at, kept))['status'], 200, 'the running server carries on');
    const events: readonly Document[] = JSON.parse((await runCommand(['events', '--json'], on)).stdout);
    assert.equal(events[0]?.['kind'], 'store_restored');
    const store = await openSqliteStore({ file: join(on.HALLPASS_DATA_DIR, 'hallpass.db') });
    const { entries } = await store.readRevocations({ limit: 10, now: NOW });
    assert.deepEqual(entries.map(({ kind }) => kind).toSorted(), ['client', 'token'], 'guards hear about both');
    await store.close();
  });

  test('restored over a store in use, it makes no retired refresh token valid again', async (t) => {
    const on = await makeStore(t, ISSUER);
    const key = await makeKey(on);
    const at = await serve(t, on);
    const before = await issue(at, key);
    const first = await refresh(at, key, before['refresh_token']);
    const file = join(makeFolder(t), 'backup');
    parse(await runCommand(['store', 'backup', file, '--json'], on));
    const second = await refresh(at, key, first['refresh_token']);
    const third = await refresh(at, key, second['refresh_token']);
    const since = await issue(at, key);
    const sinceFirst = await refresh(at, key, since['refresh_token']);
    const sinceSecond = await refresh(at, key, sinceFirst['refresh_token']);
    const sinceThird = await refresh(at, key, sinceSecond['refresh_token']);

    assert.equal(parse(await runCommand(['store', 'restore', file, '--yes', '--json'], on))['restored'], true);
    // The newest token of a grant still works, whether the backup knows the grant or not.
    assert.equal((await refresh(at, key, third['refresh_token']))['status'], 200);
    assert.equal((await refresh(at, key, sinceThird['refresh_token']))['status'], 200);
    for (const retired of [first, since]) {
      assert.equal((await refresh(at, key, retired['refresh_token']))['status'], 400);
    }
  });

  test('restored over a store in use, it brings back no issuer key that was removed', async (t) => {
    const on = await makeStore(t, ISSUER);
    await makeKey(on);
    const file = join(makeFolder(t), 'backup');
    parse(await runCommand(['store', 'backup', file, '--json'], on));
    const open = async () => await openInstance(readSettings(on), { clock: systemClock, random: systemRandom });
    const before = await open();
    const removed = new Set<string>();
    for (const use of USES) {
      const [{ keyId } = { keyId: '' }] = await listIssuerKeys(before, use);
      await removeIssuerKey(before, use, keyId);
      removed.add(keyId);
    }
    await before.store.close();
    assert.equal(removed.size, USES.length);
    assert.equal(parse(await runCommand(['store', 'restore', file, '--yes', '--json'], on))['restored'], true);
    const after = await open();
    t.after(() => after.store.close());
    for (const use of USES) {
      const left = await listIssuerKeys(after, use);
      assert.ok(left.length > 0, use);
      assert.ok(!left.some(({ keyId }) => removed.has(keyId)), use);
    }
  });
});
