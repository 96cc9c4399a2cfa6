/** An error names the option and value that the operator typed, not the field behind them. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { openInstance, type Instance } from '../../src/serving/instance.ts';
import { readSettings } from '../../src/serving/settings/settings.ts';
import { systemClock, systemRandom } from '../../src/serving/system.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { manageApiKeys } from '../../src/operator/api_keys.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';

let folder: string;
let instance: Instance;
let clientId: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hallpass-typed-'));
  const settings = readSettings({ HALLPASS_DATA_DIR: folder });
  instance = await openInstance(settings, { clock: systemClock, random: systemRandom });
  clientId = (await manageApiKeys(instance).create({ name: 'x', scopes: ['/a.read'] })).client.clientId;
  writeFileSync(join(folder, 'key.json'), '{"kty":"oct"}');
});

after(async () => {
  await instance.store.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The sentence that `hallpass keys WORDS` is refused with. */
async function refusalOf(words: readonly string[]): Promise<string> {
  const { code, stderr } = await runCommand(['keys', ...words], { HALLPASS_DATA_DIR: folder });
  assert.notEqual(code, 0, words.join(' '));
  const [, sentence = ''] = /^error: (.*)$/m.exec(stderr) ?? [];
  return sentence;
}

/** What is typed behind `keys create x` and, where it has the option, behind `keys update CLIENT`; and the beginning of the refusal. */
const TYPED: readonly (readonly [option: string, value: string, refusal: RegExp])[] = [
  ['--access-ttl', '2h', /^--access-ttl 2h must be a whole number of seconds from 1 to 3600\.$/],
  ['--access-ttl', '0s', /^--access-ttl 0s must be/],
  ['--access-ttl', 'soon', /'--access-ttl <duration>' argument 'soon' is invalid\. A duration is/],
  ['--refresh-ttl', '999999d', /^--refresh-ttl 999999d must be a whole number of seconds/],
  ['--refresh-grace', '999999d', /^--refresh-grace 999999d must be a whole number of seconds/],
  ['--requests-per-second', '0', /^--requests-per-second 0 must be a whole number from 1 to/],
  ['--requests-per-second', 'many', /^--requests-per-second many must be/],
  ['--scope', 'accounts', /^--scope: This is not a scope: accounts /],
  ['--default-scope', 'accounts', /^--default-scope: This is not a scope: accounts /],
  ['--default-scope', '/b.read', /^--default-scope: The default scope \/b\.read is not among/],
  ['--origin', 'app', /^--origin: This is not an origin: app\./],
  ['--audience', 'api', /^--audience: This is not an audience: api\./],
  ['--resource-server', 'api', /^--resource-server: This is not an audience: api\./],
  ['--mode', 'prod', /'--mode <mode>' argument 'prod' is invalid\. Allowed choices are live, test/],
];

suite('a refused option', () => {
  for (const [option, value, refusal] of TYPED) {
    test(`${option} ${value} is named as typed, in keys create and in keys update`, async () => {
      const scope = option === '--scope' ? [] : ['--scope', '/a.read'];
      for (const words of [
        ['create', 'x', ...scope],
        ['update', clientId],
      ]) {
        const said = await refusalOf([...words, option, value]);
        assert.match(said, refusal);
        assert.doesNotMatch(said, /[a-z](?:Seconds|Ttl|Scopes|For)\b/, 'no name of the code');
      }
      assert.equal((await instance.store.listClients({ limit: 10 })).length, 1, 'and nothing was made');
    });
  }

  test('options of a single command are named as typed too; a secret is not repeated', async () => {
    const create = ['create', 'x', '--scope', '/a.read'];
    const secret = ['--client-secret', 'short-and-weak'];
    for (const [words, refusal] of [
      [
        [...create, '--client-id', 'schlüssel', '--client-secret', 'x'.repeat(30)],
        /^--client-id schlüssel: A client_id is/,
      ],
      [[...create, '--client-id', 'x', ...secret], /^--client-secret: This client_secret could be guessed/],
      [
        [...create, '--public-keys', join(folder, 'key.json')],
        /^--public-keys \S+key\.json: This public key cannot be used/,
      ],
      [['update', clientId, '--name', ''], /^--name: A name is 1 to/],
      [['rotate-secret', clientId, '--overlap', 'soon'], /'--overlap <duration>' argument 'soon'/],
      [['import', '-', '--on-conflict', 'merge'], /'--on-conflict <what>' argument 'merge'/],
    ] as const) {
      const said = await refusalOf(words);
      assert.match(said, refusal);
      assert.ok(!said.includes('short-and-weak'));
    }
  });

  test('a refusal about something that was not typed blames no option', async () => {
    const said = await refusalOf(['update', clientId, '--scope', '/b.read', '--require-origin']);
    assert.match(said, /^A key that requires an origin needs a list/);
    await manageApiKeys(instance).update(clientId, { defaultScopes: ['/a.read'] });
    assert.match(
      await refusalOf(['update', clientId, '--scope', '/b.read']),
      /^The default scope \/a\.read is not among/,
    );
    await manageApiKeys(instance).update(clientId, { defaultScopes: [] });
  });

  for (const [words, suggested] of [
    [['kyes', 'list'], 'keys'],
    [['keys', 'disabel', 'x'], 'disable'],
    [['keys', 'list', '--jsno'], '--json'],
  ] as const) {
    test(`hallpass ${words.join(' ')} suggests what was probably meant`, async () => {
      const { code, stderr } = await runCommand(words, {});
      assert.equal(code, 2);
      assert.ok(stderr.includes(`(Did you mean ${suggested}?)`), stderr);
    });
  }
});
