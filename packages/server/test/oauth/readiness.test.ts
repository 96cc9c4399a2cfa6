/** Readiness (contract §10): 503 while writes fail, and what the log says of it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { READINESS_MS, READINESS_WRITE_MS_MAX } from '../../src/oauth/endpoints/readiness.ts';
import { openSqliteStore } from '../../src/store/sqlite/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { makeFolder, serve, type Running } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { basicOf, startHallpass, until, type Key } from '../../../../testing/server/server.ts';

const LOCAL = { HALLPASS_ISSUER: 'http://localhost:8080' };

async function statusOf(at: Running, path: string): Promise<number> {
  return (await fetch(at.url + path)).status;
}

const isReady = async (at: Running): Promise<boolean> => (await statusOf(at, '/health/ready')) === 200;

async function ask(at: Running, path: string, key: Key, form: Readonly<Record<string, string>>): Promise<Response> {
  const headers = { authorization: basicOf(key) };
  return await fetch(at.url + path, { method: 'POST', headers, body: new URLSearchParams(form) });
}

async function issue(at: Running, key: Key): Promise<string> {
  const answer = await ask(at, '/oauth2/token', key, { grant_type: 'client_credentials', scope: '/accounts.write' });
  const { access_token: token }: { readonly access_token: string } = await answer.json();
  return token;
}

const revoke = async (at: Running, key: Key, token: string): Promise<number> =>
  (await ask(at, '/oauth2/revoke', key, { token })).status;

async function makeKey(at: Running): Promise<Key> {
  const made = await runCommand(['keys', 'create', 'k', '--scope', '/accounts.write', '--json'], at.environment);
  const key: { readonly client_id: string; readonly client_secret: string } = JSON.parse(made.stdout);
  return { clientId: key.client_id, clientSecret: key.client_secret };
}

/** The lines of the log at the level of outages, and those that say that all is well again. */
function linesOf(at: Running): { readonly outages: readonly string[]; readonly ends: readonly string[] } {
  const messages = at
    .stderr()
    .split('\n')
    .flatMap((line) => {
      if (!line.startsWith('{')) return [];
      const { msg }: { readonly msg: string } = JSON.parse(line);
      return [msg];
    });
  const ends = messages.filter((message) => message.startsWith('The store works again'));
  return { outages: messages.filter((message) => !ends.includes(message)), ends };
}

test(
  'on a full disk: not ready, but live; one line for hundreds of refused writes, one at the end; and it recovers',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const at = await serve(t, LOCAL);
    const key = await makeKey(at);
    const tokens = await Promise.all(Array.from({ length: 100 }, () => issue(at, key)));
    assert.equal(await isReady(at), true);
    // No file of this process may be written at any place: to SQLite that is a full disk.
    const limit = (bytes: string): void => {
      for (const pid of pidsOf(at)) execFileSync('prlimit', ['--pid', pid, `--fsize=${bytes}:unlimited`]);
    };
    limit('0');
    const statuses = await Promise.all(tokens.flatMap((token) => [revoke(at, key, token), revoke(at, key, token)]));
    assert.deepEqual(new Set(statuses), new Set([503]));
    await until(async () => !(await isReady(at)));
    assert.equal(await statusOf(at, '/health/live'), 200);
    assert.equal(linesOf(at).outages.length, 1, at.stderr());
    limit('unlimited');
    await until(() => isReady(at));
    assert.deepEqual(new Set(await Promise.all(tokens.map((token) => revoke(at, key, token)))), new Set([200]));
    await until(() => linesOf(at).ends.length === 1);
    assert.match(linesOf(at).ends[0] ?? '', /after \d+ s\. \d+ more failures/);
    assert.equal(linesOf(at).outages.length, 1, at.stderr());
  },
);

/** The server and its parents up to the one that was started: npm's own Node starts a newer one. */
function pidsOf(at: Running): readonly string[] {
  const root = String(at.child.pid);
  const children = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const found = [root];
  for (const pid of found) found.push(...children.flatMap(([child = '', parent]) => (parent === pid ? [child] : [])));
  return found;
}

test('a data folder that is moved or replaced under a server: nothing is acknowledged, and nothing is read, until it is back', async (t) => {
  const folder = join(makeFolder(t), 'data');
  const at = await serve(t, { ...LOCAL, HALLPASS_DATA_DIR: folder });
  const key = await makeKey(at);
  const token = await issue(at, key);
  renameSync(folder, `${folder}.away`);
  assert.equal(await revoke(at, key, token), 503, 'with the first write');
  assert.equal(await isReady(at), false);
  assert.equal((await ask(at, '/oauth2/introspect', key, { token })).status, 503);
  assert.match(at.stderr(), /A file of the store is gone: .*hallpass\.db\. .*Put the data folder back/);

  cpSync(`${folder}.away`, folder, { recursive: true });
  assert.equal(await revoke(at, key, token), 503, 'a copy in its place is another store');
  assert.equal(await isReady(at), false);
  rmSync(folder, { recursive: true });

  renameSync(`${folder}.away`, folder);
  await until(() => isReady(at));
  assert.equal(await revoke(at, key, token), 200);
  await until(() => linesOf(at).ends.length === 1);
});

test('an idle server whose data folder is deleted says so by itself', async (t) => {
  const folder = join(makeFolder(t), 'data');
  const at = await serve(t, { ...LOCAL, HALLPASS_DATA_DIR: folder });
  rmSync(folder, { recursive: true });
  await until(() => linesOf(at).outages.length === 1);
  assert.match(linesOf(at).outages[0] ?? '', /is gone/);
});

for (const [how, link] of [
  ['under its own name', undefined],
  ['behind a link to it', 'link.db'],
] as const) {
  test(`each file of the store counts, ${how}: database, log, and the index of the log`, async (t) => {
    for (const suffix of ['', '-wal', '-shm']) {
      const file = join(makeFolder(t), 'hallpass.db');
      const name = link === undefined ? file : join(makeFolder(t), link);
      // The store is not there yet, as little as it is on a new disk.
      writeFileSync(file, '', { mode: 0o600 });
      if (name !== file) symlinkSync(file, name);
      const store = await openSqliteStore({ file: name });
      t.after(() => store.close());
      await store.check();
      renameSync(file + suffix, `${file}.away`);
      await assert.rejects(store.check(), { name: 'StoreUnavailable', message: /is gone/ }, suffix);
      renameSync(`${file}.away`, file + suffix);
      await store.check();
    }
  });
}

/** A server whose store is counted, and held up while `gate` is there. */
async function startCounted(t: TestContext) {
  const counted = { checks: 0, gate: undefined as Promise<void> | undefined };
  const faulty = (store: Store): Store => ({
    ...store,
    check: async () => {
      counted.checks += 1;
      await counted.gate;
      await store.check();
    },
  });
  const at = await startHallpass({ faulty });
  t.after(() => at.close());
  return { at, counted, ready: async () => (await at.request('/health/ready')).status };
}

test('however often readiness is asked for, a process writes at most once a second for it', async (t) => {
  const { at, counted, ready } = await startCounted(t);
  for (let round = 1; round <= 3; round++) {
    const statuses = await Promise.all(Array.from({ length: 20 }, ready));
    assert.deepEqual(new Set(statuses), new Set([200]));
    assert.equal(counted.checks, round);
    at.clock.advance(READINESS_MS / 1000);
  }
});

test('a commit that takes longer than READINESS_WRITE_MS_MAX: not ready, at once, with one write under way', async (t) => {
  const { at, counted, ready } = await startCounted(t);
  let open = (): void => undefined;
  counted.gate = new Promise((resolve) => {
    open = resolve;
  });
  const first = ready();
  await until(() => counted.checks === 1);
  at.clock.advance(READINESS_WRITE_MS_MAX / 1000 + 0.001);
  assert.deepEqual(await Promise.all([ready(), ready()]), [503, 503]);
  assert.equal(counted.checks, 1);
  open();
  assert.equal(await first, 503, 'it was too late');
  counted.gate = undefined;
  at.clock.advance(READINESS_MS / 1000);
  assert.equal(await ready(), 200);
  assert.equal(counted.checks, 2);
});

test('a day of probes does not make the store grow', async (t) => {
  const file = join(makeFolder(t), 'hallpass.db');
  const store = await openSqliteStore({ file });
  t.after(() => store.close());
  for (let probe = 0; probe < 3_000; probe++) await store.check();
  const bytes = readdirSync(join(file, '..')).map((name) => statSync(join(file, '..', name)).size);
  assert.ok(bytes.reduce((sum, size) => sum + size, 0) < 6_000_000, String(bytes));
});

test('a store that SQLite finds damaged is not read again, and its server is not ready, until it is restarted', async (t) => {
  const folder = makeFolder(t);
  const first = await startHallpass({ folder });
  const key = await first.makeKey();
  await first.close();
  damagePage(join(folder, 'hallpass.db'), 'revocations_of_subject');
  const at = await startHallpass({ folder });
  assert.equal((await at.request('/health/ready')).status, 200, 'nothing has read that page yet');
  const asked = { grant_type: 'client_credentials', scope: '/accounts.write' };
  assert.equal((await at.form('/oauth2/token', asked, { key })).outcome, '503 temporarily_unavailable');
  at.clock.advance(READINESS_MS / 1000);
  // What a probe writes and reads is sound; what else is not, nobody knows.
  assert.equal((await at.request('/health/ready')).status, 503);
  await assert.rejects(at.instance.store.findTime(), { message: /The store is damaged.*restore the newest backup/ });
  assert.equal((await at.request('/health/live')).status, 200);
});

/** Overwrites the first page of a table or an index in the file of a store that is closed. */
function damagePage(file: string, name: string): void {
  const database = new DatabaseSync(file, { readOnly: true });
  const row = database.prepare('SELECT rootpage FROM sqlite_schema WHERE name = ?').get(name);
  database.close();
  const bytes = readFileSync(file);
  bytes.fill(0xff, (Number(row?.['rootpage']) - 1) * 4_096, Number(row?.['rootpage']) * 4_096);
  writeFileSync(file, bytes);
}
