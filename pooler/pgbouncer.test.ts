/**
 * A store behind Debian's PgBouncer, in both modes that keep a transaction on one connection (ADR 36): the store contract,
 * two servers, and a database that fails behind the pooler. `npm run test:pooler`; needs the package `pgbouncer`.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, suite, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { createKey, makeDataDir, RIG, startHallpass, type HallpassProcess } from '../testing/process/process.ts';
import { openPostgresStore } from '../packages/server/src/store/postgres/postgres.ts';
import { StoreUnavailable, StoreUnusable, type Store } from '../packages/server/src/store/store.ts';
import { testStoreContract } from '../testing/store_contract/contract.ts';
import { startPostgres } from '../testing/postgres/cluster.ts';
import { readFeed, revocationRecord, rotationRecord } from '../testing/store_contract/records.ts';
import { startPgBouncer } from './pgbouncer.ts';

const cluster = await startPostgres();
after(() => cluster.remove());
const random = (byteCount: number) => new Uint8Array(randomBytes(byteCount));
/** The server tests that depend most on the store. */
const SERVER_TESTS = ['feed', 'predecessor', 'refresh_token', 'revoke'];

async function openUntilEnd(t: TestContext, url: string): Promise<Store> {
  const store = await openPostgresStore({ url, random });
  t.after(() => store.close());
  return store;
}

async function refusal(url: string): Promise<unknown> {
  try {
    await (await openPostgresStore({ url, random })).close();
    return 'it was opened';
  } catch (error) {
    return error;
  }
}

const poolers = {
  transaction: await startPgBouncer(cluster, 'transaction'),
  session: await startPgBouncer(cluster, 'session'),
};
after(() => Promise.all(Object.values(poolers).map((pooler) => pooler.stop())));
const shared = poolers.transaction.through(await cluster.createDatabase({ icuLocale: 'en' }));
let places = 0;
testStoreContract('PostgreSQL behind a pooler in transaction mode', {
  open: () => {
    places += 1;
    const schema = `Place ${places}`;
    return () => openPostgresStore({ url: shared, schema, random, connections: 5 });
  },
});

for (const mode of ['transaction', 'session'] as const) {
  const pooler = poolers[mode];
  suite(`in ${mode} mode`, () => {
    test('stores in different schemas share the connections of a pooler, and each sees its own rows', async (t) => {
      const url = pooler.through(await cluster.createDatabase());
      const stores = await Promise.all(
        ['one', 'two', 'three'].map((schema) => openPostgresStore({ url, schema, random, connections: 2 })),
      );
      t.after(() => Promise.all(stores.map((store) => store.close())));
      await Promise.all(
        stores.flatMap((store, at) =>
          Array.from({ length: 20 }, (_, count) => store.revoke([revocationRecord('token', `${at}-${count}`)])),
        ),
      );
      for (const [at, store] of stores.entries()) {
        const { ids } = await readFeed(store, { limit: 100 });
        assert.equal(ids.length, 20);
        assert.ok(
          ids.every((id) => id.startsWith(`${at}-`)),
          ids.join(' '),
        );
      }
    });

    test('of concurrent rotations of one grant from two stores, one is stored', async (t) => {
      const url = pooler.through(await cluster.createDatabase());
      const [a, b] = [await openUntilEnd(t, url), await openUntilEnd(t, url)];
      const outcomes = await Promise.all(
        Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? a : b).rotate(rotationRecord({ rotatedAt: at }))),
      );
      assert.equal(outcomes.filter((outcome) => outcome === 'rotated').length, 1);
    });

    test('when durability is switched off on the server, the next transaction is refused', async (t) => {
      const store = await openUntilEnd(t, pooler.through(await cluster.createDatabase()));
      await cluster.configure({ fsync: 'off' });
      try {
        await assert.rejects(store.revoke([revocationRecord('token', 'jti')]), { message: /fsync = off/ });
        await assert.rejects(store.check(), { message: /fsync = off/ });
      } finally {
        await cluster.configure({ fsync: undefined });
      }
      await store.revoke([revocationRecord('token', 'jti')]);
    });

    test('after the server ends its connections, and after a kill, the store recovers with every acknowledged write', async (t) => {
      const direct = await cluster.createDatabase();
      const store = await openUntilEnd(t, pooler.through(direct));
      const acknowledged: string[] = [];
      const load = new AbortController();
      const callers = Array.from({ length: 8 }, async (_, caller) => {
        for (let at = 0; !load.signal.aborted; at++) {
          const id = `${caller}-${at}`;
          try {
            await store.revoke([revocationRecord('token', id)]);
            acknowledged.push(id);
          } catch (error) {
            assert.ok(error instanceof StoreUnavailable, inspect(error));
          }
        }
      });
      const goOn = async (): Promise<void> => {
        const enough = acknowledged.length + 50;
        while (acknowledged.length < enough) await new Promise((resolve) => setImmediate(resolve));
      };
      try {
        await goOn();
        await cluster.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hallpass'",
          { url: direct },
        );
        await goOn();
        await cluster.kill();
        await cluster.start();
        await goOn();
      } finally {
        load.abort();
        await Promise.all(callers);
      }
      const kept = new Set<string>();
      let page = await store.readRevocations({ limit: 1_000, now: 0 });
      for (const { id } of page.entries) kept.add(id);
      while (page.more) {
        page = await store.readRevocations({ limit: 1_000, now: 0, after: page.cursor });
        for (const { id } of page.entries) kept.add(id);
      }
      assert.deepEqual(
        acknowledged.filter((id) => !kept.has(id)),
        [],
      );
    });
  });
}

suite('whole servers', () => {
  test('the server tests pass behind a pooler in transaction mode', async (t) => {
    const pooler = await startPgBouncer(cluster, 'transaction');
    t.after(() => pooler.stop());
    const files = SERVER_TESTS.map((name) =>
      fileURLToPath(new URL(`../packages/server/test/oauth/${name}.test.ts`, import.meta.url)),
    );
    const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
    const child = spawn(process.execPath, ['--conditions=hallpass-source', '--test', ...files], {
      env: { ...inherited, HALLPASS_TEST_DATABASE: pooler.through(cluster.url('postgres')) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    await once(child, 'close');
    assert.equal(child.exitCode, 0, output.slice(output.indexOf('failing tests')));
    const [, passed] = /^(?:ℹ|#) pass (\d+)$/m.exec(output) ?? [];
    assert.ok(Number(passed) > 100, `${passed} tests were run`);
  });

  test('two servers behind one pooler share tokens, rotations and revocations', async (t) => {
    const pooler = await startPgBouncer(cluster, 'transaction');
    t.after(() => pooler.stop());
    const { dataDir, remove } = makeDataDir();
    t.after(remove);
    const environment = { ...RIG, HALLPASS_DATABASE_URL: pooler.through(await cluster.createDatabase()) };
    const key = await createKey(dataDir, ['partner', '--scope', '/accounts.write'], environment);
    const api = await createKey(dataDir, ['api', '--resource-server', RIG['HALLPASS_ISSUER'] ?? ''], environment);
    const servers = await Promise.all([startHallpass(dataDir, environment), startHallpass(dataDir, environment)]);
    t.after(() => Promise.all(servers.map((server) => server.stop())));
    const [one, two] = servers;
    const form = async (at: HallpassProcess, path: string, fields: Readonly<Record<string, string>>, by = key) => {
      const answer = await fetch(at.url + path, {
        method: 'POST',
        headers: { authorization: basic(by) },
        body: new URLSearchParams(fields),
      });
      const text = await answer.text();
      const body: Readonly<Record<string, unknown>> = text === '' ? {} : JSON.parse(text);
      return { ...body, status: answer.status };
    };
    const refresh = (at: HallpassProcess, token: unknown) =>
      form(at, '/oauth2/token', { grant_type: 'refresh_token', refresh_token: String(token) });
    const stop = new AbortController();
    const feed = await fetch(`${two.url}/oauth2/revocations`, {
      headers: { authorization: basic(api) },
      signal: stop.signal,
    });
    const first: Readonly<Record<string, unknown>> = await form(one, '/oauth2/token', {
      grant_type: 'client_credentials',
      scope: '/accounts.write',
    });
    assert.equal(first['status'], 200);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, at) => refresh(at % 2 === 0 ? one : two, first['refresh_token'])),
    );
    const successors = new Set(answers.map((answer: Readonly<Record<string, unknown>>) => answer['refresh_token']));
    assert.equal(successors.size, 1);
    const token = String(first['access_token']);
    assert.equal((await form(one, '/oauth2/revoke', { token })).status, 200);
    const asked: Readonly<Record<string, unknown>> = await form(two, '/oauth2/introspect', { token }, api);
    assert.equal(asked['active'], false);
    let heard = '';
    const decoder = new TextDecoder();
    assert.ok(feed.body !== null);
    for await (const piece of feed.body) {
      heard += decoder.decode(piece, { stream: true });
      if (heard.includes('event: revocation')) break;
    }
    stop.abort();
  });
});

suite('what does not work behind a pooler', () => {
  for (const [what, mode, query, sentence] of [
    ['statement mode', 'statement', '', /pooler .* statement mode.*pool_mode = transaction/],
    [
      'a setting in the address',
      'transaction',
      '?options=-c%20geqo%3Doff',
      /pooler .*\(unsupported startup parameter: options\)/,
    ],
    ['a time limit in the address', 'session', '?lock_timeout=5', /\(unsupported startup parameter: lock_timeout\)/],
  ] as const) {
    test(`${what} is refused with a message that says what to change`, async (t) => {
      const pooler = await startPgBouncer(cluster, mode);
      t.after(() => pooler.stop());
      const url = await cluster.createDatabase();
      assert.equal(await refusal(url), 'it was opened', 'without the pooler');
      const error = await refusal(pooler.through(url) + query);
      assert.ok(error instanceof StoreUnusable, inspect(error));
      assert.match(error.message, sentence);
    });
  }

  test('a missing database or role is reported to the operator, like without a pooler', async (t) => {
    const pooler = await startPgBouncer(cluster, 'transaction');
    t.after(() => pooler.stop());
    for (const [url, sentence] of [
      [cluster.url('no_such_database'), /^The database does not exist/],
      [cluster.url('postgres', 'stranger'), /^The database rejects the credentials of Hallpass/],
    ] as const) {
      const error = await refusal(pooler.through(url));
      assert.ok(error instanceof StoreUnusable, inspect(error));
      assert.match(error.message, sentence);
    }
  });
});

function basic({ clientId, clientSecret }: { readonly clientId: string; readonly clientSecret: string }): string {
  return `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`;
}
