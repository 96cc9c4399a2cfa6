/** The store away (contract, Many instances): what goes on, for how long, and what is refused; and that it comes back by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientCopies, COPY_SECONDS_MAX } from '../../src/oauth/clients/client_copies.ts';
import { READINESS_MS } from '../../src/oauth/endpoints/readiness.ts';
import { StoreUnavailable, type Store } from '../../src/store/store.ts';
import {
  decode,
  startHallpass,
  tokensOf,
  type Answer,
  type Hallpass,
  type Key,
} from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

let away = false;

/** Every verb of a store fails while it is away. */
function leaving(store: Store): Store {
  return new Proxy(store, {
    get: (target, name, receiver) => {
      const verb: unknown = Reflect.get(target, name, receiver);
      if (typeof verb !== 'function' || name === 'watchRevocations' || name === 'close') return verb;
      return (...given: readonly unknown[]): unknown =>
        away
          ? Promise.reject(new StoreUnavailable('The store is away for this test.'))
          : Reflect.apply(verb, target, given);
    },
  });
}

const hallpass = await startHallpass({ faulty: leaving });
const ASK = { grant_type: 'client_credentials', scope: '/ping.read' };
const ask = (key: Key, more = {}, at: Hallpass = hallpass): Promise<Answer> =>
  at.form('/oauth2/token', { ...ASK, ...more }, { key });
const COPY_MS_MAX = COPY_SECONDS_MAX * 1000;
const UNAVAILABLE = '503 temporarily_unavailable';

async function whileAway<Result>(work: () => Promise<Result>): Promise<Result> {
  away = true;
  try {
    return await work();
  } finally {
    away = false;
  }
}

test('a key that asked a moment ago still gets tokens that need no write, up to five seconds after (contract)', async () => {
  const key = await hallpass.makeKey();
  await hallpass.issue(key);
  const readAt = hallpass.clock.now();
  await whileAway(async () => {
    hallpass.clock.advance(COPY_MS_MAX / 1000);
    const answer = await ask(key);
    assert.equal(answer.status, 200, answer.text);
    const { accessToken, expiresIn } = tokensOf(answer);
    const { iat, exp } = decode(accessToken).claims;
    assert.equal(iat, Math.floor(readAt / 1000), 'dated when the key was read');
    assert.equal(Number(exp) - hallpass.clock.seconds, expiresIn, 'and says how long it lives');
    hallpass.clock.advance(0.001);
    assert.equal((await ask(key)).outcome, UNAVAILABLE);
  });
  assert.equal((await ask(key)).status, 200, 'and goes on when the store is back');
});

test('how old a copy may be is a setting, and with 0 nothing is issued while the store is away', async () => {
  for (const [seconds, outcomes] of [
    ['0', [UNAVAILABLE, UNAVAILABLE]],
    ['2', ['200', UNAVAILABLE]],
  ] as const) {
    const at = await startHallpass({ faulty: leaving, environment: { HALLPASS_AWAY_SECONDS: seconds } });
    const key = await at.makeKey();
    await at.issue(key);
    await whileAway(async () => {
      assert.equal((await ask(key, {}, at)).outcome, outcomes[0]);
      at.clock.advance(3);
      assert.equal((await ask(key, {}, at)).outcome, outcomes[1]);
    });
    assert.equal((await ask(key, {}, at)).status, 200);
  }
});

test('tokens from a copy are good when the store is back, and refresh', async () => {
  const key = await hallpass.makeKey();
  await hallpass.issue(key);
  const tokens = tokensOf(await whileAway(() => ask(key)));
  assert.equal(await hallpass.isActive(key, tokens.accessToken), true);
  assert.equal((await hallpass.refresh(key, tokens.refreshToken)).status, 200);
});

test('a key that was disabled by another instance meanwhile: its tokens from a copy are dead (contract §4)', async () => {
  const key = await hallpass.makeKey();
  const api = await hallpass.makeReader();
  await hallpass.issue(key);
  hallpass.clock.advance(2);
  const tokens = await whileAway(async () => {
    // The operator's commands reach the store; this instance does not.
    await hallpass.keys.disable(key.clientId);
    return tokensOf(await ask(key));
  });
  assert.equal(await hallpass.isActive(api, tokens.accessToken), false);
  await hallpass.keys.enable(key.clientId);
  assert.equal(await hallpass.isActive(api, tokens.accessToken), false, 'for good');
  assert.equal((await hallpass.refresh(key, tokens.refreshToken)).outcome, '400 invalid_grant');
});

test('while the store is away nobody learns which keys there are: unknown, wrong secret, never seen are all 503', async () => {
  const [seen, unseen] = [await hallpass.makeKey(), await hallpass.makeKey()];
  await hallpass.issue(seen);
  await whileAway(async () => {
    assert.equal((await ask({ ...seen, clientSecret: 'wrong' })).outcome, UNAVAILABLE);
    assert.equal((await ask({ clientId: 'unknown', clientSecret: 'wrong' })).outcome, UNAVAILABLE);
    assert.equal((await ask(unseen)).outcome, UNAVAILABLE);
    assert.equal((await ask(seen)).status, 200);
  });
});

test('everything else is 503 with Retry-After, and nothing of it has happened (contract)', async () => {
  const key = await hallpass.makeKey();
  const signer = await Signer.make();
  const signing = await hallpass.makeKey({ publicKeys: [signer.jwk] });
  const { accessToken, refreshToken } = await hallpass.issue(key);
  const assertion = { ...ASK, ...(await signer.assert(hallpass, signing.clientId)) };
  assert.equal((await hallpass.form('/oauth2/token', assertion)).status, 200);
  const again = { ...ASK, ...(await signer.assert(hallpass, signing.clientId)) };
  const dpop = await signer.prove({ url: `${hallpass.issuer}/oauth2/token`, clock: hallpass.clock });
  const exchange = {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: accessToken,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  };
  await whileAway(async () => {
    const answers = [
      await hallpass.refresh(key, refreshToken),
      await hallpass.revoke(key, accessToken),
      await hallpass.revoke(key, 'unknown'),
      await hallpass.introspect(key, accessToken),
      await hallpass.introspect(key, 'unknown'),
      await hallpass.form('/oauth2/token', exchange, { key }),
      await hallpass.form('/oauth2/token', again),
      await hallpass.form('/oauth2/token', ASK, { key, headers: { dpop } }),
      await hallpass.ping(accessToken),
    ];
    for (const answer of answers) {
      assert.equal(answer.outcome, UNAVAILABLE);
      assert.match(answer.header('retry-after') ?? '', /^[1-9][0-9]*$/);
    }
    assert.equal((await hallpass.request('/health/ready')).status, 503);
    assert.equal((await hallpass.request('/health/live')).status, 200);
  });
  hallpass.clock.advance(READINESS_MS / 1000);
  assert.equal((await hallpass.request('/health/ready')).status, 200);
  assert.equal(await hallpass.isActive(key, accessToken), true, 'nothing was revoked');
  assert.equal((await hallpass.form('/oauth2/token', again)).status, 200, 'the assertion was not used up');
  assert.equal((await hallpass.form('/oauth2/token', ASK, { key, headers: { dpop } })).status, 200, 'nor the proof');
  assert.equal((await hallpass.refresh(key, refreshToken)).status, 200, 'nor the refresh token');
});

test('the rules hold by a copy as ever: scopes, origins, and what was asked wrongly', async () => {
  const key = await hallpass.makeKey({ origins: ['https://app.example.com'] });
  await hallpass.issue(key);
  await whileAway(async () => {
    assert.equal((await ask(key, { scope: '/nothing.read' })).outcome, '400 invalid_scope');
    assert.equal((await ask(key, { grant_type: 'password' })).outcome, '400 unsupported_grant_type');
    const evil = await hallpass.form('/oauth2/token', ASK, { key, headers: { origin: 'https://evil.example' } });
    assert.equal(evil.outcome, UNAVAILABLE, 'a refusal of the page may be wrong by now');
    const listed = await hallpass.form('/oauth2/token', ASK, { key, headers: { origin: 'https://app.example.com' } });
    assert.equal(listed.status, 200);
    assert.equal(listed.header('access-control-allow-origin'), 'https://app.example.com');
  });
});

test('copies are of the clients that asked in the last five seconds, and no more', async () => {
  const copies = new ClientCopies(COPY_SECONDS_MAX);
  const key = await hallpass.makeKey();
  const client = await hallpass.instance.store.findClient(key.clientId);
  assert.ok(client !== undefined);
  for (let at = 0; at < 100_000; at += 10) {
    copies.remember({ client: { ...client, clientId: `c${at}` }, issueNotBefore: 0, at });
  }
  const found = Array.from({ length: 10_000 }, (_, index) => copies.find(`c${index * 10}`, 0)).filter(Boolean);
  assert.equal(found.length, COPY_MS_MAX / 10 + 1);
});
