import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { PATHS } from '@hallpass/protocol';
import { startHallpass as startOnRealClock } from '../../src/serving/index.ts';
import { readSettings } from '../../src/serving/settings/settings.ts';
import { makeFolder, makeStore, remarksOf, type Done, type Environment } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import {
  Answer,
  basicOf,
  decode,
  printForm,
  startHallpass,
  TestClock,
  tokensOf,
  until,
  type Key,
  type Params,
} from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const SCOPE = '/accounts.write';
const TOKEN = { grant_type: 'client_credentials', scope: SCOPE };
/** How soon a running server must honour a change by a command. */
const SOON_MS = 1_000;

/** A server in this process on the real clock, and the environment for commands on its store. */
interface Running {
  readonly url: string;
  readonly environment: Environment;
}

async function startServer(t: TestContext): Promise<Running> {
  const dataDir = makeFolder(t);
  const ports = { host: '127.0.0.1', port: 0, operatorPort: 0 } as const;
  const { url, close } = await startOnRealClock({ dataDir, logLevel: 'error', ...ports });
  t.after(close);
  return { url, environment: { HALLPASS_DATA_DIR: dataDir } };
}

type Document = Readonly<Record<string, unknown>>;

function documentOf({ code, stdout, stderr }: Done): Document {
  assert.equal(code, 0, stderr);
  const value: unknown = JSON.parse(stdout);
  assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value), stdout);
  return Object.fromEntries(Object.entries(value));
}

function listOf({ code, stdout, stderr }: Done): readonly Document[] {
  assert.equal(code, 0, stderr);
  const value: unknown = JSON.parse(stdout);
  assert.ok(Array.isArray(value), stdout);
  return value.map((item: unknown) => Object.fromEntries(Object.entries(Object(item))));
}

/** What a person reads. */
function textOf(done: Done): string {
  assert.equal(done.code, 0, done.stderr);
  assert.equal(remarksOf(done), '');
  return done.stdout;
}

function assertRefused({ code, stdout, stderr }: Done, says: RegExp): void {
  assert.equal(code, 1, stderr);
  assert.equal(stdout, '');
  assert.match(stderr, says);
  assert.doesNotMatch(stderr, /\n\s+at |node:internal/, 'no stack');
}

async function form({ url }: Running, path: string, params: Params, key?: Key): Promise<Answer> {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(key === undefined ? {} : { authorization: basicOf(key) }),
    },
    body: printForm(params),
  });
  return new Answer(response.status, response.headers, await response.text());
}

const ask = (at: Running, key: Key, scope = SCOPE): Promise<Answer> =>
  form(at, PATHS.token, { grant_type: 'client_credentials', scope }, key);

async function isActive(at: Running, key: Key, token: string): Promise<boolean> {
  const answer = await form(at, PATHS.introspect, { token }, key);
  assert.equal(answer.status, 200, answer.text);
  return answer.body['active'] === true;
}

async function publishedBy({ url }: Running): Promise<readonly unknown[]> {
  const document: unknown = await (await fetch(url + PATHS.jwks)).json();
  assert.ok(typeof document === 'object' && document !== null && 'keys' in document && Array.isArray(document.keys));
  return document.keys.map((jwk: unknown) => Object(jwk).kid);
}

const command =
  ({ environment }: Pick<Running, 'environment'>) =>
  (...args: readonly string[]): Promise<Done> =>
    runCommand(args, environment);

async function makeKey(at: Pick<Running, 'environment'>, ...more: readonly string[]): Promise<Key> {
  const done = await command(at)('keys', 'create', 'a key', '--scope', SCOPE, ...more, '--json');
  const { client_id: clientId, client_secret: clientSecret } = documentOf(done);
  return { clientId: String(clientId), clientSecret: String(clientSecret) };
}

suite('lifetimes of a key (contract §9, per key or server)', () => {
  for (const [what, accessTtlSeconds, wanted] of [
    ['shorter than the server', 60, 60],
    ['as long as the server', 900, 900],
    ['longer than the server', 3_600, 900],
  ] as const) {
    test(`an access token lifetime that is ${what}: the shorter one applies, at refresh too`, async () => {
      const at = await startHallpass();
      const key = await at.makeKey({ accessTtlSeconds });
      const first = await at.issue(key);
      assert.equal(first.expiresIn, wanted);
      const { iat, exp } = decode(first.accessToken).claims;
      assert.equal(Number(exp) - Number(iat), wanted);
      assert.equal(tokensOf(await at.refresh(key, first.refreshToken)).expiresIn, wanted);
      at.clock.advance(wanted - 1);
      assert.equal(await at.isActive(key, first.accessToken), true);
      at.clock.advance(1);
      assert.equal(await at.isActive(key, first.accessToken), false);
      await at.close();
    });
  }

  for (const [what, refreshTtlSeconds, wanted] of [
    ['shorter than the server', 1_800, 1_800],
    ['longer than the server', 7_200, 3_600],
  ] as const) {
    test(`an idle time that is ${what}: the shorter one applies, from each refresh on`, async () => {
      const at = await startHallpass({ environment: { HALLPASS_REFRESH_TTL_SECONDS: '3600' } });
      const key = await at.makeKey({ refreshTtlSeconds });
      const first = await at.issue(key);
      at.clock.advance(wanted - 10);
      const second = tokensOf(await at.refresh(key, first.refreshToken));
      at.clock.advance(wanted - 10);
      const third = tokensOf(await at.refresh(key, second.refreshToken));
      at.clock.advance(wanted);
      assert.equal((await at.refresh(key, third.refreshToken)).outcome, '400 invalid_grant');
      assert.equal(await at.isActive(key, third.accessToken), false);
      await at.close();
    });
  }

  for (const [what, server, own, wanted] of [
    ['shorter than the server', '7200', 3_600, 3_600],
    ['longer than the server', '3600', 7_200, 3_600],
    ['where the server has none', '', 3_600, 3_600],
    ["the server's, where the key has none", '3600', undefined, 3_600],
  ] as const) {
    test(`a maximum grant lifetime that is ${what}: the grant ends then, however often it is refreshed`, async () => {
      const at = await startHallpass({ environment: { HALLPASS_REFRESH_MAX_TTL_SECONDS: server } });
      const key = await at.makeKey(own === undefined ? {} : { refreshMaxTtlSeconds: own });
      const first = await at.issue(key);
      at.clock.advance(wanted - 10);
      const second = tokensOf(await at.refresh(key, first.refreshToken));
      assert.equal(second.expiresIn, 10, 'no access token outlives its grant');
      at.clock.advance(9);
      const third = tokensOf(await at.refresh(key, second.refreshToken));
      assert.equal(third.expiresIn, 1);
      at.clock.advance(1);
      assert.equal((await at.refresh(key, third.refreshToken)).outcome, '400 invalid_grant');
      assert.equal((await at.refresh(key, second.refreshToken)).outcome, '400 invalid_grant');
      assert.equal(await at.isActive(key, third.accessToken), false);
      await at.close();
    });
  }

  for (const [what, server, own, wanted] of [
    ['tighter than the server', '60', 10, 10],
    ['wider than the server', '10', 60, 10],
    ['where the server has none', '', 10, 10],
    ['0, strict', '60', 0, -1],
  ] as const) {
    test(`a refresh grace that is ${what}: the tighter one applies`, async () => {
      const at = await startHallpass({ environment: { HALLPASS_REFRESH_GRACE_SECONDS: server } });
      const key = await at.makeKey({ refreshGraceSeconds: own });
      for (const seconds of [wanted, wanted + 1]) {
        const first = await at.issue(key);
        const second = tokensOf(await at.refresh(key, first.refreshToken));
        at.clock.advance(Math.max(seconds, 0));
        const again = await at.refresh(key, first.refreshToken);
        if (seconds === wanted && wanted >= 0) assert.equal(tokensOf(again).refreshToken, second.refreshToken);
        else assert.equal(again.outcome, '400 invalid_grant');
      }
      await at.close();
    });
  }

  test("a server with tightened settings limits a key's wider ones once it is restarted", async () => {
    const clock = new TestClock();
    const before = await startHallpass({ clock });
    const key = await before.makeKey({ accessTtlSeconds: 600 });
    assert.equal((await before.issue(key)).expiresIn, 600);
    await before.close();
    const environment = { HALLPASS_ACCESS_TTL_SECONDS: '30' };
    const again = await startHallpass({ folder: before.folder, clock, environment });
    assert.equal((await again.issue(key)).expiresIn, 30);
    await again.close();
  });

  for (const [setting, value] of [
    ['HALLPASS_REFRESH_TTL_SECONDS', String(400 * 86_400 + 1)],
    ['HALLPASS_REFRESH_MAX_TTL_SECONDS', '0'],
    ['HALLPASS_REFRESH_MAX_TTL_SECONDS', String(3_650 * 86_400 + 1)],
    ['HALLPASS_REFRESH_MAX_TTL_SECONDS', '90d'],
    ['HALLPASS_REFRESH_MAXIMUM_TTL_SECONDS', '60'],
  ] as const) {
    test(`${setting}=${value} is refused when the settings are read`, () => {
      assert.throws(() => readSettings({ [setting]: value }), { name: 'BadSetting', message: new RegExp(setting) });
    });
  }

  test('a grant may live for ten years at most', () => {
    const longest = String(3_650 * 86_400);
    const { refreshMaxTtlSeconds } = readSettings({ HALLPASS_REFRESH_MAX_TTL_SECONDS: longest });
    assert.equal(refreshMaxTtlSeconds, 3_650 * 86_400);
    assert.equal(readSettings({}).refreshMaxTtlSeconds, undefined);
  });

  test('a number out of bounds is refused, both in keys create and in keys update', async () => {
    const at = await startHallpass();
    const key = await at.makeKey({ accessTtlSeconds: 60 });
    for (const [name, value] of [
      ['accessTtlSeconds', 0],
      ['accessTtlSeconds', 3_601],
      ['accessTtlSeconds', 1.5],
      ['accessTtlSeconds', Number.NaN],
      ['refreshTtlSeconds', 0],
      ['refreshTtlSeconds', 400 * 86_400 + 1],
      ['refreshMaxTtlSeconds', 0],
      ['refreshMaxTtlSeconds', 3_650 * 86_400 + 1],
      ['refreshGraceSeconds', -1],
      ['requestsPerSecond', 0],
      ['requestsPerSecond', Infinity],
    ] as const) {
      const refused = { name: 'OperatorRefusal', code: 'number_out_of_bounds', data: { field: name } };
      await assert.rejects(at.makeKey({ [name]: value }), refused, `${name} ${value}`);
      await assert.rejects(at.keys.update(key.clientId, { [name]: value }), refused, `${name} ${value}`);
    }
    assert.equal((await at.issue(key)).expiresIn, 60);
    await at.close();
  });
});

suite('settings changed by commands, on a running server', { concurrency: 3 }, () => {
  test('keys create takes lifetimes and a budget, and tokens follow them', async (t) => {
    const at = await startServer(t);
    const run = command(at);
    const lifetimes = [
      '--access-ttl',
      '5m',
      '--refresh-ttl',
      '12h',
      '--refresh-max-ttl',
      '90d',
      '--refresh-grace',
      '30s',
    ];
    const key = await makeKey(at, ...lifetimes, '--requests-per-second', '50');
    const shown = documentOf(await run('keys', 'show', key.clientId, '--json'));
    assert.deepEqual(
      ['access_ttl_seconds', 'refresh_ttl_seconds', 'refresh_max_ttl_seconds', 'refresh_grace_seconds'].map(
        (name) => shown[name],
      ),
      [300, 43_200, 7_776_000, 30],
    );
    assert.match(
      textOf(await run('keys', 'show', key.clientId)),
      /access tokens live\s+300 s[^]*grants end unused after\s+43200 s[^]*grants live at most\s+7776000 s/,
    );
    assert.equal(tokensOf(await ask(at, key)).expiresIn, 300);

    const made = ['keys', 'create', 'another', '--scope', SCOPE] as const;
    assert.match(textOf(await run(...made)), /gets refresh tokens[^]*hallpass keys update [\w-]+ --no-refresh/);
    assert.doesNotMatch(textOf(await run(...made, '--no-refresh')), /refresh/);
  });

  test('keys update changes what is named and nothing else, and tokens already issued stay valid', async (t) => {
    const at = await startServer(t);
    const run = command(at);
    const key = await makeKey(at, '--scope', '/ping.read', '--audience', 'https://api.example.com');
    const before = documentOf(await run('keys', 'show', key.clientId, '--json'));
    const { accessToken } = tokensOf(await ask(at, key));
    const update = ['keys', 'update', key.clientId, '--name', 'renamed', '--scope', '/ping.read'] as const;
    const changed = documentOf(await run(...update, '--json'));
    const { updated_at: at1, secrets: _, ...rest } = changed;
    const { updated_at: at0, secrets: __, ...was } = before;
    assert.deepEqual(rest, { ...was, name: 'renamed', scopes: ['/ping.read'] });
    assert.ok(String(at1) >= String(at0));
    await until(async () => (await ask(at, key)).outcome === '400 invalid_scope', SOON_MS);
    assert.equal((await ask(at, key, '/ping.read')).status, 200);
    assert.equal(await isActive(at, key, accessToken), true);
    const text = textOf(await run('keys', 'update', key.clientId, '--scope', SCOPE));
    assert.match(text, /Changed renamed[^]*keys revoke-tokens/);
    await until(async () => (await ask(at, key)).status === 200, SOON_MS);
    assertRefused(await run('keys', 'update', key.clientId), /Name at least one field to change/);
    assertRefused(await run('keys', 'update', 'nobody', '--name', 'x'), /no API key with the client_id/);
    assertRefused(await run('keys', 'update', key.clientId, '--scope', 'no scope'), /not a scope/);
    assertRefused(await run('keys', 'update', key.clientId, '--requests-per-second', 'many'), /whole number/);
    assert.equal((await ask(at, key)).status, 200, 'what was refused has changed nothing');
  });

  test("keys update takes every part of a policy, and can return a number to the server's default", async (t) => {
    const at = await startServer(t);
    const run = command(at);
    const key = await makeKey(at, '--access-ttl', '5m', '--requests-per-second', '50');
    const numbers = ['--access-ttl', 'server', '--refresh-ttl', '1h', '--requests-per-second', 'server'] as const;
    const switches = ['--no-refresh', '--opaque', '--require-dpop', '--mode', 'test'] as const;
    const changed = documentOf(await run('keys', 'update', key.clientId, ...numbers, ...switches, '--json'));
    const expected = {
      access_ttl_seconds: null,
      refresh_ttl_seconds: 3600,
      requests_per_second: null,
      refresh: false,
      access_token_format: 'opaque',
      require_dpop: true,
      mode: 'test',
    };
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((name) => [name, changed[name]])), expected);
    const kept = documentOf(await run('keys', 'show', key.clientId, '--json'));
    assert.equal(kept['access_ttl_seconds'], null, 'and it does not come back from what was kept');
    const back = ['--refresh', '--no-opaque', '--no-require-dpop'] as const;
    assert.equal(documentOf(await run('keys', 'update', key.clientId, ...back, '--json'))['require_dpop'], false);
    const tokens = tokensOf(await ask(at, key));
    assert.equal(tokens.expiresIn, 900);
    assert.notEqual(tokens.refreshToken, undefined);
    const unsaid = await run('keys', 'update', key.clientId, '--access-ttl', 'default');
    assert.equal(unsaid.code, 2);
    assert.match(unsaid.stderr, /A duration is a number/);
    assertRefused(await run('keys', 'update', key.clientId, '--access-ttl', '0s'), /whole number of seconds from 1/);
  });

  test('keys update --requests-per-second takes effect within a second', async (t) => {
    const at = await startServer(t);
    const key = await makeKey(at);
    const flood = async (): Promise<readonly string[]> => {
      const answers = await Promise.all(Array.from({ length: 10 }, () => ask(at, key)));
      return answers.map(({ outcome }) => outcome);
    };
    assert.deepEqual(new Set(await flood()), new Set(['200']));
    const update = ['keys', 'update', key.clientId, '--requests-per-second', '2', '--json'] as const;
    assert.equal(documentOf(await command(at)(...update))['requests_per_second'], 2);
    await until(async () => (await flood()).includes('429 rate_limited'), SOON_MS);
  });

  test('keys revoke-tokens: every token of the key is revoked at the acknowledgement; the key and others keep working', async (t) => {
    const at = await startServer(t);
    const run = command(at);
    const [key, other] = [await makeKey(at), await makeKey(at)];
    for (const flags of [['--json'], []]) {
      const [tokens, bystander] = [tokensOf(await ask(at, key)), tokensOf(await ask(at, other))];
      const done = await run('keys', 'revoke-tokens', key.clientId, ...flags);
      if (flags.length > 0) assert.deepEqual(documentOf(done), { client_id: key.clientId, tokens_revoked: true });
      else assert.match(textOf(done), /Ended every token/);
      assert.equal(await isActive(at, key, tokens.accessToken), false);
      const { refreshToken } = tokens;
      const refreshed = await form(at, PATHS.token, { grant_type: 'refresh_token', refresh_token: refreshToken }, key);
      assert.equal(refreshed.outcome, '400 invalid_grant');
      assert.equal(await isActive(at, other, bystander.accessToken), true);
      assert.equal(await isActive(at, key, tokensOf(await ask(at, key)).accessToken), true, 'new ones at once');
    }
    assertRefused(await run('keys', 'revoke-tokens', 'nobody'), /no API key with the client_id/);
  });

  test('keys set-public-keys: the new key works and the old one no longer does; a private or secret key is refused', async (t) => {
    const at = await startServer(t);
    const run = command(at);
    const folder = makeFolder(t);
    const file = (name: string, value: unknown): string => {
      const path = join(folder, name);
      writeFileSync(path, JSON.stringify(value));
      return path;
    };
    const [old, fresh] = [await Signer.make(), await Signer.make('EdDSA')];
    const { clientId } = await makeKey(at, '--public-keys', file('old.json', old.jwk));
    const clock = new TestClock();
    const asks = async (signer: Signer): Promise<string> => {
      clock.set(Date.now());
      return (await form(at, PATHS.token, { ...TOKEN, ...(await signer.assert({ issuer: at.url, clock }, clientId)) }))
        .outcome;
    };
    assert.deepEqual([await asks(old), await asks(fresh)], ['200', '401 invalid_client']);
    const set = (path: string, ...flags: readonly string[]): Promise<Done> =>
      run('keys', 'set-public-keys', clientId, path, ...flags);
    const both = documentOf(await set(file('both.json', { keys: [fresh.jwk, old.jwk] }), '--json'));
    assert.ok(Array.isArray(both['public_keys']) && both['public_keys'].length === 2);
    await until(async () => (await asks(fresh)) === '200', SOON_MS);
    assert.equal(await asks(old), '200', 'both, for as long as both are listed');
    assert.match(textOf(await set(file('new.json', fresh.jwk))), /Changed the public keys/);
    await until(async () => (await asks(old)) === '401 invalid_client', SOON_MS);
    assert.equal(await asks(fresh), '200');
    const mark = 'c2VjcmV0LXRoYXQtbXVzdC1ub3QtYmUtc2hvd24';
    const leaked = await set(file('private.json', { ...fresh.jwk, d: mark }));
    assertRefused(leaked, /PRIVATE key/);
    assert.ok(!leaked.stderr.includes(mark));
    assertRefused(await set(file('none.json', { keys: [] })), /one or two public keys/);
    assertRefused(await set(file('three.json', { keys: [old.jwk, fresh.jwk, old.jwk] })), /at most 2/);
    assertRefused(await set(join(folder, 'missing.json')), /cannot be read/);
    const secretive = await makeKey(at);
    const path = file('again.json', fresh.jwk);
    assertRefused(await run('keys', 'set-public-keys', secretive.clientId, path), /has a secret/);
    assert.equal(await asks(fresh), '200', 'what was refused has changed nothing');
  });

  test('revoke-everything revokes every token of every key, and nothing with --dry-run', async (t) => {
    const at = await startServer(t);
    const run = command(at);
    const keys = [await makeKey(at), await makeKey(at)];
    for (const flags of [['--json'], []]) {
      const issued = await Promise.all(keys.map(async (key) => ({ key, ...tokensOf(await ask(at, key)) })));
      const alive = (): Promise<readonly boolean[]> =>
        Promise.all(issued.map(({ key, accessToken }) => isActive(at, key, accessToken)));
      const tried = await run('revoke-everything', '--dry-run', ...flags);
      if (flags.length > 0) assert.deepEqual(documentOf(tried), { revoked: false, api_keys: 2, refreshed_grants: 0 });
      else assert.match(textOf(tried), /Would end every token of 2 API keys, 0 refreshed grants among them/);
      assert.deepEqual(await alive(), [true, true]);
      const done = await run('revoke-everything', '--yes', ...flags);
      if (flags.length > 0) {
        const { revoked, before } = documentOf(done);
        assert.equal(revoked, true);
        assert.ok(Math.abs(Number(before) - Date.now() / 1000) < 10, 'NumericDate');
      } else assert.match(textOf(done), /Ended every token that was issued before/);
      assert.deepEqual(await alive(), [false, false]);
      for (const key of keys) assert.equal(await isActive(at, key, tokensOf(await ask(at, key)).accessToken), true);
    }
  });

  test('signing-keys rotate publishes a key within a second, and remove withdraws it within a second', async (t) => {
    const at = await startServer(t);
    const run = (...args: readonly string[]): Promise<Done> => command(at)('signing-keys', ...args);
    const key = await makeKey(at);
    const { accessToken } = tokensOf(await ask(at, key));
    const [first, ...none] = listOf(await run('list', '--json'));
    assert.deepEqual(none, []);
    const kid = String(first?.['kid']);
    assert.deepEqual(Object.keys(first ?? {}), ['kid', 'alg', 'state', 'created_at', 'active_from']);
    assert.deepEqual([first?.['alg'], first?.['state']], ['ES256', 'signing']);
    assert.equal(decode(accessToken).header['kid'], kid);

    const next = documentOf(await run('rotate', '--json'));
    assert.equal(next['state'], 'next');
    const { created_at: madeAt, active_from: activeFrom } = next;
    assert.equal(Date.parse(String(activeFrom)) - Date.parse(String(madeAt)), 600_000);
    await until(async () => (await publishedBy(at)).includes(next['kid']), SOON_MS);
    assert.equal(decode(tokensOf(await ask(at, key)).accessToken).header['kid'], kid);
    assertRefused(await run('rotate'), /There is already a next signing key/);
    assert.match(
      textOf(await run('list')),
      new RegExp(`${kid}\\s+ES256\\s+signing[^]*${String(next['kid'])}\\s+ES256\\s+next`),
    );

    const price = { api_keys: 1, refreshed_grants: 0 };
    assert.deepEqual(documentOf(await run('remove', kid, '--dry-run', '--json')), { kid, removed: false, ...price });
    assert.match(textOf(await run('remove', kid, '--dry-run')), /Would remove/);
    for (const flags of [['--dry-run'], ['--dry-run', '--json'], []]) {
      assertRefused(await run('remove', 'AAAAAAAAAAA', ...flags), /There is no signing key/);
    }
    assert.equal(await isActive(at, key, accessToken), true);
    assert.ok((await publishedBy(at)).includes(kid));

    assert.deepEqual(documentOf(await run('remove', kid, '--yes', '--json')), { kid, removed: true, ...price });
    assert.equal(await isActive(at, key, accessToken), false);
    await until(async () => !(await publishedBy(at)).includes(kid), SOON_MS);
    const fresh = tokensOf(await ask(at, key)).accessToken;
    const substitute = String(decode(fresh).header['kid']);
    assert.ok(substitute !== kid && substitute !== next['kid']);
    assert.equal(await isActive(at, key, fresh), true);
    assert.match(textOf(await run('remove', substitute, '--yes')), /Every token from before is dead/);
    assert.equal(await isActive(at, key, fresh), false);
  });

  for (const [name, state, price, after] of [
    ['refresh', 'sealing', { refreshed_grants: 1 }, /Every refresh token sealed with it is dead: 1 refreshed grant at/],
    [
      'secret',
      'hashing',
      { secrets: 1 },
      /secrets? hashed with it can no longer be used[^]*hallpass keys rotate-secret/,
    ],
    ['opaque', 'sealing', { every_token: true, api_keys: 1, refreshed_grants: 1 }, /Every token from before is dead/],
  ] as const) {
    test(`${name}-keys list, show, rotate and remove: the consequences are shown first, and happen on a running server`, async (t) => {
      const at = await startServer(t);
      const run = (...args: readonly string[]): Promise<Done> => command(at)(`${name}-keys`, ...args);
      const key = await makeKey(at, '--opaque');
      const tokens = tokensOf(await ask(at, key));
      const refresh = async (): Promise<string> =>
        (await form(at, PATHS.token, { grant_type: 'refresh_token', refresh_token: tokens.refreshToken }, key)).outcome;
      assert.equal(await refresh(), '200');
      const [first] = listOf(await run('list', '--json'));
      const kid = String(first?.['kid']);
      assert.equal(first?.['state'], state);
      const counted = (document: Document): Document =>
        Array.isArray(document['secrets']) && name === 'secret'
          ? { ...document, secrets: document['secrets'].filter((one) => Object(one).client_id === key.clientId).length }
          : document;
      const shown = counted(documentOf(await run('show', kid, '--json')));
      assert.deepEqual(shown, { ...first, ...price });
      const next = documentOf(await run('rotate', '--json'));
      assert.equal(next['state'], 'next');
      assertRefused(await run('rotate'), new RegExp(`There is already a next ${name} key: ${String(next['kid'])}`));
      assert.match(textOf(await run('list')), new RegExp(`${kid}.*${state}[^]*${String(next['kid'])}.*next`));
      assert.match(textOf(await run('show', kid)), new RegExp(`${state}[^]*If you remove it`));
      const dry = counted(documentOf(await run('remove', kid, '--dry-run', '--json')));
      assert.deepEqual(dry, { kid, removed: false, ...price });
      assert.match(textOf(await run('remove', kid, '--dry-run')), /Would remove the \w+ key/);
      for (const verb of ['show', 'remove']) assertRefused(await run(verb, 'AAAAAAAAAAA'), /There is no \w+ key/);
      // A secret that is used once the next key has taken over is hashed anew with that one, and outlives the first.
      if (name !== 'secret') assert.equal(await refresh(), '200', 'nothing was done yet');
      const text = textOf(await run('remove', kid, '--yes'));
      assert.match(text, /Removed the \w+ key/);
      assert.match(text, after);
      const dead = { refresh: '400 invalid_grant', secret: '401 invalid_client', opaque: '400 invalid_grant' }[name];
      await until(async () => (await refresh()) === dead, SOON_MS);
    });
  }

  test('signing-keys rotate says, as text, from when the new key signs', async (t) => {
    const environment = await makeStore(t);
    const text = textOf(await command({ environment })('signing-keys', 'rotate'));
    assert.match(text, /Published the signing key \S+\. It signs from \S+/);
  });
});
