/** The keys that seal refresh tokens and opaque tokens and hash secrets: replaced, forgotten, taken out (contract §10). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { sealRefreshToken } from '@hallpass/protocol';
import { openMetrics } from '../../src/http/metrics.ts';
import { startPublicSide } from '../../src/serving/public_side.ts';
import { openServerLog } from '../../src/serving/server.ts';
import { rewrapKeys } from '../../src/operator/master_key.ts';
import {
  forgetSecretKeys,
  listIssuerKeys,
  removeIssuerKey,
  rotateIssuerKey,
  showIssuerKey,
  tendIssuerKeys,
} from '../../src/operator/issuer_keys.ts';
import { openSealedToken, sealAccessToken } from '../../src/oauth/tokens/opaque_token.ts';
import { Readiness } from '../../src/oauth/endpoints/readiness.ts';
import type { Client, KeyUse } from '../../src/store/store.ts';
import {
  basicOf,
  startHallpass,
  TestClock,
  tokensOf,
  until,
  type Hallpass,
  type Key,
  type Options,
} from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const AHEAD_SECONDS = 600;
const DAY_SECONDS = 86_400;
const TOKEN_KEPT_SECONDS = 3_600 + 120;
const OTHERS = ['refresh_mac', 'secret_mac', 'access_seal'] as const satisfies readonly KeyUse[];

/** On an issuer that stays the same when it is opened again. */
const start = ({ environment, ...more }: Options = {}): Promise<Hallpass> =>
  startHallpass({ ...more, environment: { HALLPASS_ISSUER: 'http://127.0.0.1:8080', ...environment } });
const beside = (at: Hallpass, options: Options = {}): Promise<Hallpass> =>
  start({ folder: at.folder, clock: at.clock, ...options });

const idsOf = async (at: Hallpass, use: KeyUse): Promise<readonly string[]> =>
  (await listIssuerKeys(at.instance, use)).map(({ keyId }) => keyId);
const statesOf = async (at: Hallpass, use: KeyUse): Promise<readonly string[]> =>
  (await listIssuerKeys(at.instance, use)).map(({ state }) => state);

async function currentOf(at: Hallpass, use: KeyUse): Promise<string> {
  const current = (await listIssuerKeys(at.instance, use)).find(({ state }) => state.endsWith('ing'));
  assert.ok(current !== undefined, 'some key is in use');
  return current.keyId;
}

/** The id of the key that a refresh token or an opaque token was sealed with. */
function keyIdOf(token: string): string {
  return Buffer.from(token.slice(5), 'base64url').subarray(1, 9).toString('base64url');
}

async function secretsOf(at: Hallpass, { clientId }: Key): Promise<Client['secrets']> {
  return (await at.instance.store.findClient(clientId))?.secrets ?? [];
}

const hashedWith = async (at: Hallpass, key: Key): Promise<readonly string[]> =>
  (await secretsOf(at, key)).map(({ keyId }) => keyId);

async function eventsOf(at: Hallpass, kind: string): Promise<readonly (string | undefined)[]> {
  const events = await at.instance.store.listEvents({ limit: 100 });
  return events.filter((event) => event.kind === kind).map(({ detail }) => detail);
}

/** A new key that is in use already, on every instance. */
async function replaceKey(use: KeyUse, ...instances: readonly [Hallpass, ...Hallpass[]]): Promise<string> {
  const [at] = instances;
  at.clock.advance(5);
  const { keyId } = await rotateIssuerKey(at.instance, use);
  for (const { instance } of instances) await instance.keys.reload();
  at.clock.advance(AHEAD_SECONDS);
  return keyId;
}

/** How often the feed has said that everything has ended. */
async function endsOfEverything(at: Hallpass): Promise<number> {
  const { entries } = await at.instance.store.readRevocations({ limit: 10, now: at.clock.seconds });
  return entries.filter(({ kind }) => kind === 'before').length;
}

suite('a key is known before it is used', () => {
  test('the next key seals refresh tokens from its exact second on; old ones go on working, on another instance too', async () => {
    const one = await start();
    const other = await beside(one);
    const key = await one.makeKey();
    const old = await currentOf(one, 'refresh_mac');
    one.clock.advance(5);
    const next = await rotateIssuerKey(one.instance, 'refresh_mac');
    assert.deepEqual([next.state, next.activeFrom], ['next', one.clock.now() + AHEAD_SECONDS * 1000]);
    await assert.rejects(rotateIssuerKey(other.instance, 'refresh_mac'), { code: 'issuer_key_waiting' });
    one.clock.advance(AHEAD_SECONDS - 0.001);
    const before = await one.issue(key);
    assert.equal(keyIdOf(before.refreshToken), old);
    one.clock.advance(0.001);
    assert.equal(keyIdOf((await other.issue(key)).refreshToken), next.keyId);
    const second = tokensOf(await other.refresh(key, before.refreshToken));
    assert.equal(keyIdOf(second.refreshToken), next.keyId);
    const again = tokensOf(await one.refresh(key, before.refreshToken));
    assert.equal(again.refreshToken, second.refreshToken, 'the same once more, byte for byte');
    assert.deepEqual(await statesOf(one, 'refresh_mac'), ['retired', 'sealing']);
  });

  test('the next key seals opaque tokens from its exact second on; older tokens live until they expire', async () => {
    const one = await start();
    const other = await beside(one);
    const key = await one.makeKey({ accessTokenFormat: 'opaque' });
    const old = await currentOf(one, 'access_seal');
    one.clock.advance(5);
    const { keyId: next } = await rotateIssuerKey(one.instance, 'access_seal');
    await other.instance.keys.reload();
    one.clock.advance(AHEAD_SECONDS - 0.001);
    const last = await other.issue(key);
    assert.equal(keyIdOf(last.accessToken), old);
    one.clock.advance(0.001);
    const first = await other.issue(key);
    assert.equal(keyIdOf(first.accessToken), next);
    for (const { accessToken } of [last, first]) assert.equal(await one.isActive(key, accessToken), true);
    one.clock.advance(TOKEN_KEPT_SECONDS - 0.001);
    await tendIssuerKeys(one.instance);
    assert.deepEqual(await idsOf(one, 'access_seal'), [old, next]);
    one.clock.advance(0.001);
    await tendIssuerKeys(one.instance);
    assert.deepEqual(await idsOf(one, 'access_seal'), [next]);
    assert.deepEqual(await eventsOf(one, 'opaque_key_forgotten'), [old]);
  });

  test('a refresh key stays as long as the longest grant that it sealed', async () => {
    const at = await start({ environment: { HALLPASS_REFRESH_TTL_SECONDS: String(400 * DAY_SECONDS) } });
    const key = await at.makeKey();
    const old = await currentOf(at, 'refresh_mac');
    at.clock.advance(5);
    await rotateIssuerKey(at.instance, 'refresh_mac');
    at.clock.advance(AHEAD_SECONDS - 0.001);
    const last = await at.issue(key);
    at.clock.advance(400 * DAY_SECONDS - 1);
    await tendIssuerKeys(at.instance);
    assert.equal((await at.refresh(key, last.refreshToken)).status, 200, 'in its last second');
    at.clock.advance(121);
    await tendIssuerKeys(at.instance);
    assert.ok((await idsOf(at, 'refresh_mac')).includes(old));
    at.clock.advance(0.001);
    await tendIssuerKeys(at.instance);
    assert.ok(!(await idsOf(at, 'refresh_mac')).includes(old));
  });

  test('the schedule makes the next key of each use when the current one is issuerKeyDays old, and one only', async () => {
    const at = await start({ environment: { HALLPASS_ISSUER_KEY_DAYS: '2', HALLPASS_SIGNING_KEY_DAYS: '0' } });
    const other = await beside(at, { environment: { HALLPASS_ISSUER_KEY_DAYS: '2', HALLPASS_SIGNING_KEY_DAYS: '0' } });
    at.clock.advance(2 * DAY_SECONDS - 0.001);
    await tendIssuerKeys(at.instance);
    for (const use of OTHERS) assert.equal((await statesOf(at, use)).length, 1, use);
    at.clock.advance(0.001);
    await Promise.all([at, other, at].map(({ instance }) => tendIssuerKeys(instance)));
    for (const use of OTHERS) assert.deepEqual((await statesOf(at, use)).slice(1), ['next'], use);
    assert.deepEqual(await statesOf(at, 'sign'), ['signing']);
    await other.close();
    const never = await beside(at, { environment: { HALLPASS_ISSUER_KEY_DAYS: '0', HALLPASS_SIGNING_KEY_DAYS: '0' } });
    await at.close();
    never.clock.advance(3_000 * DAY_SECONDS);
    await tendIssuerKeys(never.instance);
    for (const use of [...OTHERS, 'sign'] as const) assert.ok(!(await statesOf(never, use)).includes('next'), use);
  });

  test('a DPoP nonce from before the change still works after it (RFC 9449 §8)', async () => {
    const at = await start({ environment: { HALLPASS_DPOP_NONCES: 'on' } });
    const key = await at.makeKey();
    const { keyId } = await rotateIssuerKey(at.instance, 'secret_mac');
    at.clock.advance(AHEAD_SECONDS - 1);
    const nonceOf = async (): Promise<string | null> =>
      (await at.form('/oauth2/token', { grant_type: 'client_credentials' }, { key })).headers.get('dpop-nonce');
    const signer = await Signer.make();
    const nonce = await nonceOf();
    at.clock.advance(2);
    assert.equal(await currentOf(at, 'secret_mac'), keyId);
    assert.notEqual(await nonceOf(), nonce);
    const ask = async (claims: object): Promise<string> => {
      const proof = await signer.prove({ url: `${at.issuer}/oauth2/token`, clock: at.clock }, { claims });
      const params = { grant_type: 'client_credentials', scope: '/ping.read' };
      return (await at.form('/oauth2/token', params, { key, headers: { dpop: proof } })).outcome;
    };
    assert.equal(await ask({ nonce }), '200');
    assert.equal(await ask({ nonce: 'A'.repeat(22) }), '400 use_dpop_nonce');
  });
});

suite('secrets after a new key', () => {
  test('a secret is hashed again once, at its next successful use', async () => {
    const at = await start();
    const key = await at.makeKey();
    const old = await currentOf(at, 'secret_mac');
    const next = await replaceKey('secret_mac', at);
    const wrong = { ...key, clientSecret: `${key.clientSecret}x` };
    assert.equal((await at.ask(wrong)).outcome, '401 invalid_client');
    assert.deepEqual(await hashedWith(at, key), [old]);
    await Promise.all(Array.from({ length: 20 }, () => at.issue(key)));
    await until(async () => (await hashedWith(at, key)).includes(next));
    await at.issue(key);
    assert.equal((await at.ask(wrong)).outcome, '401 invalid_client');
    assert.deepEqual(await eventsOf(at, 'key_secret_rehashed'), [`was the key ${old}`]);
    assert.equal((await secretsOf(at, await at.makeKey()))[0]?.keyId, next, 'new ones begin with it');
  });

  test('each of two live secrets is hashed again at its own use, and keeps its id and expiry', async () => {
    const at = await start();
    const first = await at.makeKey();
    const second = await at.rotateSecret(first, 90 * DAY_SECONDS * 1000);
    const before = await secretsOf(at, first);
    const old = await currentOf(at, 'secret_mac');
    const next = await replaceKey('secret_mac', at);
    await at.issue(first);
    await until(async () => (await hashedWith(at, first)).includes(next));
    assert.deepEqual(await hashedWith(at, first), [old, next], 'the one that was used, which is the older one');
    await at.issue(second);
    await until(async () => !(await hashedWith(at, first)).includes(old));
    const without = (secrets: Client['secrets']): readonly object[] =>
      secrets.map(({ secretId, createdAt, expiresAt }) => ({ secretId, createdAt, expiresAt }));
    assert.deepEqual(without(await secretsOf(at, first)), without(before));
    for (const key of [first, second]) await at.issue(key);
  });

  test("rehashing does not undo an operator's simultaneous change, and the next use tries again", async () => {
    const at = await start();
    let meanwhile: (() => Promise<unknown>) | undefined;
    const serving = await beside(at, {
      faulty: (store) => ({
        ...store,
        saveClient: async (client, consequences) => {
          await meanwhile?.();
          return await store.saveClient(client, consequences);
        },
      }),
    });
    const key = await at.makeKey();
    const next = await replaceKey('secret_mac', at, serving);
    let changed = false;
    meanwhile = async () => {
      meanwhile = undefined;
      await at.keys.update(key.clientId, { scopes: ['/ping.read'] });
      changed = true;
    };
    await serving.issue(key);
    await until(() => changed);
    assert.equal((await at.ask(key)).outcome, '400 invalid_scope');
    await until(async () => {
      await serving.issue(key, '/ping.read');
      return (await hashedWith(at, key)).includes(next);
    });
    assert.deepEqual((await at.keys.show(key.clientId)).scopes, ['/ping.read']);
  });

  test('an instance whose clock is behind accepts the new hash, and does not undo it', async () => {
    const ahead = await start();
    const clock = new TestClock();
    const behind = await start({ folder: ahead.folder, clock });
    const key = await ahead.makeKey();
    const next = await replaceKey('secret_mac', ahead, behind);
    clock.set(ahead.clock.now() - 5_000);
    await ahead.issue(key);
    await until(async () => (await hashedWith(ahead, key)).includes(next));
    assert.notEqual((await listIssuerKeys(behind.instance, 'secret_mac')).at(-1)?.state, 'hashing');
    for (let time = 0; time < 5; time++) await behind.issue(key);
    assert.deepEqual(await eventsOf(ahead, 'key_secret_rehashed').then(({ length }) => length), 1);
    assert.deepEqual(await hashedWith(ahead, key), [next]);
  });

  test('a store that cannot write delays no token, and the hash is renewed once it can', async () => {
    let away = true;
    const at = await start();
    const serving = await beside(at, {
      faulty: (store) => ({
        ...store,
        saveClient: (...given) => (away ? new Promise(() => undefined) : store.saveClient(...given)),
      }),
    });
    const keys = [await at.makeKey(), await at.makeKey()];
    const next = await replaceKey('secret_mac', at, serving);
    for (const key of keys.slice(0, 1)) for (let time = 0; time < 3; time++) await serving.issue(key);
    away = false;
    for (const key of keys.slice(1)) {
      await serving.issue(key);
      await until(async () => (await hashedWith(at, key)).includes(next));
    }
  });

  test('the old key is forgotten once no live secret is hashed with it, disabled API keys included', async () => {
    const at = await start();
    const [used, idle, off] = [await at.makeKey(), await at.makeKey(), await at.makeKey()];
    const rotated = await at.rotateSecret(used, 3_600_000);
    await at.keys.disable(off.clientId);
    const old = await currentOf(at, 'secret_mac');
    await replaceKey('secret_mac', at);
    at.clock.advance(2 * TOKEN_KEPT_SECONDS);
    await at.issue(rotated);
    await until(async () => (await eventsOf(at, 'key_secret_rehashed')).length === 1);
    const isKept = async (): Promise<boolean> => {
      await tendIssuerKeys(at.instance);
      await forgetSecretKeys(at.instance);
      return (await idsOf(at, 'secret_mac')).includes(old);
    };
    assert.equal(await isKept(), true);
    await at.issue(idle);
    await until(async () => (await eventsOf(at, 'key_secret_rehashed')).length === 2);
    assert.equal(await isKept(), true, 'for the disabled one, which may be enabled again');
    await at.keys.enable(off.clientId);
    await at.issue(off);
    await until(async () => (await eventsOf(at, 'key_secret_rehashed')).length === 3);
    assert.equal(await isKept(), false, 'the expired secret of the first key needs none');
    assert.deepEqual(await eventsOf(at, 'secret_key_forgotten'), [old]);
    for (const key of [rotated, idle, off]) await at.issue(key);
  });

  test('processes keep counting failures together, even if one started before the change and one after', async (t) => {
    const first = await start();
    const key = await first.makeKey();
    const serve = async (instance: Hallpass['instance']): Promise<() => Promise<number>> => {
      const settings = { ...instance.settings, addressFailuresPerMinute: 50 };
      const readiness = new Readiness(instance.store, instance.clock);
      const log = openServerLog(instance, { readiness });
      const more = { log, readiness, metrics: openMetrics('0.0.0'), shared: true };
      const { url, close } = await startPublicSide({ ...instance, settings }, more);
      t.after(close);
      const headers = { authorization: basicOf({ ...key, clientSecret: 'wrong' }) };
      const body = new URLSearchParams({ grant_type: 'client_credentials' });
      return async () => (await fetch(`${url}/oauth2/token`, { method: 'POST', headers, body })).status;
    };
    const early = await serve(first.instance);
    assert.equal(await early(), 401);
    await replaceKey('secret_mac', first);
    const late = await serve((await beside(first)).instance);
    for (let time = 0; time < 9; time++) assert.equal(await late(), 401);
    assert.equal(await early(), 401, 'the tenth against this key, which is as many as there may be');
    assert.equal(await early(), 429);
  });
});

suite('a key is removed', () => {
  test('a refresh key: its tokens are dead on every instance within a second, access tokens live on, and a new grant works', async () => {
    const one = await start();
    const other = await beside(one);
    const key = await one.makeKey();
    const { accessToken, refreshToken } = await one.issue(key);
    const second = tokensOf(await one.refresh(key, refreshToken));
    const lost = await currentOf(one, 'refresh_mac');
    const { instance } = one;
    const forge = (): string =>
      sealRefreshToken(
        {
          grantId: '019d5fd2-2b1a-7000-8000-000000000001',
          generation: 0,
          clientId: key.clientId,
          issuedAt: one.clock.seconds,
          expiresAt: one.clock.seconds + 10 ** 8,
          scope: '/accounts.write',
          audiences: [one.issuer],
        },
        stolen,
      );
    const stolen = instance.keys.refresh;
    assert.equal((await one.refresh(key, forge())).status, 200, 'while it is there');
    const price = await removeIssuerKey(instance, 'refresh_mac', lost);
    assert.deepEqual(price, { everything: false, apiKeys: 0, grants: 2, secrets: [] });
    for (const token of [refreshToken, second.refreshToken, forge()]) {
      assert.equal((await one.refresh(key, token)).outcome, '400 invalid_grant');
      await until(async () => !(await other.isActive(key, token)), 1_000);
    }
    await until(async () => (await other.refresh(key, second.refreshToken)).outcome === '400 invalid_grant', 1_000);
    for (const token of [accessToken, second.accessToken]) assert.equal(await other.isActive(key, token), true);
    assert.equal(await endsOfEverything(one), 0);
    const fresh = await one.issue(key);
    assert.equal((await one.refresh(key, fresh.refreshToken)).status, 200);
    assert.deepEqual(await eventsOf(one, 'refresh_key_removed'), [lost]);
  });

  test("a predecessor whose successor's key was removed is refused, and its grant is not revoked", async () => {
    const at = await start();
    const key = await at.makeKey();
    const { refreshToken: first } = await at.issue(key);
    const lost = await replaceKey('refresh_mac', at);
    const second = tokensOf(await at.refresh(key, first));
    assert.equal(keyIdOf(second.refreshToken), lost);
    assert.equal((await at.refresh(key, first)).status, 200, 'the answer once more');
    assert.equal(await at.isActive(key, first), true);
    await removeIssuerKey(at.instance, 'refresh_mac', lost);
    assert.equal((await at.refresh(key, first)).outcome, '400 invalid_grant');
    assert.equal(await at.isActive(key, first), false);
    assert.equal(await at.isActive(key, second.accessToken), true);
  });

  test('an opaque key: every token dies, in the feed too, whatever its date; new ones are issued at once', async () => {
    const at = await start();
    const key = await at.makeKey({ accessTokenFormat: 'opaque' });
    const api = await at.makeReader();
    const { accessToken } = await at.issue(key);
    const { instance, clock } = at;
    const claims = openSealedToken(instance.keys, accessToken);
    assert.ok(claims !== undefined);
    const ahead = { ...claims, iat: clock.seconds + 2_000, exp: clock.seconds + 3_600 };
    const forged = sealAccessToken(instance.keys, instance.random, ahead);
    const seen = (await at.introspect(api, forged)).body;
    assert.equal(seen['active'], true);
    const lost = await currentOf(at, 'access_seal');
    const { everything } = await removeIssuerKey(instance, 'access_seal', lost);
    assert.equal(everything, true);
    for (const token of [accessToken, forged]) assert.equal(await at.isActive(api, token), false);
    const { entries } = await instance.store.readRevocations({ limit: 10, now: clock.seconds });
    const before = entries.find(({ kind }) => kind === 'before')?.before ?? 0;
    assert.ok(Number(seen['iat']) < before, 'a guard that remembers the forged one hears of its end');
    assert.equal(await at.isActive(api, (await at.issue(key)).accessToken), true);
  });

  test('an opaque key that no API key uses can be removed without revoking anything', async () => {
    const at = await start();
    const key = await at.makeKey();
    const { accessToken, refreshToken } = await at.issue(key);
    const price = await removeIssuerKey(at.instance, 'access_seal', await currentOf(at, 'access_seal'));
    assert.deepEqual(price, { everything: false, apiKeys: 0, grants: 0, secrets: [] });
    assert.equal(await at.isActive(key, accessToken), true);
    assert.equal((await at.refresh(key, refreshToken)).status, 200);
    assert.equal(await endsOfEverything(at), 0);
  });

  test('a secret key: secrets still hashed with it are dead until rotated; the others live', async () => {
    const at = await start();
    const [idle, used] = [await at.makeKey(), await at.makeKey()];
    const old = await currentOf(at, 'secret_mac');
    const next = await replaceKey('secret_mac', at);
    await at.issue(used);
    await until(async () => (await hashedWith(at, used)).includes(next));
    const { accessToken } = await at.issue(used);
    const { secrets } = await removeIssuerKey(at.instance, 'secret_mac', old);
    assert.deepEqual(
      secrets.map(({ clientId }) => clientId),
      [idle.clientId],
    );
    assert.equal((await at.ask(idle)).outcome, '401 invalid_client');
    assert.equal(await at.isActive(used, accessToken), true);
    await at.issue(await at.rotateSecret(idle, 0));
  });

  test('the next key and a retired one can be removed, and one is always in use', async () => {
    for (const use of [...OTHERS, 'sign'] as const) {
      const at = await start();
      const retired = await currentOf(at, use);
      const current = await replaceKey(use, at);
      const { keyId: next } = await rotateIssuerKey(at.instance, use);
      await removeIssuerKey(at.instance, use, next);
      await removeIssuerKey(at.instance, use, retired);
      assert.deepEqual(await idsOf(at, use), [current], use);
      await removeIssuerKey(at.instance, use, current);
      const [substitute, ...more] = await idsOf(at, use);
      assert.ok(substitute !== undefined && substitute !== current && more.length === 0, use);
      await assert.rejects(removeIssuerKey(at.instance, use, current), { name: 'OperatorRefusal' });
    }
  });

  test('the one in use while someone else adds the next one at that moment: neither that nor a retired one takes its place', async () => {
    const at = await start();
    await replaceKey('refresh_mac', at);
    const lost = await currentOf(at, 'refresh_mac');
    const { instance } = at;
    at.clock.advance(5);
    const store = {
      ...instance.store,
      countGrantsSealedBy: async (...given: Parameters<typeof instance.store.countGrantsSealedBy>) => {
        at.clock.advance(1);
        await rotateIssuerKey(instance, 'refresh_mac');
        return await instance.store.countGrantsSealedBy(...given);
      },
    };
    const listedBefore = await beside(at);
    await removeIssuerKey({ ...listedBefore.instance, store }, 'refresh_mac', lost);
    assert.deepEqual(await statesOf(at, 'refresh_mac'), ['retired', 'sealing', 'next']);
  });

  test('a key of another use has no such id', async () => {
    const at = await start();
    for (const use of OTHERS) {
      const refused = { name: 'OperatorRefusal', code: 'issuer_key_unknown' };
      await assert.rejects(removeIssuerKey(at.instance, use, await currentOf(at, 'sign')), refused);
      await assert.rejects(showIssuerKey(at.instance, 'sign', await currentOf(at, use)), refused);
    }
  });

  test('a server that missed a change of the master key stops honouring removed keys', async () => {
    const [old, next] = [randomBytes(32).toString('base64url'), randomBytes(32).toString('base64url')];
    const forgotten = await start({ environment: { HALLPASS_MASTER_KEY: old } });
    const at = await beside(forgotten, { environment: { HALLPASS_MASTER_KEY: `${next} ${old}` } });
    const key = await at.makeKey({ accessTokenFormat: 'opaque' });
    const { accessToken, refreshToken } = await forgotten.issue(key);
    assert.equal(await forgotten.isActive(key, refreshToken), true);
    await rewrapKeys(at.instance);
    await assert.rejects(forgotten.instance.keys.reload(), { name: 'StoreUnusable' });
    assert.equal(await forgotten.isActive(key, refreshToken), true);
    for (const use of ['refresh_mac', 'access_seal'] as const) {
      await removeIssuerKey(at.instance, use, await currentOf(at, use));
    }
    await assert.rejects(forgotten.instance.keys.reload(), { name: 'StoreUnusable' });
    for (const token of [accessToken, refreshToken]) assert.equal(await forgotten.isActive(key, token), false);
    assert.equal((await forgotten.ask(key)).outcome, '503 temporarily_unavailable');
    await at.issue(key);
  });
});
