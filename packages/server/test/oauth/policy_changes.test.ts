import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manageApiKeys } from '../../src/operator/api_keys.ts';
import { START, startHallpass, TestClock, tokensOf, type Answer, type Key } from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const ping = (accessToken: string): Promise<Answer> => hallpass.ping(accessToken);
const ask = (key: Key): Promise<Answer> =>
  hallpass.form('/oauth2/token', { grant_type: 'client_credentials', scope: '/ping.read' }, { key });

test('disabling a key ends all its tokens at once: introspection, refresh, /ping (contract §4)', async () => {
  const key = await hallpass.makeKey();
  const api = await hallpass.makeReader();
  const other = await hallpass.makeKey();
  const first = await hallpass.issue(key, '/ping.read');
  const second = tokensOf(await hallpass.refresh(key, first.refreshToken));
  const bystander = await hallpass.issue(other, '/ping.read');
  await hallpass.keys.disable(key.clientId);
  for (const { accessToken } of [first, second]) {
    assert.equal(await hallpass.isActive(api, accessToken), false);
    assert.equal((await ping(accessToken)).outcome, '401 invalid_token');
  }
  assert.equal((await ask(key)).outcome, '401 invalid_client');
  assert.equal((await hallpass.refresh(key, second.refreshToken)).outcome, '401 invalid_client');
  assert.equal((await hallpass.revoke(key, second.refreshToken)).outcome, '401 invalid_client');
  assert.equal(await hallpass.isActive(api, bystander.accessToken), true, 'and no one else');
});

for (const milliseconds of [0, 1, 500, 999]) {
  test(`enabled again ${milliseconds} ms into the same second: new tokens work at once, old ones stay dead`, async () => {
    const key = await hallpass.makeKey();
    hallpass.clock.set(Math.ceil(hallpass.clock.now() / 1000) * 1000 + milliseconds);
    const old = await hallpass.issue(key, '/ping.read');
    await hallpass.keys.disable(key.clientId);
    await hallpass.keys.enable(key.clientId);
    const fresh = await hallpass.issue(key, '/ping.read');
    assert.equal((await ping(fresh.accessToken)).status, 200);
    assert.equal(await hallpass.isActive(key, fresh.accessToken), true);
    assert.equal((await hallpass.refresh(key, fresh.refreshToken)).status, 200);
    assert.equal((await ping(old.accessToken)).outcome, '401 invalid_token');
    assert.equal(await hallpass.isActive(key, old.accessToken), false);
    assert.equal((await hallpass.refresh(key, old.refreshToken)).outcome, '400 invalid_grant');
  });
}

test('a key that was never disabled does not wait for anything', async () => {
  const before = hallpass.clock.now();
  await hallpass.issue(await hallpass.makeKey());
  assert.equal(hallpass.clock.now(), before);
});

test('a request that waits for the second after a disable looks at the key anew', async () => {
  const key = await hallpass.makeKey();
  await hallpass.keys.disable(key.clientId);
  await hallpass.keys.enable(key.clientId);
  class DisablingClock extends TestClock {
    override readonly sleep = async (milliseconds: number): Promise<void> => {
      this.advance(milliseconds / 1000);
      await hallpass.keys.disable(key.clientId);
    };
  }
  const clock = new DisablingClock();
  clock.set(hallpass.clock.now());
  const beside = await startHallpass({ folder: hallpass.folder, clock });
  const params = { grant_type: 'client_credentials', scope: '/ping.read' };
  assert.equal((await beside.form('/oauth2/token', params, { key })).outcome, '401 invalid_client');
});

test('disable, enable and disable again: every generation of tokens is dead', async () => {
  const key = await hallpass.makeKey();
  const api = await hallpass.makeReader();
  const tokens = [await hallpass.issue(key)];
  for (let round = 0; round < 3; round++) {
    await hallpass.keys.disable(key.clientId);
    await hallpass.keys.enable(key.clientId);
    tokens.push(await hallpass.issue(key));
  }
  await hallpass.keys.disable(key.clientId);
  for (const { accessToken } of tokens) assert.equal(await hallpass.isActive(api, accessToken), false);
});

test('deleting a key ends its tokens, and the pair imported again does not bring them back (contract §4)', async () => {
  const pair = { clientId: 'imported-1', clientSecret: 'abcdefghijklmnopqrstuvwxyz' };
  await hallpass.makeKey({ imported: { ...pair, allowWeak: false } });
  const old = await hallpass.issue(pair, '/ping.read');
  const refreshed = tokensOf(await hallpass.refresh(pair, old.refreshToken));
  await hallpass.keys.delete(pair.clientId);
  assert.equal((await ask(pair)).outcome, '401 invalid_client');
  assert.equal((await ping(old.accessToken)).outcome, '401 invalid_token');
  await hallpass.makeKey({ imported: { ...pair, allowWeak: false } });
  for (const { accessToken, refreshToken } of [old, refreshed]) {
    assert.equal((await ping(accessToken)).outcome, '401 invalid_token');
    assert.equal((await hallpass.refresh(pair, refreshToken)).outcome, '400 invalid_grant');
  }
  const fresh = await hallpass.issue(pair, '/ping.read');
  assert.equal((await ping(fresh.accessToken)).status, 200);
});

test('a deleted key is gone from the list, and a second one of the same name is another', async () => {
  const key = await hallpass.makeKey();
  await hallpass.keys.delete(key.clientId);
  await assert.rejects(hallpass.keys.show(key.clientId), { name: 'OperatorRefusal' });
  await assert.rejects(hallpass.keys.delete(key.clientId), { name: 'OperatorRefusal' });
  assert.equal(
    (await hallpass.keys.list()).some(({ clientId }) => clientId === key.clientId),
    false,
  );
});

test('a rotated secret: both work within the overlap, and the old one ends with it, to the second', async () => {
  const key = await hallpass.makeKey();
  const renewed = await hallpass.rotateSecret(key, 60_000);
  const old = await ask(key);
  assert.equal(old.status, 200);
  assert.equal((await ask(renewed)).status, 200);
  hallpass.clock.advance(59);
  assert.equal((await ask(key)).status, 200);
  hallpass.clock.advance(1);
  assert.equal((await ask(key)).outcome, '401 invalid_client');
  hallpass.clock.advance(1);
  assert.equal((await ask(key)).outcome, '401 invalid_client');
  assert.equal((await ask(renewed)).status, 200);
  assert.equal(await hallpass.isActive(renewed, tokensOf(old).accessToken), true, 'its tokens live on');
});

test('a secret rotated with an overlap of 0 s ends at once', async () => {
  const key = await hallpass.makeKey();
  const renewed = await hallpass.rotateSecret(key, 0);
  assert.equal((await ask(key)).outcome, '401 invalid_client');
  assert.equal((await ask(renewed)).status, 200);
});

test('rotated twice: no more than two secrets are live, the newest (contract §6)', async () => {
  const key = await hallpass.makeKey();
  const second = await hallpass.rotateSecret(key, 3_600_000);
  const third = await hallpass.rotateSecret(key, 3_600_000);
  assert.equal((await ask(key)).outcome, '401 invalid_client');
  for (const renewed of [second, third]) assert.equal((await ask(renewed)).status, 200);
  assert.equal((await hallpass.keys.show(key.clientId)).secrets.length, 2);
});

test('a later rotation with a longer overlap does not prolong a secret that was given an end', async () => {
  const key = await hallpass.makeKey();
  const second = await hallpass.rotateSecret(key, 10_000);
  await hallpass.rotateSecret(key, 5_000);
  hallpass.clock.advance(5);
  assert.equal((await ask(second)).outcome, '401 invalid_client');
});

test('what is shown of a key holds no secret and no hash', async () => {
  const key = await hallpass.makeKey();
  await hallpass.rotateSecret(key, 60_000);
  const text = JSON.stringify([await hallpass.keys.show(key.clientId), await hallpass.keys.list()]);
  assert.doesNotMatch(text, /"hash"/);
  assert.ok(!text.includes(key.clientSecret));
});

test('every change is kept with its event, and none with a secret', async () => {
  const key = await hallpass.makeKey();
  await hallpass.rotateSecret(key, 0);
  await hallpass.keys.disable(key.clientId);
  await hallpass.keys.enable(key.clientId);
  await hallpass.keys.delete(key.clientId);
  const events = await hallpass.instance.store.listEvents({ limit: 1000 });
  assert.deepEqual(
    events.filter(({ clientId }) => clientId === key.clientId).map(({ kind }) => kind),
    // A key that is deleted is disabled first, so that a deletion that gets no answer can be repeated.
    ['key_deleted', 'key_disabled', 'key_enabled', 'key_disabled', 'key_secret_rotated', 'key_created'],
  );
  assert.ok(!JSON.stringify(events).includes(key.clientSecret));
  assert.ok(hallpass.clock.now() > START);
});

test('a key is disabled whatever else changes it at that moment', async () => {
  const key = await hallpass.makeKey();
  const { store } = hallpass.instance;
  let left = 2;
  // Such as a hash that is renewed at a use of the secret.
  const busy = {
    ...store,
    saveClient: async (...[client, consequences]: Parameters<typeof store.saveClient>) => {
      if (left-- > 0) await hallpass.changeKey(key, { updatedAt: left });
      return await store.saveClient(client, consequences);
    },
  };
  const operator = manageApiKeys({ ...hallpass.instance, store: busy });
  assert.equal((await operator.disable(key.clientId)).disabled, true);
  assert.equal((await ask(key)).status, 401);
});

test('the same pair cannot be imported over a living key', async () => {
  const key = await hallpass.makeKey();
  await assert.rejects(hallpass.makeKey({ imported: { ...key, allowWeak: false } }), { code: 'key_exists' });
  assert.equal((await ask(key)).status, 200);
});
