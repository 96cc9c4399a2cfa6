import assert from 'node:assert/strict';
import { NOW, clientRecord, eventRecord, readFeed, revocationBefore } from './records.ts';
import type { StoreTest } from './store_test.ts';

/** A use of one of the client's secrets. */
const use = (secretId: string, usedAt: number) => ({ clientId: 'client', secretId, usedAt });

/** API keys: versions, pages, origins and secret uses. */
export function testClients(storeTest: StoreTest): void {
  const event = eventRecord('key_changed');

  storeTest('a saved client is found, by another process and after a restart too', async ({ open, close }) => {
    const [a, b] = [await open(), await open()];
    const client = clientRecord({ origins: ['https://app.example.com'], defaultScopes: ['/accounts.write'] });
    assert.equal(await a.saveClient(client, { event }), 'saved');
    assert.deepEqual(await a.findClient('client'), client);
    assert.deepEqual(await b.findClient('client'), client);
    await close(a);
    assert.deepEqual(await (await open()).findClient('client'), client);
  });

  storeTest('an unknown client is not found', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event });
    assert.equal(await store.findClient('Client'), undefined);
    assert.equal(await store.findClient(''), undefined);
  });

  storeTest('an id that no database can hold is simply not found', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord({ origins: ['https://app.example.com'] }), { event });
    for (const hostile of ['cli\0ent', 'client\0', '\0', 'client\uD800', '\u{10FFFF}']) {
      assert.equal(await store.findClient(hostile), undefined);
      assert.equal(await store.findIssueNotBefore(hostile), 0);
      assert.equal(await store.isOriginListed(`https://app.example.com${hostile}`), false);
      assert.equal(await store.deleteClient(hostile, { event }), 'unknown');
    }
    assert.notEqual(await store.findClient('client'), undefined);
  });

  storeTest('the placeholder client can be neither deleted nor taken', async ({ open }) => {
    const store = await open();
    assert.equal(await store.deleteClient('', { event }), 'unknown');
    assert.equal(await store.saveClient(clientRecord({ clientId: '' }), { event }), 'changed_meanwhile');
    assert.equal(await store.findClient('anybody'), undefined);
  });

  storeTest('a client is created once: version 1 of an existing client is refused', async ({ open }) => {
    const store = await open();
    assert.equal(await store.saveClient(clientRecord(), { event }), 'saved');
    assert.equal(await store.saveClient(clientRecord({ name: 'another' }), { event }), 'changed_meanwhile');
    assert.equal((await store.findClient('client'))?.name, 'a key');
  });

  storeTest('a change of a client that was deleted and recreated is refused', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event });
    await store.deleteClient('client', { event });
    const anew = clientRecord({ name: 'anew', createdAt: clientRecord().createdAt + 1 });
    await store.saveClient(anew, { event });
    assert.equal(await store.saveClient(clientRecord({ version: 2, name: 'old' }), { event }), 'changed_meanwhile');
    assert.deepEqual(await store.findClient('client'), anew);
    assert.equal(await store.saveClient({ ...anew, version: 2, name: 'next' }, { event }), 'saved');
  });

  storeTest(
    'a change must be based on the stored version: not the same, not one ahead, and not of an unknown client',
    async ({ open }) => {
      const store = await open();
      await store.saveClient(clientRecord(), { event });
      assert.equal(await store.saveClient(clientRecord({ version: 3 }), { event }), 'changed_meanwhile');
      assert.equal(await store.saveClient(clientRecord({ version: 2, name: 'second' }), { event }), 'saved');
      assert.equal(await store.saveClient(clientRecord({ version: 2, name: 'lost' }), { event }), 'changed_meanwhile');
      assert.equal(
        await store.saveClient(clientRecord({ clientId: 'nobody', version: 2 }), { event }),
        'changed_meanwhile',
      );
      assert.equal((await store.findClient('client'))?.name, 'second');
      assert.equal(await store.findClient('nobody'), undefined);
    },
  );

  storeTest('of two processes that change one version, one wins and its change is stored', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.saveClient(clientRecord(), { event });
    for (let version = 2; version < 30; version++) {
      const outcomes = await Promise.all([
        a.saveClient(clientRecord({ version, name: `a ${version}` }), { event }),
        b.saveClient(clientRecord({ version, name: `b ${version}` }), { event }),
      ]);
      assert.deepEqual(outcomes.toSorted(), ['changed_meanwhile', 'saved']);
      const winner = outcomes[0] === 'saved' ? 'a' : 'b';
      assert.equal((await a.findClient('client'))?.name, `${winner} ${version}`);
    }
  });

  storeTest('of two processes that create one client, one wins', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const outcomes = await Promise.all([a, b].map((store) => store.saveClient(clientRecord(), { event })));
    assert.deepEqual(outcomes.toSorted(), ['changed_meanwhile', 'saved']);
    assert.equal((await a.listEvents({ limit: 10 })).length, 1);
  });

  storeTest('a change stores its event and revocations; a refused change stores neither', async ({ open }) => {
    const store = await open();
    const revocations = [revocationBefore('client', NOW + 1)];
    await store.saveClient(clientRecord(), { event: eventRecord('made') });
    const refused = await store.saveClient(clientRecord(), { event: eventRecord('refused'), revocations });
    assert.equal(refused, 'changed_meanwhile');
    assert.deepEqual(
      (await store.listEvents({ limit: 10 })).map(({ kind }) => kind),
      ['made'],
    );
    assert.deepEqual((await readFeed(store)).ids, []);
    assert.equal(await store.findIssueNotBefore('client'), 0);

    await store.saveClient(clientRecord({ version: 2, disabled: true }), {
      event: eventRecord('disabled'),
      revocations,
    });
    assert.deepEqual(
      (await store.listEvents({ limit: 10 })).map(({ kind }) => kind),
      ['disabled', 'made'],
    );
    assert.deepEqual((await readFeed(store)).ids, ['client']);
    assert.equal(await store.findIssueNotBefore('client'), NOW + 1);
  });

  storeTest('deleting a client stores its event and revocations, and every process sees it', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.saveClient(clientRecord({ origins: ['https://app.example.com'] }), { event: eventRecord('made') });
    const revocations = [revocationBefore('client', NOW + 1)];
    assert.equal(await a.deleteClient('client', { event: eventRecord('deleted'), revocations }), 'deleted');
    assert.equal(await b.findClient('client'), undefined);
    assert.deepEqual(await b.listClients({ limit: 10 }), []);
    assert.equal(await b.isOriginListed('https://app.example.com'), false);
    assert.deepEqual(
      (await b.listEvents({ limit: 10 })).map(({ kind }) => kind),
      ['deleted', 'made'],
    );
    assert.deepEqual((await readFeed(b)).ids, ['client']);
  });

  storeTest('a client recreated under a deleted id replaces the old one in every process', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    for (const name of ['first', 'second', 'third']) {
      // The version is the same each time.
      assert.equal(await a.saveClient(clientRecord({ name }), { event }), 'saved');
      for (const store of [a, b, a, b]) assert.equal((await store.findClient('client'))?.name, name);
      assert.equal(await b.deleteClient('client', { event }), 'deleted');
      for (const store of [a, b]) assert.equal(await store.findClient('client'), undefined);
    }
  });

  storeTest('a client is not mistaken for its neighbours', async ({ open }) => {
    const store = await open();
    const ids = ['b', 'B', 'ba', 'b-', 'c'];
    for (const clientId of ids) await store.saveClient(clientRecord({ clientId, name: clientId }), { event });
    for (const clientId of ids) assert.equal((await store.findClient(clientId))?.name, clientId);
    for (const unknown of ['a', 'bb', 'b ', 'd', '\u{10FFFF}'])
      assert.equal(await store.findClient(unknown), undefined);
  });

  storeTest('a caller cannot change the client that the next caller gets', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event });
    const found = await store.findClient('client');
    assert.ok(found !== undefined);
    assert.throws(() => Object.assign(found, { disabled: true }), TypeError);
    assert.throws(() => Object.assign(found.scopes, { 0: '/everything.write' }), TypeError);
    assert.deepEqual(await store.findClient('client'), clientRecord());
  });

  storeTest('deleting an unknown client says so and stores nothing', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event: eventRecord('made') });
    const revocations = [revocationBefore('other', NOW + 1)];
    assert.equal(await store.deleteClient('other', { event: eventRecord('deleted'), revocations }), 'unknown');
    assert.deepEqual(
      (await store.listEvents({ limit: 10 })).map(({ kind }) => kind),
      ['made'],
    );
    assert.deepEqual((await readFeed(store)).ids, []);
  });

  storeTest('a client recreated under a deleted id is still bound by earlier revocations', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event });
    await store.deleteClient('client', { event, revocations: [revocationBefore('client', NOW + 1)] });
    assert.equal(await store.saveClient(clientRecord(), { event }), 'saved');
    assert.equal(await store.findIssueNotBefore('client'), NOW + 1);
  });

  storeTest(
    'a client may issue nothing dated before the latest revocation of all its tokens or of everything',
    async ({ open }) => {
      const store = await open();
      await store.saveClient(clientRecord(), { event });
      await store.revoke([revocationBefore('other', NOW + 9)]);
      assert.equal(await store.findIssueNotBefore('client'), 0);
      await store.revoke([revocationBefore('client', NOW + 1)]);
      assert.equal(await store.findIssueNotBefore('client'), NOW + 1);
      await store.revoke([revocationBefore('*', NOW + 5)]);
      assert.equal(await store.findIssueNotBefore('client'), NOW + 5);
      await store.revoke([revocationBefore('client', NOW + 7)]);
      assert.equal(await store.findIssueNotBefore('client'), NOW + 7);
    },
  );

  storeTest('pages list each client once, ordered by code point', async ({ open }) => {
    const store = await open();
    // A locale would order these ids differently.
    const ids = ['-a', '0', 'B', 'Ba', '_', 'a', 'b', 'ba'];
    for (const clientId of ids.toReversed()) await store.saveClient(clientRecord({ clientId }), { event });
    const first = await store.listClients({ limit: 3 });
    assert.deepEqual(
      first.map(({ clientId }) => clientId),
      ids.slice(0, 3),
    );
    const second = await store.listClients({ after: 'B', limit: 4 });
    assert.deepEqual(
      second.map(({ clientId }) => clientId),
      ids.slice(3, 7),
    );
    assert.deepEqual(
      (await store.listClients({ after: 'b', limit: 4 })).map(({ clientId }) => clientId),
      ['ba'],
    );
    assert.deepEqual(await store.listClients({ after: 'ba', limit: 4 }), []);
    // A page may start after an id that no longer exists.
    assert.equal((await store.listClients({ after: 'B0', limit: 1 }))[0]?.clientId, 'Ba');
  });

  storeTest('an origin is listed while an enabled client lists it', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const origin = 'https://app.example.com';
    const one = clientRecord({ clientId: 'one', origins: [origin, 'https://www.example.com'] });
    await a.saveClient(one, { event });
    await a.saveClient(clientRecord({ clientId: 'two', origins: [origin] }), { event });
    assert.equal(await b.isOriginListed(origin), true);
    assert.equal(await b.isOriginListed('https://app.example.com:8443'), false);

    await a.saveClient({ ...one, disabled: true, version: 2 }, { event });
    assert.equal(await b.isOriginListed(origin), true);
    assert.equal(await b.isOriginListed('https://www.example.com'), false);
    await a.deleteClient('two', { event });
    assert.equal(await b.isOriginListed(origin), false);

    await a.saveClient({ ...one, version: 3, origins: ['https://new.example.com'] }, { event });
    assert.equal(await b.isOriginListed(origin), false);
    assert.equal(await b.isOriginListed('https://new.example.com'), true);
  });

  storeTest('the last use of a secret only moves forward, per secret', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.saveClient(clientRecord(), { event });
    await a.markSecretsUsed([use('first', 5_000), use('second', 1_000)]);
    await b.markSecretsUsed([use('first', 4_000), use('second', 2_000)]);
    const uses = await a.findSecretUses('client');
    assert.deepEqual(
      uses.toSorted((one, other) => one.secretId.localeCompare(other.secretId)),
      [use('first', 5_000), use('second', 2_000)],
    );
    assert.deepEqual(await a.findSecretUses('other'), []);
  });

  storeTest(
    'of several uses of a secret in one call the latest is stored, among any number of others',
    async ({ open }) => {
      const [a, b] = [await open(), await open()];
      await a.saveClient(clientRecord(), { event });
      const others = Array.from({ length: 600 }, (_, at) => use(`secret-${at}`, at));
      await Promise.all([
        a.markSecretsUsed([use('same', 2), ...others, use('same', 3), use('same', 1)]),
        b.markSecretsUsed([...others.toReversed(), { clientId: 'nobody', secretId: 'secret', usedAt: 1 }]),
      ]);
      const uses = new Map((await b.findSecretUses('client')).map(({ secretId, usedAt }) => [secretId, usedAt]));
      assert.equal(uses.size, 601);
      assert.equal(uses.get('same'), 3);
      assert.equal(uses.get('secret-599'), 599);
      assert.deepEqual(await a.findSecretUses('nobody'), []);
    },
  );

  storeTest('the uses of a deleted client are forgotten', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event });
    await store.markSecretsUsed([{ clientId: 'client', secretId: 'secret', usedAt: 1 }]);
    await store.deleteClient('client', { event });
    assert.deepEqual(await store.findSecretUses('client'), []);
  });

  storeTest('a use that arrives after its client was deleted is not stored', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.saveClient(clientRecord(), { event });
    await a.deleteClient('client', { event });
    await b.markSecretsUsed([{ clientId: 'client', secretId: 'secret', usedAt: 1 }]);
    assert.deepEqual(await b.findSecretUses('client'), []);
  });
}
