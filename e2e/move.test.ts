/** From the embedded store to PostgreSQL (docs/operating.md): copied while the server goes on, and then switched over. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startPostgres } from '../testing/postgres/cluster.ts';
import { createKey, makeDataDir, RIG, mustRun, startHallpass, type Credentials } from '../testing/process/process.ts';

type Body = Readonly<Record<string, unknown>>;

async function post(
  url: string,
  { clientId, clientSecret }: Credentials,
  form: Readonly<Record<string, string>>,
): Promise<Body> {
  const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`;
  const answer = await fetch(url, { method: 'POST', headers: { authorization }, body: new URLSearchParams(form) });
  const body: Body = await answer.json();
  return { status: answer.status, ...body };
}

interface Report {
  readonly copied: boolean;
  readonly tables: readonly { readonly table: string; readonly rows: number; readonly inserted: number }[];
}

test('a store is copied while it serves, and keys, sessions, revocations and the feed continue after the switch', async (t) => {
  const cluster = await startPostgres();
  t.after(() => cluster.stop());
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const url = await cluster.createDatabase();
  const issuer = RIG['HALLPASS_ISSUER'] ?? '';
  const key = await createKey(dataDir, [
    'partner',
    '--scope',
    '/accounts.write',
    '--origin',
    'https://app.example.com',
  ]);
  const reader = await createKey(dataDir, ['api', '--resource-server', issuer]);
  const before = await startHallpass(dataDir, RIG);
  t.after(() => before.stop());

  const issue = (at: string): Promise<Body> =>
    post(`${at}/oauth2/token`, key, { grant_type: 'client_credentials', scope: '/accounts.write' });
  const refresh = (at: string, token: unknown): Promise<Body> =>
    post(`${at}/oauth2/token`, key, { grant_type: 'refresh_token', refresh_token: String(token) });
  const revoke = (at: string, token: unknown): Promise<Body> =>
    post(`${at}/oauth2/revoke`, key, { token: String(token) });
  const isActive = async (at: string, token: unknown): Promise<unknown> =>
    (await post(`${at}/oauth2/introspect`, key, { token: String(token) }))['active'];
  const readFeed = async (
    at: string,
    after: string,
  ): Promise<{ entries: readonly { id: string }[]; cursor: string }> => {
    const authorization = `Basic ${Buffer.from(`${reader.clientId}:${reader.clientSecret}`).toString('base64')}`;
    return await (await fetch(`${at}/oauth2/revocations?after=${after}`, { headers: { authorization } })).json();
  };
  const copy = async (...words: readonly string[]): Promise<Report> => {
    const report: Report = JSON.parse(
      await mustRun(dataDir, ['store', 'copy', ...words, '--json'], { ...RIG, HALLPASS_COPY_TO: url }),
    );
    return report;
  };
  const changesOf = ({ tables }: Report): Readonly<Record<string, number>> =>
    Object.fromEntries(tables.map(({ table, inserted }) => [table, inserted]));

  /** A session that has been refreshed, and a token that is revoked. */
  const live = async (): Promise<{ session: unknown; alive: unknown; dead: unknown }> => {
    const [first, other] = [await issue(before.url), await issue(before.url)];
    const second = await refresh(before.url, first['refresh_token']);
    await revoke(before.url, other['access_token']);
    return { session: second['refresh_token'], alive: second['access_token'], dead: other['access_token'] };
  };
  const early = await live();
  const dry = await copy('--dry-run');
  assert.equal(dry.copied, false);
  assert.deepEqual([changesOf(dry)['families'], changesOf(dry)['revocations']], [1, 1]);
  assert.deepEqual(changesOf(await copy('--dry-run')), changesOf(dry), 'nothing was written');

  // While the server goes on: what comes meanwhile is carried by the next run.
  const load = new AbortController();
  const meanwhile: Awaited<ReturnType<typeof live>>[] = [];
  const working = (async (): Promise<void> => {
    while (!load.signal.aborted) meanwhile.push(await live());
  })();
  await copy();
  const { cursor } = await readFeed(before.url, '');
  const late = await live();
  load.abort();
  await working;
  assert.equal(await before.stop(), 0);
  const last = await copy();
  assert.ok((changesOf(last)['families'] ?? 0) >= 1);
  assert.deepEqual(
    new Set(Object.values(changesOf(await copy()))),
    new Set([0]),
    'again, and nothing is left to carry',
  );

  const masterKey = readFileSync(join(dataDir, 'master.key'), 'utf8').trim();
  const elsewhere = makeDataDir();
  t.after(elsewhere.remove);
  const onDatabase = { ...RIG, HALLPASS_DATABASE_URL: url, HALLPASS_MASTER_KEY: masterKey };
  const after = await startHallpass(elsewhere.dataDir, onDatabase);
  t.after(() => after.stop());
  for (const { session, alive, dead } of [early, ...meanwhile, late]) {
    assert.equal(await isActive(after.url, alive), true);
    assert.equal(await isActive(after.url, dead), false);
    assert.equal((await refresh(after.url, session))['status'], 200);
  }
  const page = await readFeed(after.url, cursor);
  assert.ok(page.entries.length >= 1, 'a guard reads on by the cursor that it had');
  assert.equal(page.cursor.split('-')[0], cursor.split('-')[0]);
  assert.equal((await issue(after.url))['status'], 200);

  // Servers run there now: to copy once more would undo what they have done since, though they have revoked nothing yet.
  await assert.rejects(copy(), /A server has run on the other store since it was copied/);
  await revoke(after.url, (await issue(after.url))['access_token']);
  await assert.rejects(copy(), /of its own since it was copied/);
  const another = makeDataDir();
  t.after(another.remove);
  await createKey(another.dataDir, ['stranger', '--scope', '/accounts.write']);
  await assert.rejects(mustRun(another.dataDir, ['store', 'copy', '--to', '-'], {}, `${url}\n`), /its own API keys/);
  assert.equal(await after.stop(), 0);
});
