import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { hashSync } from 'bcryptjs';
import * as fc from 'fast-check';
import { printBase64url } from '@hallpass/protocol';
import { manageApiKeys } from '../../src/operator/api_keys.ts';
import { OperatorRefusal } from '../../src/operator/operator_refusal.ts';
import { sentenceOf } from '../../src/cli/refusal_sentences.ts';
import { remarksOnBasic } from '../../src/cli/import_remarks.ts';
import { CSV_FIELDS_MAX, parseCsv } from '../../src/operator/import/csv.ts';
import { basicReadingOf } from '../../src/operator/import/basic.ts';
import { IMPORT_BYTES_MAX, readImportFile } from '../../src/operator/import/files.ts';
import type { ImportFile, ReadOptions } from '../../src/operator/import/rows.ts';
import { keepImport, planImport } from '../../src/operator/import/import_keys.ts';
import { CLIENTS_MAX, StoreUnavailable, type Store } from '../../src/store/store.ts';
import { makeFolder, makeStore, serve, type Done, type Environment } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { hexOf, hydrasHash, printArgon2 } from '../../../../testing/client/foreign_hashes.ts';
import { startHallpass, until, type Answer, type Hallpass, type Key } from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const SCOPE = '/accounts.write';
const TOKEN = { grant_type: 'client_credentials', scope: SCOPE };
/** The family's example. */
const PAIR = { clientId: '5clTR_MdVrrkgxw2', clientSecret: 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-' };

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const secretOf = (name: string): string => `${name}-zQ3kVb8Ls0Tn6Wm4Xr2Yp1`;

interface ImportWith extends Partial<ReadOptions> {
  readonly onConflict?: 'refuse' | 'skip';
}

/** Reads, plans and keeps a text as the command does; the plan's faults when there are any. */
async function importText(
  { instance }: Pick<Hallpass, 'instance'>,
  text: string,
  { onConflict = 'refuse', ...options }: ImportWith = {},
): Promise<readonly { readonly at: string; readonly fault: string }[]> {
  const { store } = instance;
  const api = manageApiKeys(instance);
  const { rows } = readImportFile(bytes(text), { policy: { scopes: [SCOPE] }, allowWeak: false, ...options });
  const { planned, bad } = await planImport({ store, api }, rows, onConflict);
  if (bad.length === 0) await keepImport(api, planned, { onConflict, done: () => 'go_on' });
  return bad.map(({ at, fault }) => ({ at, fault: sentenceOf(fault) }));
}

async function importHash(hallpass: Hallpass, clientId: string, hash: string, more: object = {}): Promise<void> {
  const text = JSON.stringify([{ client_id: clientId, client_secret_hash: hash, ...more }]);
  assert.deepEqual(await importText(hallpass, text), []);
}

const ask = (hallpass: Hallpass, key: Key): Promise<Answer> => hallpass.form('/oauth2/token', TOKEN, { key });

async function eventsOf({ instance }: Hallpass, kind: string): Promise<readonly (string | undefined)[]> {
  const events = await instance.store.listEvents({ limit: 1000 });
  return events.filter((event) => event.kind === kind).map(({ clientId }) => clientId);
}

async function secretOfClient({ instance }: Hallpass, clientId: string): Promise<object> {
  const client = await instance.store.findClient(clientId);
  const [secret] = client?.secrets ?? [];
  assert.ok(secret !== undefined);
  return secret;
}

/** Everything that a run has put on the disk, as it stands there. */
function readAll(folder: string): string {
  return readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'latin1'))
    .join('\n');
}

suite('a secret imported with a foreign hash', () => {
  for (const [name, print] of [
    ['SHA-256', (secret: string) => `sha256:${hexOf(secret)}`],
    ['bcrypt', (secret: string) => hashSync(secret, 4)],
    ["Hydra's PBKDF2", hydrasHash],
    ['argon2id', (secret: string) => printArgon2('argon2id', secret)],
  ] as const) {
    test(`${name}: the first use rehashes it, once; then the foreign hash is gone, even after a restart`, async () => {
      const hallpass = await startHallpass();
      const key = { clientId: 'partner', clientSecret: secretOf('partner') };
      await importHash(hallpass, key.clientId, print(key.clientSecret));
      assert.ok('foreign' in (await secretOfClient(hallpass, key.clientId)));
      for (const wrong of [`${key.clientSecret}x`, key.clientSecret.slice(1), print(key.clientSecret), '']) {
        assert.equal((await ask(hallpass, { ...key, clientSecret: wrong })).outcome, '401 invalid_client');
      }
      assert.ok('foreign' in (await secretOfClient(hallpass, key.clientId)), 'a wrong secret hashes nothing anew');
      assert.deepEqual(await eventsOf(hallpass, 'key_secret_rehashed'), []);
      assert.equal((await ask(hallpass, key)).status, 200);
      assert.ok(!('foreign' in (await secretOfClient(hallpass, key.clientId))));
      assert.equal((await ask(hallpass, key)).status, 200);
      assert.equal(
        (await ask(hallpass, { ...key, clientSecret: `${key.clientSecret}x` })).outcome,
        '401 invalid_client',
      );
      assert.deepEqual(await eventsOf(hallpass, 'key_secret_rehashed'), ['partner']);
      assert.deepEqual(await eventsOf(hallpass, 'key_secret_weak'), []);
    });
  }

  test('works after a restart, before and after its first use', async (t) => {
    const folder = makeFolder(t);
    const key = { clientId: 'partner', clientSecret: secretOf('partner') };
    const first = await startHallpass({ folder });
    await importHash(first, key.clientId, hashSync(key.clientSecret, 4));
    await first.close();
    for (const rehashed of [0, 1]) {
      const next = await startHallpass({ folder });
      assert.equal((await eventsOf(next, 'key_secret_rehashed')).length, rehashed);
      assert.equal((await ask(next, key)).status, 200);
      await next.close();
    }
  });

  test('50 concurrent first uses all succeed, and rehash it once', async () => {
    const hallpass = await startHallpass();
    const key = { clientId: 'partner', clientSecret: secretOf('partner') };
    await importHash(hallpass, key.clientId, hashSync(key.clientSecret, 8));
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask(hallpass, key)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.deepEqual(await eventsOf(hallpass, 'key_secret_rehashed'), ['partner']);
  });

  test('50 keys used for the first time at once all succeed', async () => {
    const hallpass = await startHallpass();
    const keys = Array.from({ length: 50 }, (_, at) => ({ clientId: `p${at}`, clientSecret: secretOf(`p${at}`) }));
    const rows = keys.map((key) => ({ client_id: key.clientId, client_secret_hash: hydrasHash(key.clientSecret) }));
    assert.deepEqual(await importText(hallpass, JSON.stringify(rows)), []);
    const answers = await Promise.all(keys.map((key) => ask(hallpass, key)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal((await eventsOf(hallpass, 'key_secret_rehashed')).length, 50);
  });

  test('guesses beyond the queue get 503 and are not counted as failures; other keys work, and so does the right secret again', async () => {
    const hallpass = await startHallpass({ environment: { HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '300' } });
    const key = { clientId: 'attacked', clientSecret: secretOf('attacked') };
    const other = { clientId: 'other', clientSecret: secretOf('other') };
    const ordinary = await hallpass.makeKey();
    await importHash(hallpass, key.clientId, hashSync(key.clientSecret, 10));
    await importHash(hallpass, other.clientId, hydrasHash(other.clientSecret));
    const guesses = Promise.all(
      Array.from({ length: 30 }, (_, at) => ask(hallpass, { ...key, clientSecret: secretOf(`guess${at}`) })),
    );
    const [asOrdinary, asOther] = await Promise.all([ask(hallpass, ordinary), ask(hallpass, other)]);
    assert.deepEqual([asOrdinary.status, asOther.status], [200, 200]);
    const outcomes = (await guesses).map(({ outcome }) => outcome);
    const busy = outcomes.filter((outcome) => outcome === '503 temporarily_unavailable').length;
    assert.equal(outcomes.length - busy, outcomes.filter((outcome) => outcome === '401 invalid_client').length);
    assert.ok(busy > 0 && busy < 30, `${busy} were turned away`);
    assert.equal((await ask(hallpass, key)).status, 200);
  });

  test('a disabled key gets the usual refusal, and nothing is rehashed', async () => {
    const hallpass = await startHallpass();
    const key = { clientId: 'partner', clientSecret: secretOf('partner') };
    const ordinary = await hallpass.makeKey();
    await hallpass.keys.disable(ordinary.clientId);
    await importHash(hallpass, key.clientId, hashSync(key.clientSecret, 4), { disabled: true });
    const [asDisabled, asOrdinary] = [await ask(hallpass, key), await ask(hallpass, ordinary)];
    assert.equal(asDisabled.outcome, '401 invalid_client');
    assert.equal(asDisabled.text, asOrdinary.text);
    assert.deepEqual(await eventsOf(hallpass, 'key_secret_rehashed'), []);
    await hallpass.keys.enable(key.clientId);
    assert.equal((await ask(hallpass, key)).status, 200);
  });

  test('a guessable secret is rehashed too, and the operator is warned', async () => {
    const hallpass = await startHallpass();
    const key = { clientId: 'partner', clientSecret: 'hunter2' };
    await importHash(hallpass, key.clientId, hashSync(key.clientSecret, 4));
    assert.equal((await ask(hallpass, key)).status, 200);
    assert.deepEqual(await eventsOf(hallpass, 'key_secret_weak'), ['partner']);
    assert.deepEqual(await eventsOf(hallpass, 'key_secret_rehashed'), ['partner']);
  });

  test('while the store is read-only the secret is accepted, and rehashed at a later use', async () => {
    let writable = false;
    const faulty = (store: Store): Store => ({
      ...store,
      saveClient: async (...given) => {
        if (!writable) throw new StoreUnavailable('The disk is full.');
        return await store.saveClient(...given);
      },
    });
    const hallpass = await startHallpass({ faulty });
    const key = { clientId: 'partner', clientSecret: secretOf('partner') };
    const { keys, store } = hallpass.instance;
    writable = true;
    await importHash(hallpass, key.clientId, hashSync(key.clientSecret, 4));
    writable = false;
    assert.ok(keys.secret.keyId !== '' && store !== undefined);
    assert.equal((await ask(hallpass, key)).status, 200);
    assert.ok('foreign' in (await secretOfClient(hallpass, key.clientId)));
    writable = true;
    assert.equal((await ask(hallpass, key)).status, 200);
    assert.ok(!('foreign' in (await secretOfClient(hallpass, key.clientId))));
  });

  test('a rotated secret works during the overlap and not after it', async () => {
    const hallpass = await startHallpass();
    const key = { clientId: 'partner', clientSecret: secretOf('partner') };
    await importHash(hallpass, key.clientId, hydrasHash(key.clientSecret));
    const renewed = await hallpass.rotateSecret(key, 60_000);
    assert.equal((await ask(hallpass, renewed)).status, 200);
    assert.equal((await ask(hallpass, key)).status, 200);
    const other = { clientId: 'other', clientSecret: secretOf('other') };
    await importHash(hallpass, other.clientId, hydrasHash(other.clientSecret));
    await hallpass.rotateSecret(other, 60_000);
    hallpass.clock.advance(60);
    assert.equal((await ask(hallpass, key)).outcome, '401 invalid_client');
    assert.equal((await ask(hallpass, other)).outcome, '401 invalid_client');
  });

  test('the hash is sealed at rest, and is useless if moved to another key', async () => {
    const hallpass = await startHallpass();
    const key = { clientId: 'partner', clientSecret: secretOf('partner') };
    const hash = `sha256:${hexOf(key.clientSecret)}`;
    await importHash(hallpass, key.clientId, hash);
    const client = await hallpass.instance.store.findClient(key.clientId);
    assert.ok(client !== undefined);
    const { clientId: thief } = await hallpass.makeKey();
    await hallpass.changeKey({ clientId: thief, clientSecret: '' }, { secrets: client.secrets });
    assert.equal((await ask(hallpass, { ...key, clientId: thief })).outcome, '401 invalid_client');
    const kept = readAll(hallpass.folder);
    assert.ok(kept.includes('partner'));
    assert.ok(!kept.includes(hash) && !kept.includes(hexOf(key.clientSecret)));
    assert.equal((await ask(hallpass, key)).status, 200);
  });
});

suite('import files', () => {
  const read = (text: string, more: Partial<ReadOptions> = {}): ImportFile =>
    readImportFile(bytes(text), { policy: {}, allowWeak: false, ...more });
  const faultsOf = (file: ImportFile): readonly string[] =>
    file.rows.flatMap((row) => ('fault' in row ? [`${row.at}: ${sentenceOf(row.fault)}`] : []));

  test('CSV: parse(print(rows)) = rows, whatever the fields hold, with either end of line', () => {
    const print = (rows: readonly (readonly string[])[], end: string): string =>
      rows.map((row) => row.map((field) => `"${field.replaceAll('"', '""')}"`).join(',') + end).join('');
    const row = fc.array(fc.string({ unit: fc.constantFrom('a', ',', '"', '\r', '\n', ' ', 'é', '/') }), {
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(fc.array(row), fc.constantFrom('\n', '\r\n'), (rows, end) => {
        const records = parseCsv(print(rows, end), ',', 100);
        assert.deepEqual(
          records.map(({ fields }) => fields),
          rows,
        );
      }),
    );
  });

  test('CSV: plain fields need no quotes, and quoted line breaks count as lines', () => {
    assert.deepEqual(parseCsv('a,b\r\n\r\n"x\ny",z\n1,2', ',', 10), [
      { line: 1, fields: ['a', 'b'] },
      { line: 3, fields: ['x\ny', 'z'] },
      { line: 5, fields: ['1', '2'] },
    ]);
    assert.deepEqual(parseCsv('', ',', 10), []);
    assert.deepEqual(parseCsv('""\n', ',', 10), [{ line: 1, fields: [''] }]);
    assert.deepEqual(parseCsv(',', ',', 10), [{ line: 1, fields: ['', ''] }]);
    const most = Array<string>(CSV_FIELDS_MAX).fill('');
    assert.deepEqual(parseCsv(most.join(','), ',', 10), [{ line: 1, fields: most }]);
  });

  for (const [name, text, line] of [
    ['a quote inside a plain field', 'a\nb"c', 2],
    ['something behind a closing quote', 'a\n\n"b"c', 3],
    ['a quote that does not end', 'a\nb\n"c\nd', 3],
    ['a line that is too long', `a\n${'b'.repeat(2_000_000)}`, 2],
    ['a line that is too long, of separators only', `a\n\n${','.repeat(2_000_000)}\nb`, 3],
    ['a field too many', `a\n"b\nc"\n${','.repeat(CSV_FIELDS_MAX)}`, 4],
  ] as const) {
    test(`CSV with ${name} is refused with its line number`, () => {
      assert.throws(
        () => parseCsv(text, ',', 10),
        (error) => error instanceof OperatorRefusal && 'line' in error.data && error.data.line === line,
      );
    });
  }

  test('random bytes in any format give rows or a refusal, never a throw', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom(',', '"', '\n', '\r', 'client_id', '[', '{', '}', ':') }),
      fc.json(),
    );
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array(), text.map(bytes)),
        fc.constantFrom('csv', 'json', 'hydra', undefined),
        (file, format) => {
          try {
            readImportFile(file, { policy: {}, allowWeak: true, ...(format === undefined ? {} : { format }) });
          } catch (error) {
            assert.ok(error instanceof OperatorRefusal, String(error));
          }
        },
      ),
    );
  });

  test('the format is recognised by the start of the file', () => {
    for (const [text, format] of [
      ['client_id,client_secret\n', 'csv'],
      ['[]', 'json'],
      ['[{"client_id":"a","scopes":[]}]', 'json'],
      ['\uFEFF [{"client_id":"a","grant_types":[]}]', 'hydra'],
      ['{"items":[],"is_last_page":true}', 'hydra'],
    ] as const)
      assert.equal(read(text).format, format, text);
  });

  test('each CSV column means the same as the JSON member of that name', () => {
    const csv = read(
      'client_id,client_secret,name,mode,scopes,default_scopes,audiences,resource_server_for,origins,require_origin,refresh,require_dpop,access_token_format,access_ttl_seconds,refresh_ttl_seconds,refresh_max_ttl_seconds,refresh_grace_seconds,requests_per_second,disabled\r\n' +
        'a,s,"A, of B",test,/a.read /b.read,/a.read,https://x.example,https://y.example,https://z.example,true,false,true,opaque,60,600,6000,0,5,true\r\n',
    );
    const json = read(
      JSON.stringify([
        {
          client_id: 'a',
          client_secret: 's',
          name: 'A, of B',
          mode: 'test',
          scopes: ['/a.read', '/b.read'],
          default_scopes: ['/a.read'],
          audiences: ['https://x.example'],
          resource_server_for: ['https://y.example'],
          origins: ['https://z.example'],
          require_origin: true,
          refresh: false,
          require_dpop: true,
          access_token_format: 'opaque',
          access_ttl_seconds: 60,
          refresh_ttl_seconds: 600,
          refresh_max_ttl_seconds: 6000,
          refresh_grace_seconds: 0,
          requests_per_second: 5,
          disabled: true,
        },
      ]),
    );
    const wanted = ({ rows }: ImportFile): unknown => rows.map((row) => ('wanted' in row ? row.wanted : row));
    assert.deepEqual(wanted(csv), wanted(json));
    assert.deepEqual(faultsOf(csv), []);
  });

  test("the command's options fill in what a row leaves out; the row wins", () => {
    const policy = { scopes: ['/x.read'], refresh: false };
    const { rows } = read('client_id,client_secret,scopes,refresh\na,s,,\nb,s,/y.read,true\n', { policy });
    assert.deepEqual(
      rows.map((row) => ('wanted' in row ? [row.wanted.scopes, row.wanted.refresh, row.wanted.name] : row)),
      [
        [['/x.read'], false, 'a'],
        [['/y.read'], true, 'b'],
      ],
    );
  });

  for (const [name, text, says] of [
    ['a column that is not read', 'client_id,secret\n', /no column secret/],
    ['a column twice', 'client_id,name,name\n', /name is there twice/],
    ['no header', `${PAIR.clientId},${PAIR.clientSecret}\n`, /must name its columns/],
    ['a value among the names', `client_id,${PAIR.clientSecret}\n`, /not shown/],
    ['JSON that ends early', `[\n{"client_secret":"${PAIR.clientSecret}"`, /not JSON/],
    ['JSON that is no array', `{"client_secret":"${PAIR.clientSecret}"}`, /array of keys/, 'json'],
  ] as const) {
    test(`a file with ${name} is refused as a whole, and nothing that may be a secret is repeated`, () => {
      const format = text.startsWith('{') ? ('json' as const) : undefined;
      assert.throws(
        () => read(text, format === undefined ? {} : { format }),
        (error) =>
          error instanceof OperatorRefusal &&
          says.test(sentenceOf(error)) &&
          !sentenceOf(error).includes(PAIR.clientSecret),
      );
    });
  }

  test('a file that is not UTF-8, too large, or has too many keys is refused', () => {
    const options = { policy: {}, allowWeak: false };
    assert.throws(() => readImportFile(new Uint8Array([0xff, 0xfe]), options), { code: 'file_not_utf8' });
    assert.throws(() => readImportFile(new Uint8Array(IMPORT_BYTES_MAX + 1), options), { code: 'file_too_large' });
    assert.throws(() => read(`[${'0,'.repeat(CLIENTS_MAX)}0]`), { code: 'file_with_too_many_keys' });
    assert.throws(() => read(`client_id\n${'a\n'.repeat(CLIENTS_MAX + 1)}`), { code: 'file_with_too_many_keys' });
  });

  for (const [name, item, says] of [
    ['no client_id', { client_secret: 's' }, /no client_id/],
    ['no credentials', { client_id: 'a' }, /neither client_secret nor/],
    ['a member that is not read', { client_id: 'a', client_secret: 's', scope: '/x.read' }, /no member scope/],
    ['a list that is a text', { client_id: 'a', client_secret: 's', scopes: '/x.read' }, /scopes must be a list/],
    ['a flag that is a text', { client_id: 'a', client_secret: 's', refresh: 'true' }, /refresh must be true or false/],
    ['a number that is a text', { client_id: 'a', client_secret: 's', requests_per_second: '5' }, /whole number/],
    ['another mode', { client_id: 'a', client_secret: 's', mode: 'prod' }, /mode must be live or test/],
  ] as const) {
    test(`JSON with ${name} is a bad row, named by its position`, () => {
      const [fault = ''] = faultsOf(read(JSON.stringify([{ client_id: 'b', client_secret: 's' }, item])));
      assert.match(fault, /^item 2: /);
      assert.match(fault, says);
    });
  }

  test('a CSV line with a field too few or too many is a bad row', () => {
    const faults = faultsOf(read('client_id,client_secret\na\nb,s\nc,s,t\n'));
    assert.equal(faults.length, 2);
    assert.match(faults[0] ?? '', /^line 2: .*1 fields/);
    assert.match(faults[1] ?? '', /^line 4: .*3 fields/);
  });
});

suite("Ory Hydra's export", async () => {
  const signer = await Signer.make();
  /** As GET /admin/clients of Hydra 2.2 prints it, with the hash of the table in it. */
  const client = (more: object = {}): object => ({
    client_id: '0f2ac6f6-5a1c-4b8e-9d3b-6f1f0e1d2c3b',
    client_name: 'Partner',
    client_secret: hydrasHash(secretOf('partner')),
    redirect_uris: null,
    grant_types: ['client_credentials'],
    response_types: null,
    scope: '/accounts.write /accounts.read',
    audience: [],
    owner: '',
    policy_uri: '',
    allowed_cors_origins: [],
    tos_uri: '',
    client_uri: '',
    logo_uri: '',
    contacts: null,
    client_secret_expires_at: 0,
    subject_type: 'public',
    jwks: {},
    token_endpoint_auth_method: 'client_secret_basic',
    userinfo_signed_response_alg: 'none',
    created_at: '2024-01-01T00:00:00Z',
    updated_at: '2024-01-01T00:00:00Z',
    metadata: {},
    skip_consent: false,
    client_credentials_grant_access_token_lifespan: null,
    ...more,
  });
  const hydra = (items: readonly object[], more: Partial<ReadOptions> = {}): ImportFile =>
    readImportFile(bytes(JSON.stringify({ items, next_page_token: '', is_last_page: true })), {
      policy: {},
      allowWeak: false,
      ...more,
    });
  const faultOf = ({ rows: [row] }: ImportFile): string =>
    row !== undefined && 'fault' in row ? sentenceOf(row.fault) : '';

  test('its clients work here with their existing secrets', async () => {
    const hallpass = await startHallpass();
    const key = { clientId: '0f2ac6f6-5a1c-4b8e-9d3b-6f1f0e1d2c3b', clientSecret: secretOf('partner') };
    const old = { clientId: 'old', clientSecret: secretOf('old') };
    const items = [
      client(),
      client({ client_id: 'old', client_secret: hashSync(old.clientSecret, 4).replace('$2b', '$2a') }),
    ];
    assert.deepEqual(await importText(hallpass, JSON.stringify(items), { policy: {} }), []);
    for (const known of [key, old]) {
      assert.equal((await ask(hallpass, { ...known, clientSecret: secretOf('other') })).outcome, '401 invalid_client');
      const answer = await ask(hallpass, known);
      assert.equal(answer.status, 200);
      assert.equal(answer.body['refresh_token'], undefined, 'it had none there');
    }
  });

  test('a client that signs is imported with its public keys', async () => {
    const hallpass = await startHallpass();
    const signs = {
      token_endpoint_auth_method: 'private_key_jwt',
      client_secret: undefined,
      jwks: { keys: [signer.jwk] },
    };
    assert.deepEqual(await importText(hallpass, JSON.stringify([client(signs)]), { policy: {} }), []);
    const [key] = await hallpass.keys.list();
    assert.equal(key?.authentication, 'private_key_jwt');
    assert.equal(key?.publicKeys.length, 1);
    assert.match(
      faultOf(hydra([client({ ...signs, jwks: {}, jwks_uri: 'https://a.example/jwks' })])),
      /jwks_uri is not followed/,
    );
  });

  test('scopes that are words are refused unless the command replaces them', () => {
    const words = client({ scope: 'offline openid' });
    assert.match(faultOf(hydra([words])), /words \(offline openid\).*--scope/);
    const [row] = hydra([words], { policy: { scopes: ['/x.read'] } }).rows;
    assert.ok(row !== undefined && 'wanted' in row);
    assert.deepEqual(row.wanted.scopes, ['/x.read']);
  });

  for (const [name, more, says] of [
    ['no client_credentials', { grant_types: ['authorization_code'] }, /grant_types do not include client_credentials/],
    ['no grant types at all', { grant_types: null }, /grant_types/],
    ['no authentication', { token_endpoint_auth_method: 'none' }, /public client/],
    ['another authentication', { token_endpoint_auth_method: 'client_secret_jwt' }, /must be client_secret_basic/],
    ['no secret', { client_secret: undefined }, /table hydra_client/],
    ['no scope', { scope: '' }, /no scope/],
    ['a lifespan that is none', { client_credentials_grant_access_token_lifespan: 'soon' }, /not a duration/],
  ] as const) {
    test(`a client with ${name} is a bad row, and the sentence says what to do`, () => {
      assert.equal(faultOf(hydra([client()])), '');
      assert.match(faultOf(hydra([client(more)])), says);
    });
  }

  test('lifespan, token strategy, refresh tokens and origins are imported', () => {
    const [row] = hydra([
      client({
        client_credentials_grant_access_token_lifespan: '0h5m0s',
        access_token_strategy: 'opaque',
        grant_types: ['client_credentials', 'refresh_token'],
        allowed_cors_origins: ['https://app.example.com'],
        audience: ['https://api.example.com'],
      }),
    ]).rows;
    assert.ok(row !== undefined && 'wanted' in row);
    const { accessTtlSeconds, accessTokenFormat, refresh, origins, audiences } = row.wanted;
    assert.deepEqual(
      { accessTtlSeconds, accessTokenFormat, refresh, origins, audiences },
      {
        accessTtlSeconds: 300,
        accessTokenFormat: 'opaque',
        refresh: true,
        origins: ['https://app.example.com'],
        audiences: ['https://api.example.com'],
      },
    );
  });

  test('one page of several is recognised and reported', () => {
    const page = JSON.stringify({ items: [], next_page_token: 'x', is_last_page: false });
    assert.equal(readImportFile(bytes(page), { policy: {}, allowWeak: false }).remarks.length, 1);
    assert.equal(hydra([]).remarks.length, 0);
  });
});

suite('a CSV file from a spreadsheet', () => {
  const columns = ['client_id', 'client_secret', 'name', 'scopes', 'authentication'];
  const cells = ['partner', secretOf('partner'), 'Half; "quoted", with all', '/a.read /b.read', 'client_secret_basic'];
  const quote = (cell: string): string => `"${cell.replaceAll('"', '""')}"`;

  for (const [name, separator] of [
    ['commas', ','],
    ['semicolons', ';'],
    ['tabs', '\t'],
  ] as const) {
    for (const [ending, header] of [
      ['\n', columns],
      ['\r\n', columns.map(quote)],
    ] as const) {
      test(`${name}, lines that end in ${JSON.stringify(ending)}, a byte order mark: the same key`, () => {
        const lines = [header.join(separator), cells.map(quote).join(separator), ''];
        const { rows, remarks, format } = readImportFile(bytes(`\ufeff${lines.join(ending)}`), {
          policy: {},
          allowWeak: false,
        });
        assert.equal(format, 'csv');
        assert.deepEqual(remarks, name === 'commas' ? [] : [name]);
        const [row] = rows;
        assert.ok(row !== undefined && 'wanted' in row, JSON.stringify(row));
        assert.equal(row.wanted.name, cells[2]);
        assert.deepEqual(row.wanted.scopes, ['/a.read', '/b.read']);
        assert.equal(row.wanted.authentication, 'client_secret_basic');
        assert.equal(row.wanted.imported.clientSecret, secretOf('partner'));
      });
    }
  }

  test("rows with another separator than the header are refused, naming the header's", () => {
    const { rows } = readImportFile(bytes(`client_id;client_secret\npartner,${secretOf('partner')}\n`), {
      policy: { scopes: [SCOPE] },
      allowWeak: false,
    });
    assert.match(JSON.stringify(rows), /"fields":1,"columns":2,"separators":"semicolons"/);
    assert.doesNotMatch(JSON.stringify(rows), new RegExp(secretOf('partner')));
  });

  test('a header without client_id is refused, naming the possible separators', () => {
    assert.throws(() => readImportFile(bytes('id|secret\na|b\n'), { policy: {}, allowWeak: false, format: 'csv' }), {
      code: 'file_without_header',
    });
  });
});

suite('ids, secrets and methods from other systems', () => {
  test('a client_id and a secret may contain spaces (RFC 6749 appendix A.1, A.2), but only printable ASCII', async () => {
    const hallpass = await startHallpass();
    const key = { clientId: ' Acme Payroll ', clientSecret: ' correct horse: battery staple ' };
    const text = `client_id,client_secret\n${key.clientId},${key.clientSecret}\n`;
    assert.deepEqual(await importText(hallpass, text), []);
    assert.equal((await ask(hallpass, key)).status, 200);
    for (const changed of [key.clientId.trim(), `${key.clientId} `]) {
      assert.equal((await ask(hallpass, { ...key, clientId: changed })).outcome, '401 invalid_client');
    }
    assert.equal(
      (await ask(hallpass, { ...key, clientSecret: key.clientSecret.trim() })).outcome,
      '401 invalid_client',
    );
    for (const bad of ['a\tb', 'caf\u00e9', 'a\u007fb']) {
      const faults = await importText(hallpass, `client_id,client_secret\n${bad},${key.clientSecret}x\n`);
      assert.match(String(faults[0]?.fault), /printable ASCII/, JSON.stringify(bad));
    }
    const disabled = await hallpass.keys.disable(key.clientId);
    assert.equal(disabled.clientId, key.clientId);
    assert.deepEqual(await eventsOf(hallpass, 'key_disabled'), [key.clientId]);
  });

  test('the authentication method is imported from a column, an option or Hydra; one that does not fit is named', async () => {
    const hallpass = await startHallpass();
    const methodOf = async (clientId: string): Promise<string> => (await hallpass.keys.show(clientId)).authentication;
    const csv = [
      'client_id,client_secret,authentication',
      `a,${secretOf('a')},client_secret_post`,
      `b,${secretOf('b')},`,
    ];
    const policy = { scopes: [SCOPE], authentication: 'client_secret_basic' } as const;
    assert.deepEqual(await importText(hallpass, csv.join('\n'), { policy }), []);
    assert.deepEqual([await methodOf('a'), await methodOf('b')], ['client_secret_post', 'client_secret_basic']);
    const { jwk } = await Signer.make();
    const signs = JSON.stringify([{ client_id: 'c', public_keys: [jwk] }]);
    assert.deepEqual(await importText(hallpass, signs, { policy }), []);
    assert.equal(await methodOf('c'), 'private_key_jwt');
    const hydra = ['client_secret_post', 'client_secret_basic', undefined].map((method, at) => ({
      client_id: `h${at}`,
      client_secret: secretOf(`h${at}`),
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: method,
    }));
    assert.deepEqual(await importText(hallpass, JSON.stringify(hydra), { format: 'hydra' }), []);
    assert.deepEqual(
      [await methodOf('h0'), await methodOf('h1'), await methodOf('h2')],
      ['client_secret_post', 'client_secret_basic', 'client_secret_basic'],
    );
    const bad = [csv[0], `d,${secretOf('d')},private_key_jwt`, `e,${secretOf('e')},basic`];
    const faults = await importText(hallpass, bad.join('\n'));
    assert.match(String(faults[0]?.fault), /public keys and no secret/);
    assert.match(String(faults[1]?.fault), /authentication must be client_secret, /);
  });

  test('warnings about Basic name the keys concerned, never a secret', () => {
    const csv = [
      'client_id,client_secret,client_secret_hash',
      `plain,${secretOf('plain')},`,
      `plus,${secretOf('plus')}+x,`,
      `hash,,sha256:${hexOf('x')}`,
      `urn:a,${secretOf('colon')},`,
    ];
    const { rows } = readImportFile(bytes(csv.join('\n')), { policy: { scopes: [SCOPE] }, allowWeak: false });
    const keys = rows.flatMap((row) => ('wanted' in row ? [row] : []));
    assert.deepEqual(
      keys.map(({ wanted }) => basicReadingOf(wanted)),
      ['same', 'both', 'unknown', 'encoded'],
    );
    const [both, unknown, encoded] = remarksOnBasic(keys);
    assert.match(String(both), /^A \+ or %.*: line 3\.$/);
    assert.match(String(unknown), /^Only a hash is known.*: line 4\.$/);
    assert.match(String(encoded), /^A colon.*: line 5\.$/);
    const many = Array.from({ length: 100 }, () => keys[1]).flatMap((key) => key ?? []);
    assert.match(String(remarksOnBasic(many)[0]), /line 3 and 80 more\.$/);
  });
});

suite('an import', () => {
  test('with a bad row nothing is imported, and every bad row is named', async () => {
    const hallpass = await startHallpass();
    await hallpass.makeKey({ imported: { ...PAIR, allowWeak: false } });
    const mixed = secretOf('mixed');
    const rows = [
      'client_id,client_secret,client_secret_hash,scopes',
      `good,${secretOf('good')},,`,
      'weak,hunter2hunter2,,',
      `hash,,$2b$10$cut,`,
      `both,${secretOf('both')},sha256:${hexOf('x')},`,
      `good,${secretOf('again')},,`,
      `${PAIR.clientId},${PAIR.clientSecret},,`,
      `café,${secretOf('space')},,`,
      `scope,${secretOf('scope')},,accounts.write`,
      `mixed,${secretOf('other')},,${mixed}`,
      'costly,,$2b$15$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui,',
    ];
    const bad = await importText(hallpass, rows.join('\n'));
    assert.deepEqual(
      bad.map(({ at, fault }) => [
        at,
        /weak-secret|malformed|cut short|Leave|client_id is|not a scope|too long/.exec(fault)?.[0],
      ]),
      [
        ['line 3', 'weak-secret'],
        ['line 4', 'cut short'],
        ['line 5', 'Leave'],
        ['line 6', 'Leave'],
        ['line 7', 'Leave'],
        ['line 8', 'client_id is'],
        ['line 9', 'not a scope'],
        ['line 10', 'not a scope'],
        ['line 11', 'too long'],
      ],
    );
    const sentences = JSON.stringify(bad);
    for (const secret of [
      ...['good', 'both', 'again', 'space', 'scope', 'other'].map(secretOf),
      mixed,
      PAIR.clientSecret,
      'hunter2',
    ])
      assert.ok(!sentences.includes(secret), sentences);
    assert.equal((await hallpass.keys.list()).length, 1, 'nothing was kept');
    assert.deepEqual(await importText(hallpass, rows.slice(0, 2).join('\n')), [], 'the good row alone is');
    assert.equal((await ask(hallpass, { clientId: 'good', clientSecret: secretOf('good') })).status, 200);
  });

  test('an interrupted import keeps what was acknowledged, and --on-conflict skip finishes it', async () => {
    const hallpass = await startHallpass();
    const keys = Array.from({ length: 20 }, (_, at) => ({ clientId: `p${at}`, clientSecret: secretOf(`p${at}`) }));
    const text = JSON.stringify(keys.map((key) => ({ client_id: key.clientId, client_secret: key.clientSecret })));
    let left = 7;
    const { store } = hallpass.instance;
    const failing: Store = {
      ...store,
      saveClient: async (...given) => {
        if (left-- === 0) throw new StoreUnavailable('The disk is full.');
        return await store.saveClient(...given);
      },
    };
    const onFailing = { instance: { ...hallpass.instance, store: failing } };
    await assert.rejects(importText(onFailing, text), StoreUnavailable);
    assert.equal((await hallpass.keys.list()).length, 7);
    const refused = await importText(hallpass, text);
    assert.equal(refused.length, 7);
    assert.match(refused[0]?.fault ?? '', /--on-conflict skip/);
    assert.deepEqual(await importText(hallpass, text, { onConflict: 'skip' }), []);
    assert.equal((await hallpass.keys.list()).length, 20);
    for (const key of keys) assert.equal((await ask(hallpass, key)).status, 200);
  });

  test('a key created between check and import is skipped or refused, and left unchanged', async () => {
    const hallpass = await startHallpass();
    const { instance } = hallpass;
    const api = manageApiKeys(instance);
    const key = await hallpass.makeKey();
    const text = JSON.stringify([{ client_id: key.clientId, client_secret: secretOf('late') }]);
    const { rows } = readImportFile(bytes(text), { policy: { scopes: [SCOPE] }, allowWeak: false });
    const { planned } = await planImport({ store: instance.store, api }, rows, 'skip');
    const late = planned.map((one) => ({ ...one, exists: false }));
    const done = (): 'go_on' => 'go_on';
    assert.deepEqual(await keepImport(api, late, { onConflict: 'skip', done }), { made: 0, skipped: 1 });
    await assert.rejects(keepImport(api, late, { onConflict: 'refuse', done }), OperatorRefusal);
    assert.equal((await ask(hallpass, key)).status, 200);
  });

  test('the file in docs/operating.md can be imported', async () => {
    const hallpass = await startHallpass();
    const text = readFileSync(new URL('../../../../docs/operating.md', import.meta.url), 'utf8');
    const [, example = ''] = /```csv\n([^`]+)```/.exec(text) ?? [];
    assert.deepEqual(await importText(hallpass, example, { policy: {} }), []);
    assert.equal((await ask(hallpass, { ...PAIR, clientId: 'partner-1' })).status, 200);
    const hashed = (clientSecret: string): Promise<Answer> =>
      hallpass.form(
        '/oauth2/token',
        { ...TOKEN, scope: '/accounts.read' },
        { key: { clientId: 'partner-2', clientSecret } },
      );
    assert.equal((await hashed(PAIR.clientSecret)).outcome, '401 invalid_client');
    assert.equal((await hashed('Xq2mB7vTz9Lk4sRw8nYc-pD3fGh6JtKa')).status, 200);
  });

  test('the output of keys list --json can be imported once secrets are added', async () => {
    const hallpass = await startHallpass();
    const folder = await startHallpass();
    await hallpass.makeKey({
      name: 'whole',
      audiences: ['https://a.example'],
      accessTtlSeconds: 60,
      requireDpop: true,
    });
    const { shownDocument } = await import('../../src/cli/key_output.ts');
    const [shown] = await hallpass.keys.list();
    assert.ok(shown !== undefined);
    const exported = { ...shownDocument(shown), client_secret: secretOf('whole') };
    assert.deepEqual(await importText(folder, JSON.stringify([exported]), { policy: {} }), []);
    const [again] = await folder.keys.list();
    const { secrets: _, createdAt: _c, updatedAt: _u, ...policy } = shown;
    const { secrets: _s, createdAt: _d, updatedAt: _v, ...policyAgain } = again ?? shown;
    assert.deepEqual(policyAgain, policy);
  });
});

suite('hallpass keys import', { concurrency: 2 }, () => {
  const on = (t: TestContext): Promise<Environment> => makeStore(t);
  const save = (t: TestContext, text: string): string => {
    const file = join(makeFolder(t), 'keys');
    writeFileSync(file, text);
    return file;
  };
  const listed = async (environment: Environment): Promise<readonly unknown[]> => {
    const { stdout } = await runCommand(['keys', 'list', '--json'], environment);
    const value: unknown = JSON.parse(stdout);
    assert.ok(Array.isArray(value));
    return value;
  };
  const importOf = (
    t: TestContext,
    environment: Environment,
    text: string,
    ...args: readonly string[]
  ): Promise<Done> => runCommand(['keys', 'import', save(t, text), ...args], environment);

  test('a key and secret from CSV work over Basic, and no secret in the file is printed, logged or stored', async (t) => {
    const hashed = { clientId: 'hashed', clientSecret: secretOf('hashed') };
    const csv = `\uFEFFclient_id,client_secret,client_secret_hash,scopes\r\n${PAIR.clientId},${PAIR.clientSecret},,${SCOPE}\r\n${hashed.clientId},,${hashSync(hashed.clientSecret, 4)},${SCOPE}\r\n`;
    const server = await serve(t, { HALLPASS_LOG_LEVEL: 'info' });
    const done = await importOf(t, server.environment, csv);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, /Imported 2 API keys; 0 existed already/);
    assert.match(done.stderr, /read as CSV \(--format csv\)/);
    const shown = async (clientId: string): Promise<string> =>
      (await runCommand(['keys', 'show', clientId], server.environment)).stdout;
    const UNUSED = /never used, under its imported hash until it is used/;
    assert.match(await shown(hashed.clientId), UNUSED);
    assert.doesNotMatch(await shown(PAIR.clientId), UNUSED);
    for (const key of [PAIR, hashed]) {
      const basic = Buffer.from(`${key.clientId}:${key.clientSecret}`).toString('base64');
      const asked = (authorization: string): Promise<Response> =>
        fetch(`${server.url}/oauth2/token`, {
          method: 'POST',
          headers: { authorization, 'content-type': 'application/x-www-form-urlencoded' },
          body: new URLSearchParams(TOKEN).toString(),
        });
      assert.equal((await asked(`Basic ${basic}`)).status, 200);
      assert.equal((await asked(`Basic ${Buffer.from(`${key.clientId}:wrong`).toString('base64')}`)).status, 401);
    }
    assert.doesNotMatch(await shown(hashed.clientId), /imported hash/);
    const said = `${done.stdout}${done.stderr}${server.stdout()}${server.stderr()}${readAll(server.environment['HALLPASS_DATA_DIR'] ?? '')}`;
    for (const secret of [PAIR.clientSecret, hashed.clientSecret]) assert.ok(!said.includes(secret));
  });

  test('--dry-run shows what would be imported and imports nothing, as text and as JSON', async (t) => {
    const environment = await on(t);
    const csv = `client_id,client_secret,name\nfirst,${secretOf('first')},First\nsecond,${secretOf('second')},\n`;
    const dry = await importOf(t, environment, csv, '--scope', SCOPE, '--dry-run');
    assert.equal(dry.code, 0, dry.stderr);
    assert.match(dry.stdout, /line 2 +first +First +secret +enabled +\/accounts.write/);
    assert.match(dry.stdout, /Would import 2 API keys/);
    assert.doesNotMatch(dry.stderr, /A \+ or %/);
    const odd = `client_id;client_secret\nodd;${secretOf('odd')}+\n`;
    const both = await importOf(t, environment, odd, '--scope', SCOPE, '--dry-run');
    assert.match(both.stderr, /separated by semicolons[^]*A \+ or %.*: line 2\./);
    assert.ok(!`${both.stdout}${both.stderr}`.includes(secretOf('odd')));
    const json = await importOf(t, environment, csv, '--scope', SCOPE, '--dry-run', '--json');
    assert.deepEqual(JSON.parse(json.stdout), {
      format: 'csv',
      rows: 2,
      made: 0,
      skipped: 0,
      bad: [],
      dry_run: true,
      keys: ['first', 'second'].map((name, at) => ({
        at: `line ${at + 2}`,
        client_id: name,
        name: at === 0 ? 'First' : name,
        scopes: [SCOPE],
        credential: 'secret',
        basic: 'same',
        disabled: false,
        exists: false,
      })),
    });
    assert.deepEqual(await listed(environment), []);
    for (const { stdout, stderr } of [dry, json])
      for (const name of ['first', 'second']) assert.ok(!`${stdout}${stderr}`.includes(secretOf(name)));
  });

  test('bad rows are listed one per line with exit code 1, and nothing is imported; as JSON too', async (t) => {
    const environment = await on(t);
    const csv = `client_id,client_secret\nfirst,${secretOf('first')}\nsecond,weak\n,${secretOf('third')}\n`;
    const refused = await importOf(t, environment, csv, '--scope', SCOPE);
    assert.equal(refused.code, 1);
    assert.equal(refused.stdout, '');
    assert.match(refused.stderr, /line 3: .*--allow-weak-secret/);
    assert.match(refused.stderr, /line 4: It has no client_id/);
    assert.match(refused.stderr, /2 of 3 keys cannot be imported, and nothing was kept/);
    const json = await importOf(t, environment, csv, '--scope', SCOPE, '--json');
    assert.equal(json.code, 1);
    const document: unknown = JSON.parse(json.stdout);
    assert.ok(typeof document === 'object' && document !== null && 'bad' in document && Array.isArray(document.bad));
    assert.equal(document.bad.length, 2);
    assert.deepEqual(await listed(environment), []);
    const weak = `client_id,client_secret\nsecond,weak\n`;
    assert.equal((await importOf(t, environment, weak, '--scope', SCOPE, '--allow-weak-secret')).code, 0);
  });

  test('the file - is standard input, and a missing file is refused', async (t) => {
    const environment = await on(t);
    const input = JSON.stringify([{ client_id: 'a', client_secret: secretOf('a'), scopes: [SCOPE] }]);
    const done = await runCommand(['keys', 'import', '-', '--json'], environment, input);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, /"made": 1/);
    const none = await runCommand(['keys', 'import', join(makeFolder(t), 'none')], environment);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /cannot be read/);
    const unsaid = await runCommand(['keys', 'import', '-', '--format', 'xml'], environment, input);
    assert.equal(unsaid.code, 2);
  });

  test('an import that is killed is finished by the same command with --on-conflict skip', async (t) => {
    const environment = await on(t);
    const count = 3_000;
    const lines = Array.from(
      { length: count },
      (_, at) => `p${at},${printBase64url(bytes(`${at} and a tail of some length`))}`,
    );
    const file = save(t, `client_id,client_secret\n${lines.join('\n')}\n`);
    const bin = fileURLToPath(new URL('../../bin/hallpass.js', import.meta.url));
    const args = ['keys', 'import', file, '--scope', SCOPE];
    const env = { PATH: process.env['PATH'], ...environment };
    const child = spawn(process.execPath, [bin, ...args], { env, stdio: 'ignore' });
    const ended = new Promise((resolve) => {
      child.once('close', resolve);
    });
    await until(async () => (await countKeys(environment)) > 0, 20_000);
    child.kill('SIGKILL');
    await ended;
    const kept = await countKeys(environment);
    assert.ok(kept > 0 && kept < count, `${kept} were kept`);
    const again = await runCommand(args, environment);
    assert.equal(again.code, 1, again.stderr.slice(0, 300));
    const rest = await runCommand([...args, '--on-conflict', 'skip', '--json'], environment);
    assert.equal(rest.code, 0, rest.stderr);
    assert.match(rest.stdout, new RegExp(`"made": ${count - kept},\\s+"skipped": ${kept}`));
    assert.equal(await countKeys(environment), count);
  });
});

/** How many of the keys that begin with p a store has, read past the command so that it takes no time to speak of. */
async function countKeys(environment: Environment): Promise<number> {
  const { DatabaseSync } = await import('node:sqlite');
  try {
    const database = new DatabaseSync(join(environment['HALLPASS_DATA_DIR'] ?? '', 'hallpass.db'), { readOnly: true });
    const row = database.prepare("SELECT count(*) AS count FROM clients WHERE client_id LIKE 'p%'").get();
    database.close();
    return Number(row?.['count'] ?? 0);
  } catch {
    return 0;
  }
}
