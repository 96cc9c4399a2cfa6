import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { makeFolder, type Done } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';

/** The OpenAPI file of a ledger whose scopes appear only in its prose. */
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
    const done = await runCommand(['policy', ...args], { HALLPASS_DATA_DIR: path('data') });
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
  test('check prints the table of a policy file that a guard can use', async (t) => {
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

  test('check warns about closed operations, and fails with --strict', async (t) => {
    const { path, run } = open(t);
    const file = path('half.yaml');
    writeFileSync(file, SETTLED.replace('[]', "[{ Hallpass: ['/status.read', '/status.write'] }]"));
    const { code, stdout, stderr } = await run('check', file);
    assert.equal(code, 0);
    assert.match(stdout, /GET +\/v1\/status +- closed\nFit for a guard: 4 routes, 4 scopes, 0 public, 1 closed\.\n$/);
    assert.match(stderr, /^warning: \S+:\d+: GET \/v1\/status: '\/status\.read, \/status\.write' are several scopes/);
    const strict = await run('check', file, '--strict');
    assert.equal(strict.code, 1);
    assert.match(strict.stdout, /\/accounts\.read/);
    assert.match(strict.stderr, /error: 1 operation closed, and --strict allows none\.\n$/);
    const json = parse((await run('check', file, '--json')).stdout);
    assert.deepEqual([json['fit'], json['closed']], [true, ['GET /v1/status']]);
    assert.equal(parse((await run('check', file, '--json', '--strict')).stdout)['fit'], false);
    assert.equal((await run('check', path('settled.yaml'), '--strict')).code, 0);
  });

  test('check names extensions about access that a guard ignores', async (t) => {
    const { path, run } = open(t);
    writeFileSync(path('extended.yaml'), SETTLED.replace('security: []', 'security: []\n      x-required-role: admin'));
    const { code, stderr } = await run('check', path('extended.yaml'), '--strict');
    assert.equal(code, 0);
    assert.match(stderr, /extended\.yaml:\d+: 'x-required-role' is not read: only security decides who gets in\./);
  });

  test('check fails if nothing is open, with a line for each fault: where it is and what to do', async (t) => {
    const { path, run } = open(t);
    const file = path('ledger.yaml');
    const { code, stdout, stderr } = await run('check', file);
    assert.equal(code, 1);
    assert.match(stdout, /GET +\/v1\/accounts +- closed/);
    const lines = stderr.trimEnd().split('\n');
    assert.equal(lines.length, 6, stderr);
    assert.equal(
      lines[0],
      `error: ${file}:6: GET /v1/accounts: Its security asks for no scope. Name one there, or write security: [] and serve it outside the guard.`,
    );
    assert.equal(lines[5], 'error: It opens no operation. hallpass policy draft proposes scopes.');
    const json = await run('check', file, '--json');
    assert.equal(json.code, 1);
    assert.equal(json.stderr, '');
    const { faults } = parse(json.stdout);
    assert.ok(Array.isArray(faults) && faults.length === 5);
    const malformed = path('malformed.yaml');
    writeFileSync(malformed, `${SETTLED}securty: []\n`);
    const refused = await run('check', malformed);
    assert.equal(refused.code, 1);
    assert.equal(refused.stdout, '');
    assert.match(refused.stderr, /Did you mean 'security'\?\nerror: No policy can be made of it: 1 fault\.\n$/);
  });

  test('a wrong command line ends with 2, a missing file with 1', async (t) => {
    const { path, run } = open(t);
    for (const args of [
      ['check'],
      ['check', path('settled.yaml'), '--base-path', 'v1'],
      ['check', path('settled.yaml'), '--base-path', '/v1/'],
      ['check', path('settled.yaml'), '--nonsense'],
      ['draft'],
      ['draft', path('ledger.yaml'), '--base-path', 'v1'],
      ['scopes'],
      ['nonsense'],
    ]) {
      const { code, stdout } = await run(...args);
      assert.equal(code, 2, args.join(' '));
      assert.equal(stdout, '');
    }
    for (const command of ['check', 'draft', 'scopes', 'types']) {
      const { code, stdout, stderr } = await run(command, path('none.yaml'));
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.match(stderr, /none\.yaml.*cannot be read/);
    }
  });

  test('draft, review, check: from paths to a policy in one file', async (t) => {
    const { path, run } = open(t);
    const [file, output] = [path('ledger.yaml'), path('routes.yaml')];
    const drafted = await run('draft', file, '--output', output);
    assert.equal(drafted.code, 0, drafted.stderr);
    assert.match(drafted.stdout, /^method +path +scope\nGET +\/v1\/accounts +\/accounts\.read\n/);
    assert.match(
      drafted.stdout,
      /\nWrote .*routes\.yaml\. Review each line, then: hallpass policy check .*routes\.yaml\n$/,
    );
    assert.deepEqual(readdirSync(path('.')).toSorted(), ['ledger.yaml', 'routes.yaml', 'settled.yaml']);
    const text = readFileSync(output, 'utf8');
    assert.match(
      text,
      /^POST \/v1\/transfers: +\/transfers\.write +# its description names \/accounts\/\{yourAccountID\}\/transfers\.write$/m,
    );
    // Printed for a pipe it is the same file.
    assert.equal((await run('draft', file)).stdout, text);
    const checked = await run('check', output);
    assert.equal(checked.code, 0, checked.stderr);
    assert.match(checked.stdout, /Fit for a guard: 5 routes, 5 scopes, 0 public\./);
    // What was reviewed by hand is not written over by the next draft.
    const again = await run('draft', file, '--output', output);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /already exists.*--force/);
    assert.equal((await run('draft', file, '--output', output, '--force')).code, 0);
    const nowhere = await run('draft', file, '--output', path('no/such/folder.yaml'));
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /cannot be written/);
    const { routes } = parse((await run('draft', path('settled.yaml'), '--json')).stdout);
    assert.ok(Array.isArray(routes));
    assert.deepEqual(routes.at(-1), { route: 'GET /v1/status', note: 'public: serve it outside the guard' });
  });

  test('scopes that are words are mapped: proposed, reviewed, and then used by check, draft and types', async (t) => {
    const { path, run } = open(t);
    const [file, scopes] = [path('words.yaml'), path('scopes.yaml')];
    writeFileSync(file, SETTLED.replaceAll(/'\/(\w+)\.(\w+)'/g, "'$1:$2'"));
    const before = await run('check', file);
    assert.match(before.stderr, /'accounts:read' is not a scope\. .* hallpass policy scopes proposes how/);
    const proposed = await run('scopes', file, '--output', scopes);
    assert.equal(proposed.code, 0, proposed.stderr);
    assert.match(proposed.stdout, /^Wrote .*scopes\.yaml\. Review each line, then: hallpass policy check .* --scopes /);
    assert.match(readFileSync(scopes, 'utf8'), /^"accounts:read": +\/accounts\.read +# GET \/accounts$/m);
    for (const command of ['check', 'draft', 'types']) {
      const { code, stdout, stderr } = await run(command, file, '--scopes', scopes);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /\/accounts\.read/, command);
    }
    const nothing = await run('scopes', path('settled.yaml'));
    assert.deepEqual([nothing.code, nothing.stdout], [0, '']);
    assert.match(nothing.stderr, /There is nothing to map/);
    const { scopes: listed } = parse((await run('scopes', file, '--json')).stdout);
    assert.ok(Array.isArray(listed) && listed.length === 2);
  });

  test('types prints a module that the compiler checks strictly', async (t) => {
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
    const faulty = await run('types', path('none.yaml'));
    assert.equal(faulty.code, 1);
    assert.equal(faulty.stdout, '');
    // What is closed is no route, and is warned of beside the module.
    writeFileSync(path('half.yaml'), SETTLED.replace('security: []', 'securty: []'));
    const closed = await run('types', path('half.yaml'));
    assert.deepEqual([closed.code, closed.stdout], [0, stdout]);
    assert.match(closed.stderr, /^warning: .*Did you mean 'security'\?$/m);
  });
});
