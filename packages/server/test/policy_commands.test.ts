import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { makeFolder, startCommand, type Done } from './command.ts';

/** A ledger whose scopes stand in its prose alone. */
const LEDGER = `openapi: 3.0.3
info: { title: Ledger, version: 1.0.0 }
servers: [{ url: https://api.example.com/v1 }]
paths:
  /accounts:
    get:
      description: To list accounts, you must specify the \`/accounts.read\` scope.
    post:
      description: To open an account, you'll need to specify the \`/accounts.write\` scope.
  /accounts/{accountID}/transfers:
    get:
      description: Lists them. You'll need to specify the \`/accounts/{accountID}/transfers.read\` scope.
  /transfers:
    post:
      description: Moves money. You must specify the \`/accounts/{yourAccountID}/transfers.write\` scope.
  /status:
    get:
      description: Whether it is well.
`;

const SETTLED = LEDGER.replaceAll(/description: .*`(.*)`.*/g, "security: [{ Hallpass: ['$1'] }]")
  .replace('{yourAccountID}/', '')
  .replace('description: Whether it is well.', 'security: []')
  .concat('components: { securitySchemes: { Hallpass: { type: oauth2, flows: {} } } }\n');

interface Folder {
  readonly path: (name: string) => string;
  readonly run: (...args: readonly string[]) => Promise<Done>;
}

/** A folder with these two files. No store is made: these commands have nothing to do with one. */
function open(t: TestContext): Folder {
  const folder = makeFolder(t);
  const path = (name: string): string => join(folder, name);
  writeFileSync(path('ledger.yaml'), LEDGER);
  writeFileSync(path('settled.yaml'), SETTLED);
  const run = async (...args: readonly string[]): Promise<Done> => {
    const done = await startCommand(['policy', ...args], { HALLPASS_DATA_DIR: path('data') });
    assert.ok(!existsSync(path('data')));
    assert.doesNotMatch(done.stderr, /\n\s+at |node:internal/, 'no stack');
    return done;
  };
  return { path, run };
}

function parse(text: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(text);
  return Object.fromEntries(Object.entries(Object(value)));
}

// Each test waits for processes of its own.
suite('policy', { concurrency: 3 }, () => {
  test('check prints the table of a file that a guard could be pointed at', async (t) => {
    const { path, run } = open(t);
    const { code, stdout, stderr } = await run('check', path('settled.yaml'));
    assert.equal(code, 0, stderr);
    assert.equal(stderr, '');
    assert.deepEqual(stdout.trimEnd().split('\n'), [
      'method  path                                scope',
      'GET     /v1/accounts                        /accounts.read',
      'POST    /v1/accounts                        /accounts.write',
      'GET     /v1/accounts/{accountID}/transfers  /accounts/{accountID}/transfers.read',
      'POST    /v1/transfers                       /accounts/transfers.write',
      'GET     /v1/status                          - public: serve it outside the guard',
      'Fit for a guard: 4 routes, 4 scopes, 1 public.',
    ]);
    const moved = await run('check', path('settled.yaml'), '--base-path', '/v2', '--json');
    assert.equal(moved.code, 0);
    const { routes, public: open_, faults } = parse(moved.stdout);
    assert.deepEqual(faults, []);
    assert.deepEqual(open_, ['GET /v2/status']);
    assert.ok(Array.isArray(routes));
    assert.deepEqual(routes[0], {
      route: 'GET /v2/accounts',
      method: 'GET',
      path: '/v2/accounts',
      scope: '/accounts.read',
    });
  });

  test('check fails with a line for each fault, where it is and what to do', async (t) => {
    const { path, run } = open(t);
    const file = path('ledger.yaml');
    const { code, stdout, stderr } = await run('check', file);
    assert.equal(code, 1);
    assert.equal(stdout, '');
    const lines = stderr.trimEnd().split('\n');
    assert.equal(lines.length, 6, stderr);
    assert.equal(
      lines[0],
      `error: ${file}:6: GET /v1/accounts: Its security asks for no scope. Name one there, or say security: [] and serve it outside the guard.`,
    );
    assert.equal(lines[5], 'error: No policy can be made of it: 5 faults.');
    const json = await run('check', file, '--json');
    assert.equal(json.code, 1);
    assert.equal(json.stderr, '');
    const { faults } = parse(json.stdout);
    assert.ok(Array.isArray(faults) && faults.length === 5);
    // What is right is shown beside what is not.
    const half = path('half.yaml');
    writeFileSync(half, SETTLED.replace('[]', "[{ Hallpass: ['/status.read', '/status.write'] }]"));
    const both = await run('check', half);
    assert.equal(both.code, 1);
    assert.match(both.stdout, /\/accounts\.read/);
    assert.match(both.stderr, /:\d+: GET \/v1\/status: '\/status\.read, \/status\.write' are several scopes/);
  });

  test('a command that is not said right ends with 2, one about a file that is not there with 1', async (t) => {
    const { path, run } = open(t);
    for (const args of [
      ['check'],
      ['check', path('settled.yaml'), '--base-path', 'v1'],
      ['check', path('settled.yaml'), '--base-path', '/v1/'],
      ['check', path('settled.yaml'), '--nonsense'],
      ['draft'],
      ['draft', path('ledger.yaml'), '--token-url', 'auth.example.com'],
      ['nonsense'],
    ]) {
      const { code, stdout } = await run(...args);
      assert.equal(code, 2, args.join(' '));
      assert.equal(stdout, '');
    }
    for (const command of ['check', 'draft']) {
      const { code, stdout, stderr } = await run(command, path('none.yaml'));
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.match(stderr, /none\.yaml.*cannot be read/);
    }
  });

  test('draft, settle, check: from prose to a policy', async (t) => {
    const { path, run } = open(t);
    const [file, overlay] = [path('ledger.yaml'), path('ledger.overlay.yaml')];
    const drafted = await run(
      'draft',
      file,
      '--output',
      overlay,
      '--token-url',
      'https://auth.example.com/oauth2/token',
    );
    assert.equal(drafted.code, 0, drafted.stderr);
    assert.match(drafted.stdout, /^Wrote .*ledger\.overlay\.yaml\. hallpass policy check .* --overlay /);
    assert.match(drafted.stderr, /unsure POST \/transfers: \/transfers\.write\? .*\{yourAccountID\}/);
    assert.match(drafted.stderr, /unsure GET \/status: \/status\.read\? /);
    assert.match(drafted.stderr, /5 scopes proposed, 2 of them unsure/);
    assert.deepEqual(readdirSync(path('.')).toSorted(), ['ledger.overlay.yaml', 'ledger.yaml', 'settled.yaml']);

    const unsettled = await run('check', file, '--overlay', overlay);
    assert.equal(unsettled.code, 1);
    assert.match(unsettled.stderr, /ledger\.yaml:14: POST \/v1\/transfers: .*Settle it where x-hallpass-unsure stands/);
    assert.match(unsettled.stderr, /2 faults/);

    const text = readFileSync(overlay, 'utf8');
    writeFileSync(overlay, text.replaceAll(/\n +x-hallpass-unsure: .*/g, ''));
    const settled = await run('check', file, '--overlay', overlay);
    assert.equal(settled.code, 0, settled.stderr);
    assert.match(
      settled.stdout,
      /GET +\/v1\/accounts\/\{accountID\}\/transfers +\/accounts\/\{accountID\}\/transfers\.read/,
    );

    // What was settled by hand is not written over by the next draft.
    const before = readFileSync(overlay, 'utf8');
    const again = await run('draft', file, '--output', overlay);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /already.*--force/);
    assert.equal(readFileSync(overlay, 'utf8'), before);
    const forced = await run('draft', file, '--output', overlay, '--force');
    assert.equal(forced.code, 0);
    assert.match(readFileSync(overlay, 'utf8'), /x-hallpass-unsure/);
    const nowhere = await run('draft', file, '--output', path('no/such/folder.yaml'));
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /cannot be written/);
  });

  test('draft prints the overlay alone, for a pipe; or everything as JSON', async (t) => {
    const { path, run } = open(t);
    const file = path('ledger.yaml');
    const { code, stdout, stderr } = await run('draft', file);
    assert.equal(code, 0);
    assert.match(stdout, /^overlay: 1\.0\.0\n/);
    assert.match(stderr, /unsure/);
    writeFileSync(path('piped.yaml'), stdout);
    assert.match((await run('check', file, '--overlay', path('piped.yaml'))).stderr, /2 faults/);

    const output = path('overlay.json');
    const json = parse((await run('draft', file, '--json', '--output', output)).stdout);
    const { proposed, unsure, operations, overlay } = json;
    assert.deepEqual([proposed, unsure], [5, 2]);
    assert.ok(Array.isArray(operations));
    assert.deepEqual(operations[0], {
      operation: 'GET /accounts',
      scope: '/accounts.read',
      confidence: 'sure',
      reason: 'named in its description',
    });
    assert.deepEqual(parse(readFileSync(output, 'utf8')), overlay);
    const nothing = await run('draft', path('settled.yaml'));
    assert.equal(nothing.code, 0);
    assert.equal(nothing.stdout, '');
    assert.match(nothing.stderr, /nothing to draft/);
  });

  test('types prints a module that the compiler takes to the letter', async (t) => {
    const { path, run } = open(t);
    const { code, stdout, stderr } = await run('types', path('settled.yaml'));
    assert.equal(code, 0, stderr);
    const module = path('routes.mts');
    writeFileSync(module, stdout);
    const loaded: unknown = await import(module);
    assert.deepEqual(Object.fromEntries(Object.entries(Object(loaded))), {
      routes: ['GET /v1/accounts', 'POST /v1/accounts', 'GET /v1/accounts/{accountID}/transfers', 'POST /v1/transfers'],
      scopes: [
        '/accounts.read',
        '/accounts.write',
        '/accounts/transfers.write',
        '/accounts/{accountID}/transfers.read',
      ],
    });
    const faulty = await run('types', path('ledger.yaml'));
    assert.equal(faulty.code, 1);
    assert.equal(faulty.stdout, '');
    assert.match(faulty.stderr, /5 faults/);
  });
});
