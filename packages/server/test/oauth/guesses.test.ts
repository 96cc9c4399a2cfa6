/**
 * What a right secret and a wrong one get while somebody guesses (contract §9, §10, ADR 17): from the same address, at
 * imported secrets, and through a guard that passes keys on.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CLIENT_ASSERTION_TYPE } from '@hallpass/protocol';
import { hashSync } from 'bcryptjs';
import { StoreUnavailable, type Store } from '../../src/store/store.ts';
import { serve } from '../../../../testing/process/command.ts';
import { hydrasHash } from '../../../../testing/client/foreign_hashes.ts';
import {
  basicOf,
  startHallpass,
  until,
  type Answer,
  type Hallpass,
  type Key,
} from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const TOKEN = { grant_type: 'client_credentials', scope: '/accounts.write' };
const BEHIND = { HALLPASS_TRUSTED_PROXIES: '127.0.0.1' };
const PLACEHOLDER_CLIENT_ID = { clientId: 'nobody', clientSecret: 'not-the-secret-of-anybody-at-all' };
/** A guesser and partners share this one, a proxy's say. */
const SHARED = '203.0.113.7';

type Headers = Readonly<Record<string, string>>;

const failing = (bound: number): Headers => ({ ...BEHIND, HALLPASS_ADDRESS_FAILURES_PER_MINUTE: String(bound) });
const from = (address: string): Headers => ({ 'x-forwarded-for': address });
const wrong = ({ clientId }: Key, at = 0): Key => ({ clientId, clientSecret: `guess-number-${at}-of-very-many` });

function ask(hallpass: Hallpass, key: Key, headers: Headers = from(SHARED)): Promise<Answer> {
  return hallpass.form('/oauth2/token', TOKEN, { key, headers });
}

/** Outcomes of so many guesses, each another one. */
async function guess(hallpass: Hallpass, key: Key, times: number, headers?: Headers): Promise<readonly string[]> {
  const outcomes: string[] = [];
  for (let at = 0; at < times; at++) outcomes.push((await ask(hallpass, wrong(key, at), headers)).outcome);
  return outcomes;
}

const FAILED = '401 invalid_client';
const LIMITED = '429 rate_limited';

test('/ping and the feed admit a correct key from an address with too many failures, and limit further failures', async () => {
  const hallpass = await startHallpass({ environment: failing(5) });
  const key = await hallpass.makeKey({ resourceServerFor: [hallpass.issuer] });
  for (const path of ['/ping', '/oauth2/revocations?after=']) {
    const get = (by: Key): Promise<Answer> =>
      hallpass.request(path, { headers: { authorization: basicOf(by), ...from(path) } });
    for (let at = 0; at < 5; at++)
      assert.equal((await get({ ...PLACEHOLDER_CLIENT_ID, clientId: `nobody-${at}` })).status, 401);
    assert.equal((await get(PLACEHOLDER_CLIENT_ID)).status, 429);
    assert.equal((await get(wrong(key))).status, 429);
    assert.equal((await get(key)).status, 200);
  }
});

test('a correct assertion is admitted from such an address, and a wrong one is 429', async () => {
  const hallpass = await startHallpass({ environment: failing(5) });
  const [signer, stranger] = [await Signer.make(), await Signer.make()];
  const { clientId } = await hallpass.makeKey({ publicKeys: [signer.jwk] });
  const askBy = async (by: Signer): Promise<Answer> =>
    await hallpass.form(
      '/oauth2/token',
      { ...TOKEN, ...(await by.assert(hallpass, clientId)) },
      { headers: from(SHARED) },
    );
  for (let at = 0; at < 5; at++) assert.equal((await askBy(stranger)).outcome, FAILED);
  assert.equal((await askBy(stranger)).outcome, LIMITED);
  const malformed = { client_assertion_type: CLIENT_ASSERTION_TYPE, client_assertion: 'x' };
  const answer = await hallpass.form('/oauth2/token', { ...TOKEN, ...malformed }, { headers: from(SHARED) });
  assert.equal(answer.outcome, LIMITED);
  assert.equal((await askBy(signer)).status, 200);
});

suite('an imported secret', () => {
  const importKey = async (hallpass: Hallpass, clientId: string, clientSecret: string): Promise<Key> => {
    const hash = clientId.startsWith('slow') ? hashSync(clientSecret, 4) : hydrasHash(clientSecret);
    const imported = { clientId, clientSecretHash: hash, allowWeak: false };
    await hallpass.keys.create({ name: 'imported', scopes: ['/accounts.write'], imported });
    return { clientId, clientSecret };
  };
  const strong = (name: string): string => `${name}-zQ3kVb8Ls0Tn6Wm4Xr2Yp1`;
  /** Whether it was verified, and so hashed anew. */
  const wasVerified = async (hallpass: Hallpass, { clientId }: Key): Promise<boolean> => {
    const client = await hallpass.instance.store.findClient(clientId);
    return client?.secrets[0]?.foreign === undefined;
  };

  test('is first used from an address that failed at other keys as often as it likes', async () => {
    const hallpass = await startHallpass({ environment: failing(10) });
    const key = await importKey(hallpass, 'slow', strong('slow'));
    const ordinary = await hallpass.makeKey();
    for (let at = 0; at < 30; at++) await ask(hallpass, { ...PLACEHOLDER_CLIENT_ID, clientId: `nobody-${at}` });
    await guess(hallpass, ordinary, 30);
    assert.equal((await ask(hallpass, PLACEHOLDER_CLIENT_ID)).outcome, LIMITED);
    assert.equal((await ask(hallpass, key)).status, 200);
    assert.equal((await ask(hallpass, key)).status, 200);
  });

  test('that has not been used is not verified after a fifth of the bound against it from one address: from elsewhere, or a minute later, it is', async () => {
    const hallpass = await startHallpass({ environment: failing(10) });
    const [key, other] = [
      await importKey(hallpass, 'slow', strong('slow')),
      await importKey(hallpass, 'b', strong('b')),
    ];
    assert.deepEqual(await guess(hallpass, key, 3), [FAILED, FAILED, LIMITED]);
    const answer = await ask(hallpass, key);
    assert.equal(answer.outcome, LIMITED);
    assert.match(answer.header('retry-after') ?? '', /^[1-9][0-9]?$/);
    assert.equal(await wasVerified(hallpass, key), false);
    assert.equal((await ask(hallpass, other)).status, 200);
    hallpass.clock.advance(60);
    assert.equal((await ask(hallpass, key)).status, 200);
    assert.deepEqual(await guess(hallpass, key, 3), [FAILED, FAILED, LIMITED]);
    assert.equal((await ask(hallpass, key)).status, 200, 'once used it is like any other');
    const third = await importKey(hallpass, 'c', strong('c'));
    await guess(hallpass, third, 3);
    assert.equal((await ask(hallpass, third, from('203.0.113.8'))).status, 200);
  });

  test('is not verified after the bound of guesses at imported ones from one address, over many keys', async () => {
    const hallpass = await startHallpass({ environment: failing(5) });
    for (let at = 0; at < 5; at++) await guess(hallpass, await importKey(hallpass, `p${at}`, strong('p')), 1);
    const key = await importKey(hallpass, 'last', strong('last'));
    assert.equal((await ask(hallpass, key)).outcome, LIMITED);
    assert.equal(await wasVerified(hallpass, key), false);
    assert.equal((await ask(hallpass, PLACEHOLDER_CLIENT_ID)).outcome, LIMITED, 'as every other failure from there');
    assert.equal((await ask(hallpass, key, from('203.0.113.8'))).status, 200);
  });

  test('that a person may have chosen stays bounded after its first use, also where the address is full of other failures', async () => {
    const hallpass = await startHallpass({ environment: failing(10) });
    const weak = await importKey(hallpass, 'weak', 'hunter2');
    assert.equal((await ask(hallpass, weak)).status, 200);
    for (let at = 0; at < 20; at++) await ask(hallpass, { ...PLACEHOLDER_CLIENT_ID, clientId: `nobody-${at}` });
    assert.equal((await ask(hallpass, weak)).status, 200, 'failures at other keys are no guesses at this one');
    assert.deepEqual(await guess(hallpass, weak, 2), [LIMITED, LIMITED]);
    assert.equal((await ask(hallpass, weak)).outcome, LIMITED);
    assert.equal((await ask(hallpass, weak, from('203.0.113.8'))).status, 200);
    const renewed = await hallpass.rotateSecret(weak, 0);
    assert.equal((await ask(hallpass, renewed)).status, 200, 'a new secret is never held up');
  });

  test('that is disabled is refused like any other failure, right or wrong, blocked or not', async () => {
    const hallpass = await startHallpass({ environment: failing(10) });
    const key = await importKey(hallpass, 'slow', strong('slow'));
    await hallpass.keys.disable(key.clientId);
    const outcomes = [];
    for (let at = 0; at < 3; at++) outcomes.push((await ask(hallpass, key)).outcome);
    assert.deepEqual(outcomes, await guess(hallpass, PLACEHOLDER_CLIENT_ID, 3, from('203.0.113.8')));
  });
});

suite('a guard that passes on the keys of its callers', () => {
  const api = async (hallpass: Hallpass): Promise<Key> => await hallpass.makeReader();
  const reported = (guard: Key, caller?: string): Headers => ({
    ...from(SHARED),
    'hallpass-guard': basicOf(guard),
    ...(caller === undefined ? {} : { 'hallpass-caller': caller }),
  });

  test('is not charged for their failures, and each caller is bounded alone; right keys are let in whoever guesses', async () => {
    const hallpass = await startHallpass({ environment: failing(10) });
    const [guard, partner] = [await api(hallpass), await hallpass.makeKey()];
    const guesser = reported(guard, '198.51.100.1');
    for (let at = 0; at < 10; at++) {
      assert.equal(
        (await ask(hallpass, { ...PLACEHOLDER_CLIENT_ID, clientId: `nobody-${at}` }, guesser)).outcome,
        FAILED,
      );
    }
    assert.equal((await ask(hallpass, PLACEHOLDER_CLIENT_ID, guesser)).outcome, LIMITED);
    assert.equal((await ask(hallpass, partner, guesser)).status, 200);
    assert.equal((await ask(hallpass, PLACEHOLDER_CLIENT_ID, reported(guard, '198.51.100.2'))).outcome, FAILED);
    assert.equal((await ask(hallpass, PLACEHOLDER_CLIENT_ID, reported(guard))).outcome, FAILED);
    assert.equal(
      (await ask(hallpass, PLACEHOLDER_CLIENT_ID)).outcome,
      FAILED,
      'nor the address that the guard asks from',
    );
    assert.equal(
      (await ask(hallpass, PLACEHOLDER_CLIENT_ID, from('198.51.100.1'))).outcome,
      FAILED,
      'nor that address by itself',
    );
    const ping = await hallpass.request('/ping', {
      headers: { authorization: basicOf(PLACEHOLDER_CLIENT_ID), ...guesser },
    });
    assert.equal(ping.outcome, LIMITED);
  });

  test('is itself bounded: addresses that it makes up are good for ten times the bound, and no more', async () => {
    const hallpass = await startHallpass({ environment: failing(2) });
    const [guard, other] = [await api(hallpass), await api(hallpass)];
    const fail = (by: Key, at: number): Promise<Answer> =>
      ask(hallpass, PLACEHOLDER_CLIENT_ID, reported(by, `198.51.100.${at}`));
    for (let at = 0; at < 20; at++) assert.equal((await fail(guard, at)).outcome, FAILED, String(at));
    assert.equal((await fail(guard, 100)).outcome, LIMITED);
    assert.equal((await fail(other, 100)).outcome, FAILED, 'another guard is not concerned');
    assert.equal((await ask(hallpass, await hallpass.makeKey(), reported(guard, '198.51.100.9'))).status, 200);
  });

  for (const [what, make] of [
    ['with a wrong secret', async (hallpass: Hallpass) => wrong(await api(hallpass))],
    ['that nobody knows', async () => PLACEHOLDER_CLIENT_ID],
    ['that is no resource server', async (hallpass: Hallpass) => await hallpass.makeKey()],
    [
      'that is disabled',
      async (hallpass: Hallpass) => {
        const key = await api(hallpass);
        await hallpass.keys.disable(key.clientId);
        return key;
      },
    ],
  ] as const) {
    test(`a report by a key ${what} is not believed: made-up addresses do not help a guesser`, async () => {
      const hallpass = await startHallpass({ environment: failing(10) });
      const liar = await make(hallpass);
      const outcomes: string[] = [];
      for (let at = 0; at < 12; at++) {
        const key = { ...PLACEHOLDER_CLIENT_ID, clientId: `nobody-${at}` };
        outcomes.push((await ask(hallpass, key, reported(liar, `198.51.100.${at}`))).outcome);
      }
      // The reports are failures as well: two of them count, which is the bound against one key.
      assert.equal(outcomes.filter((outcome) => outcome === FAILED).length, 8, outcomes.join(', '));
      assert.equal(outcomes.at(-1), LIMITED);
      assert.equal((await ask(hallpass, PLACEHOLDER_CLIENT_ID)).outcome, LIMITED);
      const partner = await hallpass.makeKey();
      assert.equal((await ask(hallpass, partner, reported(liar, '198.51.100.1'))).status, 200);
    });
  }

  test('fields that are no report at all change nothing for who asks alone', async () => {
    const hallpass = await startHallpass({ environment: failing(2) });
    for (const more of [{ 'hallpass-caller': '198.51.100.1' }, { 'hallpass-guard': 'x' }, { 'hallpass-guard': '' }]) {
      const address = `203.0.113.${Object.values(more)[0]?.length}`;
      await ask(hallpass, PLACEHOLDER_CLIENT_ID, { ...from(address), ...more });
      await ask(hallpass, { ...PLACEHOLDER_CLIENT_ID, clientId: 'nobody-2' }, { ...from(address), ...more });
      assert.equal((await ask(hallpass, PLACEHOLDER_CLIENT_ID, from(address))).outcome, LIMITED);
    }
  });
});

test('while the store is away, a limited guesser does not learn which keys were used a moment ago', async () => {
  let away = false;
  const leaving = (store: Store): Store => ({
    ...store,
    findClient: async (clientId) => {
      if (away) throw new StoreUnavailable('The store is away for this test.');
      return await store.findClient(clientId);
    },
  });
  const hallpass = await startHallpass({ environment: failing(5), faulty: leaving });
  const key = await hallpass.makeKey({ requestsPerSecond: 2 });
  assert.equal((await ask(hallpass, key)).status, 200);
  for (let at = 0; at < 6; at++) await ask(hallpass, { ...PLACEHOLDER_CLIENT_ID, clientId: `nobody-${at}` });
  away = true;
  assert.equal((await ask(hallpass, PLACEHOLDER_CLIENT_ID)).outcome, '503 temporarily_unavailable');
  assert.equal((await ask(hallpass, wrong(key))).outcome, '503 temporarily_unavailable');
  assert.equal((await ask(hallpass, key)).status, 200);
  assert.equal((await ask(hallpass, key)).outcome, LIMITED, 'but that its budget is spent it does learn');
  away = false;
});

async function noticedAt(operatorUrl: string): Promise<string | undefined> {
  const text = await (await fetch(`${operatorUrl}/metrics`)).text();
  return /^hallpass_untrusted_forwarding (\d)$/m.exec(text)?.[1];
}

test('an untrusted proxy is noticed: once in the log, without its values, and in a metric', async (t) => {
  const hallpass = await serve(t);
  const operators = /operators on (\S+)\/metrics/.exec(hallpass.stdout())?.[1] ?? '';
  const metric = (): Promise<string | undefined> => noticedAt(operators);
  await fetch(`${hallpass.url}/health/live`);
  await fetch(`${operators}/health/live`, { headers: from('198.51.100.77') });
  assert.equal(await metric(), '0');
  assert.equal(hallpass.stderr(), '');
  for (const headers of [{ forwarded: 'for=198.51.100.77' }, from('198.51.100.77'), from('198.51.100.78')]) {
    await fetch(`${hallpass.url}/health/live`, { headers });
  }
  await until(() => hallpass.stderr().includes('HALLPASS_TRUSTED_PROXIES'));
  assert.equal(await metric(), '1');
  assert.equal(hallpass.stderr().trim().split('\n').length, 1);
  assert.ok(!hallpass.stderr().includes('198.51.100'));
});

test('a trusted proxy is not reported', async () => {
  const hallpass = await startHallpass({ environment: { HALLPASS_TRUSTED_PROXIES: '10.0.0.0/8, ::1, 127.0.0.0/8' } });
  await hallpass.request('/health/live', { headers: from('198.51.100.77') });
  assert.equal(await noticedAt(hallpass.operatorUrl), '0');
});
