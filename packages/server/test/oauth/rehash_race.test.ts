import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hexOf } from '../../../../testing/client/foreign_hashes.ts';
import { startHallpass, type Hallpass } from '../../../../testing/server/server.ts';

test('a key that is deleted and imported again during a rehash of its old secret keeps only the new secret', async () => {
  const clientId = 'partner';
  const [old, next] = ['old-zQ3kVb8Ls0Tn6Wm4Xr2Yp1', 'new-zQ3kVb8Ls0Tn6Wm4Xr2Yp1'];
  const wanted = (clientSecret: string): object => ({
    imported: { clientId, clientSecretHash: `sha256:${hexOf(clientSecret)}`, allowWeak: false },
  });
  const at: { hallpass?: Hallpass } = {};
  const hallpass = await startHallpass({
    faulty: (store) => ({
      ...store,
      saveClient: async (client, consequences) => {
        // Between the reading of the record and its change.
        if (consequences.event.kind === 'key_secret_rehashed' && at.hallpass !== undefined) {
          const { keys, clock, makeKey } = at.hallpass;
          delete at.hallpass;
          await keys.delete(clientId);
          clock.advance(10);
          await makeKey(wanted(next));
        }
        return await store.saveClient(client, consequences);
      },
    }),
  });
  await hallpass.makeKey(wanted(old));
  at.hallpass = hallpass;
  const ask = async (clientSecret: string): Promise<string> =>
    (
      await hallpass.form(
        '/oauth2/token',
        { grant_type: 'client_credentials', scope: '/accounts.write' },
        { key: { clientId, clientSecret } },
      )
    ).outcome;
  await ask(old);
  assert.equal(await ask(old), '401 invalid_client');
  assert.equal(await ask(next), '200');
});
