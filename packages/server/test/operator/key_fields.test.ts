/** One table lists every field of an API key. Each row is an option, an import column, a line of output and documented. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { KEY_FIELD_ROWS, type KeyField, type KeyFieldName } from '../../src/operator/key_fields.ts';
import { makeFolder, makeStore, type Done, type Environment } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { Signer } from '../../../../testing/client/signer.ts';

/** Values of each kind as JSON, which differ from the defaults. Those of lists fit each other. */
const LISTS: Readonly<Partial<Record<KeyFieldName, readonly string[]>>> = {
  scopes: ['/a.read', '/b.write'],
  defaultScopes: ['/a.read'],
  audiences: ['https://api.example.com'],
  resourceServerFor: ['https://rs.example.com'],
  origins: ['https://app.example.com'],
};

function exampleOf(name: KeyFieldName, field: KeyField): unknown {
  switch (field.kind) {
    case 'text':
      return 'An example';
    case 'list':
      return LISTS[name];
    case 'switch':
      return !field.initial;
    case 'choice':
      // The last way to authenticate is for keys with public keys.
      return name === 'authentication' ? 'client_secret_post' : field.choices.at(-1);
    case 'number':
      return field.min + 60;
    case 'public_keys':
      return [];
  }
}

/** The options that set a field to a value. */
function wordsFor({ option, kind }: KeyField, value: unknown): readonly string[] {
  if ('on' in option) return [`--${option.on.value === value ? '' : 'no-'}${option.name}`];
  if (kind === 'public_keys') return [];
  const unit = option.value === 'duration' ? 's' : '';
  return [value].flat().flatMap((one) => [`--${option.name}`, `${String(one)}${unit}`]);
}

const EXAMPLES = KEY_FIELD_ROWS.map(([name, field]) => ({ name, field, value: exampleOf(name, field) }));

function documentOf({ code, stdout, stderr }: Done): Readonly<Record<string, unknown>> {
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

function assertExamples(shown: Readonly<Record<string, unknown>>): void {
  for (const { field, value } of EXAMPLES) assert.deepEqual(shown[field.wire], value, field.wire);
}

async function show(on: Environment, clientId: unknown): Promise<void> {
  assertExamples(documentOf(await runCommand(['keys', 'show', String(clientId), '--json'], on)));
  const { stdout } = await runCommand(['keys', 'show', String(clientId)], on);
  for (const { field, value } of EXAMPLES) {
    const isShown = new RegExp(`^ +${field.title} +\\S`, 'm').test(stdout);
    assert.equal(isShown, field.kind !== 'public_keys', `${field.title} ${String(value)}`);
  }
}

suite('every field of the table', () => {
  test('is an option of keys create and keys update, and is shown as text and as JSON', async (t) => {
    const on = await makeStore(t);
    const options = EXAMPLES.filter(({ name }) => name !== 'name').flatMap(({ field, value }) =>
      wordsFor(field, value),
    );
    const made = documentOf(await runCommand(['keys', 'create', 'An example', ...options, '--json'], on));
    assertExamples(made);
    await show(on, made['client_id']);

    const plain = documentOf(await runCommand(['keys', 'create', 'x', '--scope', '/x.read', '--json'], on));
    const all = EXAMPLES.flatMap(({ field, value }) => wordsFor(field, value));
    assertExamples(documentOf(await runCommand(['keys', 'update', String(plain['client_id']), ...all, '--json'], on)));
    await show(on, plain['client_id']);
  });

  test('is a member of an import from JSON and, if it fits a cell, a column of CSV', async (t) => {
    const folder = makeFolder(t);
    const secret = 'zQ3kVb8Ls0Tn6Wm4Xr2Yp1-example';
    const members = {
      client_secret: secret,
      ...Object.fromEntries(EXAMPLES.map(({ field, value }) => [field.wire, value])),
    };
    const cells = Object.entries(members).filter(([name]) => name !== 'public_keys');
    for (const [file, text] of [
      ['keys.json', JSON.stringify([{ client_id: 'imported', ...members }])],
      [
        'keys.csv',
        `client_id,${cells.map(([name]) => name).join(',')}\nimported,${cells.map(([, value]) => [value].flat().join(' ')).join(',')}\n`,
      ],
    ] as const) {
      const on = await makeStore(t);
      writeFileSync(join(folder, file), text, { mode: 0o600 });
      assert.equal(documentOf(await runCommand(['keys', 'import', join(folder, file), '--json'], on))['made'], 1);
      await show(on, 'imported');
    }
  });

  test('is an option of keys import, for keys whose rows leave it out', async (t) => {
    const on = await makeStore(t);
    const fields = EXAMPLES.filter(({ name }) => name !== 'name');
    const options = fields.flatMap(({ field, value }) => wordsFor(field, value));
    const row = JSON.stringify([{ client_id: 'imported', client_secret: 'zQ3kVb8Ls0Tn6Wm4Xr2Yp1-example' }]);
    assert.equal((await runCommand(['keys', 'import', '-', ...options], on, row)).code, 0);
    const shown = documentOf(await runCommand(['keys', 'show', 'imported', '--json'], on));
    for (const { field, value } of fields) assert.deepEqual(shown[field.wire], value, field.wire);
  });

  test('is documented: in the table of docs/cli.md and in the help of keys create', async () => {
    const document = readFileSync(new URL('../../../../docs/cli.md', import.meta.url), 'utf8');
    const { stdout } = await runCommand(['keys', 'create', '--help'], {});
    for (const { name, field } of EXAMPLES) {
      assert.ok(document.includes(`| \`${field.wire}\` | \`--${field.option.name}\``), field.wire);
      if (name !== 'name') assert.ok(stdout.includes(`--${field.option.name} `), field.option.name);
    }
  });

  test('public keys are shown too, each by its algorithm', async (t) => {
    const on = await makeStore(t);
    const file = join(makeFolder(t), 'key.json');
    const { jwk } = await Signer.make();
    writeFileSync(file, JSON.stringify(jwk));
    const words = ['keys', 'create', 'x', '--scope', '/a.read', '--public-keys', file, '--json'];
    const { client_id: clientId } = documentOf(await runCommand(words, on));
    const shown = await runCommand(['keys', 'show', String(clientId)], on);
    assert.match(shown.stdout, /^ +public keys +ES256 \S+/m);
  });
});
