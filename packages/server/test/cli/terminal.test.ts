/** Control characters never reach the terminal through the command line, wherever they come from (CWE-150). */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { makeIdentifier, printBase64url, utf8 } from '@hallpass/protocol';
import { systemRandom } from '../../src/serving/system.ts';
import { openSqliteStore } from '../../src/store/sqlite/sqlite.ts';
import {
  makeFolder,
  makeStore,
  serve,
  startCommand,
  startRunning,
  type Done,
  type Environment,
} from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { until } from '../../../../testing/server/server.ts';
import { clientRecord, eventRecord, NOW } from '../../../../testing/store_contract/records.ts';

/** Clears the screen, sets a title, starts a sequence with one C1 byte, and turns the reading direction. */
const EVIL = '\u001b[2J\u001b]0;owned\u0007\u009b31m\u007f\u0000\r\u202eabc\u2066\u2069\u200f\u2028\u2029';
const SHOWN = String.raw`\u001b[2J\u001b]0;owned\u0007\u009b31m\u007f\u0000\u000d\u202eabc\u2066\u2069\u200f\u2028\u2029`;
/** What may stand in a variable of the environment, a path or an argument. */
const EVIL_WORD = EVIL.replaceAll('\0', '');
const SHOWN_WORD = SHOWN.replaceAll(String.raw`\u0000`, '');

/** Everything that a terminal obeys, but for the line feeds between lines. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

function assertHarmless({ stdout, stderr }: Pick<Done, 'stdout' | 'stderr'>): string {
  const all = stdout + stderr;
  assert.doesNotMatch(all, OBEYED, JSON.stringify(all));
  return all;
}

async function run(args: readonly string[], environment: Environment, input?: string): Promise<string> {
  return assertHarmless(await runCommand(args, environment, input));
}

/** A store with a key, and events, whose texts came from somewhere that did not look at them. */
async function evilStore(t: TestContext): Promise<Environment> {
  const on = await makeStore(t, { HALLPASS_ISSUER: 'http://localhost:8080' });
  const store = await openSqliteStore({ file: join(on.HALLPASS_DATA_DIR, 'hallpass.db') });
  const client = clientRecord({ clientId: 'evil', name: EVIL, scopes: [EVIL], audiences: [EVIL], origins: [EVIL] });
  await store.saveClient(client, { event: eventRecord(EVIL, { clientId: EVIL, grantId: EVIL, detail: `a${EVIL}b` }) });
  await store.close();
  return on;
}

/** A token that nobody signed: everything in it is a stranger's. */
function strangersToken(claims: Readonly<Record<string, unknown>>): string {
  const part = (value: unknown): string => printBase64url(utf8(JSON.stringify(value)));
  const identifier = (): string => makeIdentifier(NOW * 1000, systemRandom);
  const all = {
    jti: identifier(),
    grant_id: identifier(),
    iat: NOW,
    exp: NOW,
    iss: EVIL,
    aud: [EVIL, EVIL],
    ...claims,
  };
  const header = { alg: 'ES256', kid: EVIL, typ: 'at+jwt' };
  return `${part(header)}.${part({ client_id: EVIL, sub: EVIL, scope: EVIL, ...all })}.${printBase64url(new Uint8Array(64))}`;
}

function file(t: TestContext, name: string, text: string): string {
  const path = join(makeFolder(t), name);
  writeFileSync(path, text);
  return path;
}

suite('a terminal', () => {
  test('hallpass explain escapes the claims of an unsigned token, and its JSON has them unchanged', async (t) => {
    const policy = file(t, 'policy.json', '{"GET /accounts":"/accounts.read"}');
    const words = ['explain', '-', 'GET', '/accounts', '--policy', policy, '--audience', 'https://api.example.com'];
    const environment = { HALLPASS_ISSUER: 'http://127.0.0.1:1' };
    const token = strangersToken({});
    const text = await run(words, environment, token);
    assert.match(text, new RegExp(`token of +${escapeRegExp(SHOWN)}\n`));
    assert.match(text, new RegExp(`issued by +${escapeRegExp(SHOWN)}\n`));
    const { stdout } = await runCommand([...words, '--json'], environment, token);
    assertHarmless({ stdout, stderr: '' });
    const explained: Record<string, unknown> = JSON.parse(stdout);
    assert.deepEqual(
      [explained['client_id'], explained['issued_by'], explained['audience'], explained['scopes']],
      [EVIL, EVIL, [EVIL, EVIL], [EVIL]],
    );
    const timeless = await run(words, environment, strangersToken({ exp: Number.MAX_SAFE_INTEGER }));
    assert.match(timeless, /expires +9007199254740991 seconds after 1970\n/);
    assert.doesNotMatch(timeless, /RangeError/);
  });

  test('keys, events and backups are shown escaped, as text and as JSON', async (t) => {
    const on = await evilStore(t);
    for (const words of [
      ['keys', 'list'],
      ['keys', 'show', 'evil'],
      ['keys', 'disable', 'evil'],
      ['keys', 'delete', 'evil', '--dry-run'],
      ['events'],
    ]) {
      assert.ok((await run(words, on)).includes(SHOWN), words.join(' '));
    }
    const { stdout } = await runCommand(['keys', 'show', 'evil', '--json'], on);
    assertHarmless({ stdout, stderr: '' });
    const { name, scopes }: Record<string, unknown> = JSON.parse(stdout);
    assert.deepEqual([name, scopes], [EVIL, [EVIL]]);
    const written = await runCommand(['store', 'backup', '-'], on);
    assertHarmless(written);
    const backup = file(t, 'backup', written.stdout);
    const masterKey = readFileSync(join(on['HALLPASS_DATA_DIR'] ?? '', 'master.key'), 'utf8').trim();
    const other = { ...on, HALLPASS_DATA_DIR: makeFolder(t), HALLPASS_MASTER_KEY: masterKey };
    assert.match(await run(['store', 'restore', backup], other), /Restored/);
    assert.ok((await run(['events'], other)).includes(SHOWN), 'a backup holds the names themselves');
  });

  test('table columns fit the escaped text, and styles appear when asked for', async (t) => {
    const on = await evilStore(t);
    const [head = '', first = ''] = (await run(['keys', 'list'], on)).split('\n');
    assert.equal(head.indexOf('mode'), first.indexOf('test  enabled'));
    // Styles depend on the real environment of a process.
    const coloured = await startCommand(['keys', 'disable', 'evil'], { ...on, NO_COLOR: '', FORCE_COLOR: '1' });
    assert.equal(coloured.stdout, `\u001b[32mDisabled\u001b[39m \u001b[1m${SHOWN}\u001b[22m (evil).\n`);
  });

  test('faults in a policy or an import are reported escaped', async (t) => {
    const openapi = {
      openapi: '3.1.0',
      info: { title: EVIL, version: '1' },
      paths: {
        [`/a${EVIL}`]: { get: { security: [{ [EVIL]: [EVIL] }] } },
        '/b': { get: { security: [{ key: [`/b${EVIL}.read`] }], description: EVIL } },
        '/c': { get: { description: `Needs /c.read ${EVIL}` } },
      },
      components: { securitySchemes: { key: { type: 'oauth2', flows: {} } } },
    };
    const policy = file(t, 'openapi.json', JSON.stringify(openapi));
    // As YAML has it raw, where the characters may stand at all.
    const yaml = file(t, 'routes.yaml', `GET /a: "/a\\e\\u202e.read"\nGET /\u202eb: /b\u202e.read\n\u202e: [\n`);
    for (const name of [policy, yaml]) {
      for (const words of [
        ['policy', 'check', name],
        ['policy', 'draft', name],
        ['policy', 'types', name],
        ['explain', 'x', 'GET', '/a', '--policy', name],
      ]) {
        await run(words, {});
      }
    }
    const rows = `client_id,client_secret,name,scopes\n${EVIL},${'x'.repeat(30)},${EVIL},${EVIL}\n"a${EVIL}",,b,/c.read\n`;
    for (const text of [rows, `${EVIL},b\n1,2\n`, JSON.stringify([{ client_id: EVIL, [EVIL]: EVIL, name: EVIL }])]) {
      const environment = await makeStore(t);
      await run(['keys', 'import', file(t, 'keys', text)], environment);
    }
  });

  test('arguments, paths, and names in the environment are repeated escaped', async (t) => {
    const missing = join(makeFolder(t), EVIL_WORD);
    const on = await makeStore(t);
    const occupied = file(t, 'occupied', '');
    for (const [words, environment] of [
      [[EVIL_WORD], {}],
      [['keys', 'list', `--${EVIL_WORD}`], on],
      [['explain', 'x', EVIL_WORD, '/', '--policy', 'x'], {}],
      [['keys', 'show', EVIL_WORD], on],
      [['keys', 'create', 'x', '--scope', EVIL_WORD], on],
      [['keys', 'create', 'x', '--audience', EVIL_WORD], on],
      [['keys', 'create', 'x', '--public-keys', missing], on],
      [['keys', 'import', missing], on],
      [['policy', 'check', missing], {}],
      [['store', 'verify', missing], on],
      [['store', 'backup', join(missing, 'x')], on],
      [['keys', 'list'], { [`HALLPASS_${EVIL_WORD}`]: 'x' }],
      [['keys', 'list'], { HALLPASS_CONFIG: missing }],
      [['keys', 'list'], { ...on, HALLPASS_MASTER_KEY_FILE: missing }],
      [['keys', 'list'], { HALLPASS_DATA_DIR: join(occupied, EVIL_WORD) }],
      [['guard', '--policy', occupied, '--audience', EVIL_WORD], { HALLPASS_ISSUER: EVIL_WORD }],
    ] as const) {
      const text = await run(words, environment);
      assert.notEqual(text, '', words.join(' '));
    }
    assert.ok((await run(['keys', 'show', EVIL_WORD], on)).includes(SHOWN_WORD), 'it is shown, not left out');
    mkdirSync(missing);
    const config = join(missing, 'settings.json');
    writeFileSync(config, JSON.stringify({ [EVIL]: 'x' }));
    assert.ok((await run(['keys', 'list'], { HALLPASS_CONFIG: config })).includes(SHOWN));
  });

  test('the log of a guard escapes what it refused', async (t) => {
    const server = await serve(t);
    const api = 'https://api.example.com';
    const made = await runCommand(['keys', 'create', 'api', '--resource-server', api, '--json'], server.environment);
    const { client_id: id = '', client_secret: secret = '' }: Record<string, string> = JSON.parse(made.stdout);
    const policy = file(t, 'policy.json', '{"GET /accounts":"/accounts.read"}');
    const words = ['guard', '--policy', policy, '--audience', api, '--listen', '127.0.0.1:0', '--side', '127.0.0.1:0'];
    const key = { HALLPASS_GUARD_CLIENT_ID: id, HALLPASS_GUARD_CLIENT_SECRET: secret };
    const guard = startRunning(t, words, { HALLPASS_ISSUER: server.url, ...key });
    const port = (): string | undefined => /asks http:\/\/127\.0\.0\.1:(\d+)/.exec(guard.stdout())?.[1];
    await until(() => port() !== undefined);
    const socket = connect(Number(port()), '127.0.0.1');
    t.after(() => socket.destroy());
    // One byte each in the header of a request, which is how they come into a text: CSI and NEL of C1.
    socket.write(
      Buffer.from(
        'GET / HTTP/1.1\r\nHost: x\r\nX-Original-Method: GET\r\nX-Original-URI: /a\u009b31m\u0085b\r\n\r\n',
        'latin1',
      ),
    );
    await until(() => guard.stderr().includes('refused'));
    assertHarmless({ stdout: guard.stdout(), stderr: guard.stderr() });
    assert.ok(guard.stderr().includes(String.raw`\u009b31m\u0085b`), guard.stderr());
  });
});

function escapeRegExp(text: string): string {
  return text.replaceAll(/[\\[\]().*+?^${}|]/g, String.raw`\$&`);
}
