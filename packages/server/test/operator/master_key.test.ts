/** The master key: where it comes from, and how it is replaced while instances serve (contract, Many instances). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { isWeakKey } from '../../src/oauth/keys/weak_key.ts';
import { listMasterKeys, rewrapKeys } from '../../src/operator/master_key.ts';
import { rotateIssuerKey } from '../../src/operator/issuer_keys.ts';
import { StoreUnusable } from '../../src/store/store.ts';
import { makeFolder, makeStore, type Done } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { startHallpass, tokensOf, type Hallpass } from '../../../../testing/server/server.ts';

const newKey = (): string => randomBytes(32).toString('base64url');
const [A, B] = [newKey(), newKey()];

const start = (masterKey: string, on?: Hallpass): Promise<Hallpass> =>
  startHallpass({
    environment: { HALLPASS_ISSUER: 'http://127.0.0.1:8080', HALLPASS_MASTER_KEY: masterKey },
    ...(on === undefined ? {} : { folder: on.folder, clock: on.clock }),
  });
const usesOf = async (at: Hallpass): Promise<readonly number[]> =>
  (await listMasterKeys(at.instance)).map(({ keys }) => keys);

test('a master key is replaced while instances serve, and every token, secret and family keeps working', async () => {
  const before = await start(A);
  const key = await before.makeKey();
  const opaque = await before.makeKey({ accessTokenFormat: 'opaque' });
  const tokens = await before.issue(key);
  const sealed = await before.issue(opaque);
  const both = await start(`${B} ${A}`, before);
  assert.deepEqual(await usesOf(both), [0, 4]);
  assert.equal(await both.isActive(key, tokens.accessToken), true);
  await rotateIssuerKey(both.instance, 'sign');
  assert.deepEqual(await usesOf(both), [0, 5], 'until it is said, new keys are where all instances can read them');
  await before.instance.keys.reload();
  assert.equal(before.instance.keys.publicJwks.length, 2, 'as one that knows the old one alone does');

  const another = await start(`${A}\n${B}`, before);
  assert.equal(await rewrapKeys(both.instance), 5);
  assert.deepEqual(await usesOf(both), [5]);
  assert.equal(await rewrapKeys(both.instance), 0, 'again, and there is nothing to do');
  const [event] = await both.instance.store.listEvents({ limit: 1 });
  assert.equal(event?.kind, 'keys_rewrapped');
  for (const at of [both, another]) {
    await at.instance.keys.reload();
    assert.equal(await at.isActive(key, tokens.accessToken), true);
    assert.equal(await at.isActive(opaque, sealed.accessToken), true);
  }
  await assert.rejects(before.instance.keys.reload(), StoreUnusable);
  assert.equal(await before.isActive(key, tokens.accessToken), true, 'and even who was forgotten serves on');

  const after = await start(B, before);
  const refreshed = tokensOf(await after.refresh(key, tokens.refreshToken));
  assert.equal(await before.isActive(key, refreshed.accessToken), true);
  await assert.rejects(start(A, before), /not the one that this store was set up with/);
  for (const at of [before, both, another, after]) await at.close();
});

test('two concurrent rewraps take effect once', async () => {
  const first = await start(A);
  const [a, b] = [await start(`${B} ${A}`, first), await start(`${B} ${A}`, first)];
  const [byA, byB] = await Promise.all([rewrapKeys(a.instance), rewrapKeys(b.instance)]);
  assert.equal(byA + byB, 4);
  assert.deepEqual(await usesOf(a), [4]);
  for (const at of [first, a, b]) await at.close();
});

test('a copy of the store lets nobody in: its files contain none of 10,000 secrets and tokens, nor the master key', async () => {
  const at = await start(A);
  const secrets = [A, Buffer.from(A, 'base64url').toString('latin1')];
  const makeAndUse = async (count: number): Promise<void> => {
    const key = await at.makeKey({ accessTokenFormat: count % 2 === 0 ? 'jwt' : 'opaque' });
    const issued = [await at.issue(key), await at.issue(key)];
    const next = tokensOf(await at.refresh(key, issued[0]?.refreshToken ?? ''));
    await at.revoke(key, next.accessToken);
    secrets.push(
      key.clientSecret,
      ...[...issued, next].flatMap(({ accessToken, refreshToken }) => [accessToken, refreshToken]),
    );
  };
  for (let count = 0; secrets.length < 1_000; count += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, one) => makeAndUse(count + one)));
  }
  const files = readdirSync(at.folder).map((name) => readFileSync(join(at.folder, name), 'latin1'));
  assert.ok(
    files.some((text) => text.includes('key_created')),
    'the store was read',
  );
  const found = secrets.filter((secret) => files.some((text) => text.includes(secret)));
  assert.deepEqual(
    found.map((secret) => secret.slice(0, 8)),
    [],
  );
  assert.ok(!files.some((text) => text.includes('PRIVATE KEY')));
  await at.close();
});

suite('the master key, from the command line', () => {
  const run = (t: TestContext, environment: Readonly<Record<string, string>>, ...words: readonly string[]) =>
    runCommand(words, { HALLPASS_DATA_DIR: makeFolder(t), HALLPASS_ISSUER: 'https://a.example', ...environment });
  const assertRefused = ({ code, stdout, stderr }: Done, sentence: RegExp): void => {
    assert.equal(code, 2, stdout);
    assert.match(stderr, sentence);
  };

  test('can come from a command, whose output is never shown', async (t) => {
    const on = await makeStore(t, { HALLPASS_MASTER_KEY: A, HALLPASS_ISSUER: 'https://a.example' });
    const { HALLPASS_DATA_DIR } = on;
    const good = await run(
      t,
      { HALLPASS_DATA_DIR, HALLPASS_MASTER_KEY_COMMAND: `echo ${A}` },
      'keys',
      'list',
      '--json',
    );
    assert.equal(good.code, 0, good.stderr);
    const failing = await run(t, { HALLPASS_MASTER_KEY_COMMAND: `echo ${A}; exit 3` }, 'store', 'init');
    assertRefused(failing, /HALLPASS_MASTER_KEY_COMMAND failed/);
    assert.ok(!failing.stderr.includes(A));
    const short = await run(t, { HALLPASS_MASTER_KEY_COMMAND: 'echo secretive' }, 'store', 'init');
    assertRefused(short, /in the output of HALLPASS_MASTER_KEY_COMMAND is not 32 bytes/);
    assert.ok(!short.stderr.includes('secretive'));
  });

  test('is refused if it is not random, wherever it comes from, and is not repeated', async (t) => {
    const bytes = (make: (at: number) => number): string =>
      Buffer.from(Uint8Array.from({ length: 32 }, (_, at) => make(at))).toString('base64url');
    const half = randomBytes(16);
    const trivial = {
      zeros: bytes(() => 0),
      'one byte': bytes(() => 0xa5),
      'a repeated word': Buffer.from('hallpass'.repeat(4)).toString('base64url'),
      'ascending bytes': bytes((at) => at + 1),
      'descending by seven': bytes((at) => 255 - 7 * at),
      'half a key, twice': Buffer.concat([half, half]).toString('base64url'),
      'a sentence': Buffer.from('The quick brown fox jumps over 7').toString('base64url'),
      'hexadecimal digits': Buffer.from(randomBytes(16).toString('hex')).toString('base64url'),
      'words as base64url': 'correct-horse-battery-staple-and-some-mores',
      'few characters': 'aB3'.repeat(15).slice(0, 42) + 'A',
    };
    for (const [what, key] of Object.entries(trivial)) {
      assert.equal(key.length, 43, what);
      const refused = await run(t, { HALLPASS_MASTER_KEY: key }, 'store', 'init');
      assertRefused(refused, /The master key in HALLPASS_MASTER_KEY is not random/);
      assert.ok(!refused.stderr.includes(key), what);
    }
    const { zeros } = trivial;
    const printed = await run(t, { HALLPASS_MASTER_KEY_COMMAND: `echo ${zeros}` }, 'store', 'init');
    assertRefused(printed, /in the output of HALLPASS_MASTER_KEY_COMMAND is not random/);
    const file = join(makeFolder(t), 'master.key');
    writeFileSync(file, zeros, { mode: 0o600 });
    assertRefused(await run(t, { HALLPASS_MASTER_KEY_FILE: file }, 'store', 'init'), /master\.key is not random/);
    const { HALLPASS_DATA_DIR } = await makeStore(t, { HALLPASS_MASTER_KEY: A });
    const good = await run(t, { HALLPASS_DATA_DIR, HALLPASS_MASTER_KEY: `${A} ${zeros}` }, 'master-key', 'rewrap');
    assert.equal(good.code, 0, 'a store can be moved away from one');
  });

  test('is never refused if it is random (100,000 tries)', () => {
    for (let count = 0; count < 10_000; count++) assert.equal(isWeakKey(randomBytes(32)), false);
  });

  test('must come from one place only', async (t) => {
    const two = { HALLPASS_MASTER_KEY: A, HALLPASS_MASTER_KEY_COMMAND: `echo ${A}` };
    assertRefused(await run(t, two, 'store', 'init'), /comes from one place/);
  });

  test('is rewrapped by a command that says what to do next; a dry run does nothing', async (t) => {
    const { HALLPASS_DATA_DIR } = await makeStore(t, { HALLPASS_MASTER_KEY: A });
    const folder = { HALLPASS_DATA_DIR };
    const both = { ...folder, HALLPASS_MASTER_KEY: `${B} ${A}` };
    const dry = await run(t, both, 'master-key', 'rewrap', '--dry-run');
    assert.match(dry.stdout, /Would put 4 keys under/);
    assert.deepEqual(JSON.parse((await run(t, both, 'master-key', 'rewrap', '--dry-run', '--json')).stdout), {
      keys: 4,
      rewrapped: false,
    });
    assertRefused(
      await run(t, { ...folder, HALLPASS_MASTER_KEY: B }, 'keys', 'list'),
      /not the one that this store was set up with/,
    );
    assert.match((await run(t, both, 'master-key', 'rewrap')).stdout, /Put 4 keys under .*\n.*can be taken out/);
    assert.match((await run(t, both, 'master-key', 'rewrap')).stdout, /^Nothing to do: all keys are under /);
    assert.equal((await run(t, { ...folder, HALLPASS_MASTER_KEY: B }, 'keys', 'list')).code, 0);
    assertRefused(
      await run(t, { ...folder, HALLPASS_MASTER_KEY: A }, 'keys', 'list'),
      /not the one that this store was set up with/,
    );
    const listed = await run(t, { ...folder, HALLPASS_MASTER_KEY: B }, 'master-key', 'list', '--json');
    assert.match(listed.stdout, /"keys": 4,\s+"current": true/);
  });
});
