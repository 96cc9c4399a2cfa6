/**
 * A store that goes back under connected guards: a copied file, and a database as it was before, as after a restore to a
 * point in time or a failover to a standby that was behind. Positions of the feed are given out twice then; a guard misses
 * nothing all the same, and a refresh token that is newer than the store ends its family (contract §10 History).
 */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { describe, test } from 'node:test';
import { compilePolicy } from '@hallpass/guard';
import { startPostgres } from '../testing/postgres/cluster.ts';
import { openApi, type GuardedApi } from '../testing/server/guarded_api.ts';
import {
  createKey,
  makeDataDir,
  mustRun,
  startHallpass,
  type Credentials,
  type Environment,
  type HallpassProcess,
} from '../testing/process/process.ts';
import { freePort } from '../testing/process/free_port.ts';

/** How long a revocation may take to reach a guard that has to connect anew first, in milliseconds. */
const HEARD_MS_MAX = 30_000;

/** Where a store is, and how it is put back to what it was when it was kept. No server runs on it meanwhile. */
interface Place {
  readonly dataDir: string;
  readonly environment: Environment;
  readonly keep: () => Promise<void>;
  readonly goBack: () => Promise<void>;
  readonly remove: () => Promise<void>;
}

async function onFile(): Promise<Place> {
  const { dataDir, remove } = makeDataDir();
  const kept = makeDataDir();
  const replace = async (from: string, to: string): Promise<void> => {
    rmSync(to, { recursive: true });
    cpSync(from, to, { recursive: true });
  };
  return {
    dataDir,
    environment: {},
    keep: () => replace(dataDir, kept.dataDir),
    goBack: () => replace(kept.dataDir, dataDir),
    remove: async () => {
      remove();
      kept.remove();
    },
  };
}

async function onDatabase(): Promise<Place> {
  const { dataDir, remove } = makeDataDir();
  const cluster = await startPostgres();
  await cluster.query('CREATE DATABASE live');
  const replace = async (from: string, to: string): Promise<void> => {
    await cluster.query(`DROP DATABASE IF EXISTS ${to}`);
    await cluster.query(`CREATE DATABASE ${to} TEMPLATE ${from}`);
  };
  return {
    dataDir,
    environment: { HALLPASS_DATABASE_URL: cluster.url('live') },
    keep: () => replace('live', 'kept'),
    goBack: () => replace('kept', 'live'),
    remove: async () => {
      await cluster.remove();
      remove();
    },
  };
}

interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
}

class World {
  readonly #key: Credentials;
  readonly #api: GuardedApi;
  readonly #issuer: string;

  constructor(key: Credentials, api: GuardedApi, issuer: string) {
    this.#key = key;
    this.#api = api;
    this.#issuer = issuer;
  }

  async post(path: string, form: Readonly<Record<string, string>>): Promise<Response> {
    const { clientId, clientSecret } = this.#key;
    const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`;
    const init = { method: 'POST', headers: { authorization }, body: new URLSearchParams(form) };
    return await fetch(this.#issuer + path, init);
  }

  async issue(form: Readonly<Record<string, string>> = { grant_type: 'client_credentials' }): Promise<Tokens> {
    const answer = await this.post('/oauth2/token', { scope: '/accounts.read', resource: this.#api.origin, ...form });
    assert.equal(answer.status, 200, await answer.clone().text());
    const tokens: Tokens = await answer.json();
    return tokens;
  }

  refresh({ refresh_token }: Tokens): Promise<Tokens> {
    return this.issue({ grant_type: 'refresh_token', refresh_token });
  }

  async revoke({ access_token }: Tokens): Promise<void> {
    assert.equal((await this.post('/oauth2/revoke', { token: access_token })).status, 200);
  }

  /** What the API says to a token: 200, or 401 once it is revoked; 503 while the guard has lost its feed. */
  async call({ access_token }: Tokens): Promise<number> {
    const headers = { authorization: `Bearer ${access_token}` };
    return (await fetch(`${this.#api.origin}/accounts`, { headers })).status;
  }

  async untilRefused(tokens: Tokens): Promise<void> {
    const end = performance.now() + HEARD_MS_MAX;
    while ((await this.call(tokens)) !== 401) {
      assert.ok(performance.now() < end, 'a revoked token is refused in time');
      await new Promise(setImmediate);
    }
  }
}

describe('a store restored to an earlier state', () => {
  for (const [what, open] of [
    ['a file that was copied', onFile],
    ['a database as it was before', onDatabase],
  ] as const) {
    test(`${what}: a connected guard learns every revocation of both histories, and a newer refresh token ends its family`, async (t) => {
      const place = await open();
      const api = await openApi();
      const port = String(await freePort());
      const environment = {
        ...place.environment,
        HALLPASS_ISSUER: `http://127.0.0.1:${port}`,
        HALLPASS_PORT: port,
      } as const;
      let hallpass: HallpassProcess | undefined;
      t.after(async () => {
        api.close();
        await hallpass?.stop();
        await place.remove();
      });
      const start = async (): Promise<void> => {
        hallpass = await startHallpass(place.dataDir, environment);
      };
      const stop = async (): Promise<void> => {
        await hallpass?.stop();
      };
      const forApi = ['--scope', '/accounts.read', '--audience', api.origin];
      const key = await createKey(place.dataDir, ['Partner', ...forApi], environment);
      const own = ['Accounts API', '--resource-server', api.origin];
      const credentials = await createKey(place.dataDir, own, environment);
      await start();
      const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });
      await api.guardBy(policy, { issuer: environment.HALLPASS_ISSUER, audience: api.origin, credentials }).ready();
      const world = new World(key, api, environment.HALLPASS_ISSUER);
      const lost = [await world.issue(), await world.issue()];
      const later = [await world.issue(), await world.issue()];
      const session = await world.issue();
      for (const tokens of [...lost, ...later, session]) assert.equal(await world.call(tokens), 200);

      await stop();
      await place.keep();
      await start();
      // What the store will have forgotten: two places in the feed, and a rotation.
      for (const tokens of lost) {
        await world.revoke(tokens);
        await world.untilRefused(tokens);
      }
      const newer = await world.refresh(session);
      await stop();
      await place.goBack();
      await start();

      // The same two places once more.
      for (const tokens of later) {
        await world.revoke(tokens);
        await world.untilRefused(tokens);
      }
      for (const tokens of lost) assert.equal(await world.call(tokens), 401, 'what the guard knew it knows');
      const answer = await world.post('/oauth2/token', {
        grant_type: 'refresh_token',
        refresh_token: newer.refresh_token,
      });
      assert.equal(answer.status, 400);
      assert.match(await answer.text(), /"invalid_grant"/);
      await world.untilRefused(session);
      const again = { grant_type: 'refresh_token', refresh_token: session.refresh_token };
      assert.equal((await world.post('/oauth2/token', again)).status, 400);
      const events = await mustRun(place.dataDir, ['events', '--json'], environment);
      assert.match(events, /"refresh_token_newer_than_store"/);
    });
  }
});
