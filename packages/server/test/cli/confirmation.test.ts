/** Irreversible commands ask on a terminal, and need `--yes` anywhere else (ADR 33). */
import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import { numericDate } from '@hallpass/protocol';
import { openInstance } from '../../src/serving/instance.ts';
import { readSettings } from '../../src/serving/settings/settings.ts';
import { systemClock, systemRandom } from '../../src/serving/system.ts';
import { makeStore, startOnTerminal, type Environment } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { until } from '../../../../testing/server/server.ts';
import { rotationRecord } from '../../../../testing/store_contract/records.ts';

type Document = Readonly<Record<string, unknown>>;

async function documentOf(words: readonly string[], on: Environment): Promise<Document> {
  const { code, stdout, stderr } = await runCommand([...words, '--json'], on);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

async function makeKey(on: Environment, name = 'partner'): Promise<string> {
  return String((await documentOf(['keys', 'create', name, '--scope', '/a.read', '--opaque'], on))['client_id']);
}

/** Types an answer where one is asked for, and gives what the terminal has shown. */
async function answer(
  t: TestContext,
  words: readonly string[],
  on: Environment,
  typed: string,
): Promise<{ readonly code: number | null; readonly shown: string }> {
  const running = startOnTerminal(t, words, on);
  await until(() => running.stdout().includes('Type yes to go on'));
  running.child.stdin.write(typed);
  const code = await running.ended;
  return { code, shown: running.stdout() };
}

const WORDS = [
  ['keys', 'delete'],
  ['signing-keys', 'remove'],
  ['refresh-keys', 'remove'],
  ['secret-keys', 'remove'],
  ['opaque-keys', 'remove'],
  ['revoke-everything'],
] as const;

suite('an irreversible command', { concurrency: 2 }, () => {
  test('is refused without a terminal and without --yes, naming the store and what would end', async (t) => {
    const on = await makeStore(t);
    const clientId = await makeKey(on);
    const instance = await openInstance(readSettings(on), { clock: systemClock, random: systemRandom });
    t.after(() => instance.store.close());
    const places: Readonly<Record<string, readonly string[]>> = {
      keys: [clientId],
      'signing-keys': [instance.keys.signing.keyId],
      'refresh-keys': [instance.keys.refresh.keyId],
      'secret-keys': [instance.keys.secret.keyId],
      'opaque-keys': [instance.keys.seal.keyId],
      'revoke-everything': ['--json'],
    };
    for (const words of WORDS) {
      const { code, stdout, stderr } = await runCommand([...words, ...(places[words[0]] ?? [])], on);
      assert.deepEqual([code, stdout], [2, ''], words.join(' '));
      assert.ok(stderr.includes(`error: In the store ${on.HALLPASS_DATA_DIR}, this `), stderr);
      assert.match(stderr, /There is no terminal to ask on: repeat it with --yes.*--dry-run.*Nothing was changed\.\n$/);
    }
    assert.deepEqual(
      (await instance.store.listEvents({ limit: 10 })).map(({ kind }) => kind),
      ['key_created'],
      'nothing else has happened',
    );
  });

  test('counts in a dry run what would end: the refreshed grants of a key, or of all keys', async (t) => {
    const on = await makeStore(t);
    const [clientId] = [await makeKey(on), await makeKey(on, 'another')];
    const instance = await openInstance(readSettings(on), { clock: systemClock, random: systemRandom });
    t.after(() => instance.store.close());
    const expiresAt = numericDate(systemClock.now()) + 60;
    for (const [grantId, owner, end] of [
      ['one', clientId, expiresAt],
      ['two', 'another', expiresAt],
      ['over', clientId, 1],
    ] as const) {
      await instance.store.rotate(rotationRecord({ grantId, clientId: owner, from: 0, expiresAt: end }));
    }
    assert.equal((await documentOf(['keys', 'delete', clientId, '--dry-run'], on))['refreshed_grants'], 1);
    const everything = await documentOf(['revoke-everything', '--dry-run'], on);
    assert.deepEqual(everything, { revoked: false, api_keys: 2, refreshed_grants: 2 });
  });

  test('asks on a terminal: anything but yes changes nothing, yes proceeds, and --yes does not ask', async (t) => {
    const on = await makeStore(t);
    const [clientId, another] = [await makeKey(on), await makeKey(on, 'another')];
    // No, Control-D, Control-C.
    for (const typed of ['no\n', '\u0004', '\u0003']) {
      const { code, shown } = await answer(t, ['keys', 'delete', clientId], on, typed);
      assert.equal(code, 1, JSON.stringify(typed));
      assert.match(shown, /In the store .*, this deletes the API key partner .*Every token issued to it ends/s);
      assert.match(shown, /It was not confirmed, so nothing was changed/);
    }
    assert.equal((await documentOf(['keys', 'show', clientId], on))['disabled'], false);
    const done = await answer(t, ['keys', 'delete', clientId], on, 'yes\n');
    assert.equal(done.code, 0);
    assert.match(done.shown, /Deleted partner/);
    assert.equal((await runCommand(['keys', 'show', clientId], on)).code, 1);
    const unasked = startOnTerminal(t, ['keys', 'delete', another, '--yes'], on);
    assert.equal(await unasked.ended, 0);
    assert.doesNotMatch(unasked.stdout(), /Type yes/);
  });
});
