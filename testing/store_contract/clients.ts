import assert from 'node:assert/strict';
import { NOW, clientRecord, eventRecord, readFeed, revocationBefore } from './records.ts';
import type { StoreTest } from './contract.ts';

/** A use of a secret of the one client. */
const use = (secretId: string, usedAt: number) => ({ clientId: 'client', secretId, usedAt });

export function testClients(storeTest: StoreTest): void {
  const event = eventRecord('key_changed');

  storeTest('a client that was saved is found, by another process and after a restart too', async ({ open, close }) => {
    const [a, b] = [await open(), await open()];
    const client = clientRecord({ origins: ['https://app.example.com'], defaultScopes: ['/accounts.write'] });
    assert.equal(await a.saveClient(client, { event }), 'saved');
    assert.deepEqual(await a.findClient('client'), client);
    assert.deepEqual(await b.findClient('client'), client);
    await close(a);
    assert.deepEqual(await (await open()).findClient('client'), client);
  });

  storeTest('a client that nobody saved is not found', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event });
    assert.equal(await store.findClient('Client'), undefined);
    assert.equal(await store.findClient(''), undefined);
  });

  storeTest('nobody has a name that no database can hold: it is asked for like any other', async ({ open }) => {
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

  storeTest('nobody cannot be deleted or taken', async ({ open }) => {
    const store = await open();
    assert.equal(await store.deleteClient('', { event }), 'unknown');
    assert.equal(await store.saveClient(clientRecord({ clientId: '' }), { event }), 'changed_meanwhile');
    assert.equal(await store.findClient('anybody'), undefined);
  });

  storeTest('a client is made once: version 1 beside one that is there has changed meanwhile', async ({ open }) => {
    const store = await open();
    assert.equal(await store.saveClient(clientRecord(), { event }), 'saved');
    assert.equal(await store.saveClient(clientRecord({ name: 'another' }), { event }), 'changed_meanwhile');
    assert.equal((await store.findClient('client'))?.name, 'a key');
  });

  storeTest('a change of a client that was deleted and made anew under its id has come too late', async ({ open }) => {
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
    'a change has to follow the kept version: neither the same, nor one ahead, nor of nobody',
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

  storeTest('of two processes that change one version, one wins and its change stays', async ({ open }) => {
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

  storeTest('of two processes that make one client, one wins', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const outcomes = await Promise.all([a, b].map((store) => store.saveClient(clientRecord(), { event })));
    assert.deepEqual(outcomes.toSorted(), ['changed_meanwhile', 'saved']);
    assert.equal((await a.listEvents({ limit: 10 })).length, 1);
  });

  storeTest(
    'a change brings its event and revocations along; a change that is refused brings neither',
    async ({ open }) => {
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
    },
  );

  storeTest('a client that is deleted is gone with its event and revocations, everywhere', async ({ open }) => {
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

  storeTest(
    'a client made anew under an id that was deleted is the new one, to all who knew the old',
    async ({ open }) => {
      const [a, b] = [await open(), await open()];
      for (const name of ['first', 'second', 'third']) {
        // Of the same version each time.
        assert.equal(await a.saveClient(clientRecord({ name }), { event }), 'saved');
        for (const store of [a, b, a, b]) assert.equal((await store.findClient('client'))?.name, name);
        assert.equal(await b.deleteClient('client', { event }), 'deleted');
        for (const store of [a, b]) assert.equal(await store.findClient('client'), undefined);
      }
    },
  );

  storeTest('a client is not mistaken for its neighbours', async ({ open }) => {
    const store = await open();
    const ids = ['b', 'B', 'ba', 'b-', 'c'];
    for (const clientId of ids) await store.saveClient(clientRecord({ clientId, name: clientId }), { event });
    for (const clientId of ids) assert.equal((await store.findClient(clientId))?.name, clientId);
    for (const unknown of ['a', 'bb', 'b ', 'd', '\u{10FFFF}'])
      assert.equal(await store.findClient(unknown), undefined);
  });

  storeTest('what one caller does to a client that it was given is not seen by the next', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event });
    const found = await store.findClient('client');
    assert.ok(found !== undefined);
    assert.throws(() => Object.assign(found, { disabled: true }), TypeError);
    assert.throws(() => Object.assign(found.scopes, { 0: '/everything.write' }), TypeError);
    assert.deepEqual(await store.findClient('client'), clientRecord());
  });

  storeTest('deleting a client that is not there says so and leaves no trace', async ({ open }) => {
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

  storeTest('a client made again under a deleted id is still bound by what was revoked before', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event });
    await store.deleteClient('client', { event, revocations: [revocationBefore('client', NOW + 1)] });
    assert.equal(await store.saveClient(clientRecord(), { event }), 'saved');
    assert.equal(await store.findIssueNotBefore('client'), NOW + 1);
  });

  storeTest('a client may issue nothing dated before the latest stroke against it or against all', async ({ open }) => {
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
  });

  storeTest('pages of clients follow one another in the order of code points, each client once', async ({ open }) => {
    const store = await open();
    // Ids that a locale would order otherwise.
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
    // A page goes on after an id that has been deleted meanwhile.
    assert.equal((await store.listClients({ after: 'B0', limit: 1 }))[0]?.clientId, 'Ba');
  });

  storeTest('an origin is listed while some client that is not disabled lists it', async ({ open }) => {
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

  storeTest('the mark of a secret only moves forward, and each secret has its own', async ({ open }) => {
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

  storeTest('of marks of one secret in one call the latest stays, among any number of others', async ({ open }) => {
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
  });

  storeTest('the marks of a client are forgotten with it', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event });
    await store.markSecretsUsed([{ clientId: 'client', secretId: 'secret', usedAt: 1 }]);
    await store.deleteClient('client', { event });
    assert.deepEqual(await store.findSecretUses('client'), []);
  });

  storeTest('a mark that arrives after its client was deleted is not kept', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.saveClient(clientRecord(), { event });
    await a.deleteClient('client', { event });
    await b.markSecretsUsed([{ clientId: 'client', secretId: 'secret', usedAt: 1 }]);
    assert.deepEqual(await b.findSecretUses('client'), []);
  });
}
