/** The packages on every Node that they are for, and each of the libraries installed alone. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { installRuntimes } from '../testing/runtimes/installed.ts';
import { commandOf, compile, demand, installProject, packInto, parseObject, ROOT, run } from './installed.ts';
import { commandsOf, playQuickstart } from './quickstart.ts';
import * as readme from './readme_examples.ts';
import { playProgram, serveReadme, type ReadmeServer } from './readme_server.ts';

const VERSION = String(parseObject(readFileSync(join(ROOT, 'package.json'), 'utf8'))['version']);

const binaryOf = installRuntimes('all');
/** The oldest Node that the libraries support, the oldest that the server supports, and the running one. */
const OLD = binaryOf('node20');
const SERVING = binaryOf('node24');
const OWN = process.execPath;
const NODES: Readonly<Record<string, string>> = {
  'Node 20': OLD,
  'Node 24': SERVING,
  [`Node ${process.versions.node.split('.')[0]}`]: OWN,
};

const work = mkdtempSync(join(tmpdir(), 'hallpass-packages-'));
/** A project with all four packages and Express, one with the SDK alone, one with the guard alone. */
let everything: string;
let clientAlone: string;
let guardAlone: string;

before(async () => {
  for (const [name, node] of Object.entries(NODES)) {
    assert.equal((await demand(node, ['--version'], { cwd: work })).split('.')[0], name.replace('Node ', 'v'));
  }
  const tarballs = await packInto(join(work, 'dist'));
  const tarball = (name: string): string => join(work, 'dist', `${name}-${VERSION}.tgz`);
  [everything, clientAlone, guardAlone] = await Promise.all([
    installProject(join(work, 'everything'), [...tarballs, 'express@5', '@types/express@5', 'hono@4']),
    installProject(join(work, 'client'), [tarball('hallpass-client')], 'commonjs'),
    installProject(join(work, 'guard'), [tarball('hallpass-guard')]),
  ]);
});
after(() => rmSync(work, { recursive: true }));

test('the SDK and the guard, installed alone, bring only what they need', () => {
  for (const [project, wanted] of [
    [clientAlone, ['@hallpass']],
    [guardAlone, ['@hallpass', 'eventsource-parser', 'jose', 'yaml']],
  ] as const) {
    const modules = readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.'));
    assert.deepEqual(modules, wanted);
    assert.equal(readdirSync(join(project, 'node_modules/@hallpass')).length, 1);
  }
});

for (const folder of ['protocol', 'guard', 'client', 'server']) {
  test(`${folder}: npm neither packs nor publishes a package that is not built`, async () => {
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

describe('the README, played with the installed packages', () => {
  let server: ReadmeServer;
  before(async () => {
    server = await serveReadme(SERVING, everything, join(work, 'server'));
  });
  after(async () => {
    assert.equal(await server.stop(), 0);
  });

  test('the server logs its version', () => {
    assert.match(server.output(), new RegExp(`"msg":"Hallpass ${VERSION} on Node 24\\.`));
  });

  for (const [name, node] of Object.entries(NODES)) {
    test(`${name}: the examples create, revoke and guard`, () => server.playExamples(node));

    test(`${name}: the SDK's tarball is all that a project needs, with import and with require`, async () => {
      const { refreshToken } = await server.getTokens('/accounts.write');
      const modules = readme.createExample(server.url, refreshToken);
      const [head = '', ...body] = modules.split('\n');
      const required = [
        head.replace(/^import (.*) from (.*);$/, 'const $1 = require($2);'),
        '(async () => {',
        ...body,
        '})();',
      ];
      const wanted = '200 application/json /accounts.write\n';
      assert.equal(await playProgram(node, clientAlone, modules, 'mjs'), wanted);
      assert.equal(await playProgram(node, clientAlone, required.join('\n'), 'cjs'), wanted);
    });
  }
});

test('a copy of examples/quickstart is a project by itself', async () => {
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

test('the SDK and the guard for web requests compile without the types of Node, and the SDK without those of a browser', async () => {
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
  const manifest = readFileSync(join(everything, 'node_modules/hallpass/package.json'), 'utf8');
  assert.deepEqual(parseObject(manifest)['engines'], { node: '>=24' });
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
