/** Rules about the code itself, each with its reason. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findCircles, reach, readImportGraph } from './import_graph.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

function sources(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

function importsOf(file: string): readonly string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/^(?:import|export)\b[^;]*?from '([^']+)';/gms)].map(([, specifier = '']) => specifier);
}

/** The room of `packages/server/src` that an import leads to. */
function roomOf(file: string, specifier: string): string {
  const target = relative('packages/server/src', join(file, '..', specifier));
  return target.split('/')[0] ?? '';
}

const FORBIDDEN = [
  ['protocol', '@hallpass/guard'],
  ['guard', '@hallpass/client'],
  ['guard', 'hallpass'],
  ['client', '@hallpass/guard'],
  ['client', '@hallpass/guard/node'],
] as const;

test('an import across a wall between packages does not compile', () => {
  const copy = mkdtempSync(join(tmpdir(), 'hallpass-walls-'));
  try {
    cpSync(join(root, 'packages'), join(copy, 'packages'), {
      recursive: true,
      filter: (source) => !/(?:^|\/)(?:dist|node_modules|test)$|tsbuildinfo$/.test(source),
    });
    cpSync(join(root, 'tsconfig.base.json'), join(copy, 'tsconfig.base.json'));
    symlinkWorkspaces(copy);
    for (const [name, stranger] of FORBIDDEN) {
      const folder = join(copy, 'packages', name);
      const allowed = compile(folder);
      assert.equal(allowed.status, 0, allowed.stdout);
      const burglar = join(folder, 'src/burglar.ts');
      writeFileSync(burglar, `export { createGuard, Hallpass } from '${stranger}';\n`);
      const forbidden = compile(folder);
      assert.notEqual(forbidden.status, 0, `${name} imports ${stranger}`);
      assert.match(forbidden.stdout, /burglar\.ts.*error TS2305: Module .* has no exported member/);
      rmSync(burglar);
    }
  } finally {
    rmSync(copy, { recursive: true });
  }
});

/** The packages find each other as in a workspace, and everything else where it is installed. */
function symlinkWorkspaces(copy: string): void {
  mkdirSync(join(copy, 'node_modules/@hallpass'), { recursive: true });
  for (const name of ['@types', 'undici-types', 'eventsource-parser', 'jose', 'yaml', 'fastify', 'hono']) {
    symlinkSync(join(root, 'node_modules', name), join(copy, 'node_modules', name));
  }
  for (const name of ['protocol', 'guard', 'client']) {
    symlinkSync(join(copy, 'packages', name), join(copy, 'node_modules/@hallpass', name));
  }
}

function compile(folder: string): { readonly status: number | null; readonly stdout: string } {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  return spawnSync(process.execPath, [tsc, '-b', '--force', folder], { encoding: 'utf8' });
}

/** What every package may import of the others. */
const OWN = /^@hallpass\/protocol$/;
/** The command line puts the rooms together, the guard among them. */
const COMPOSING = /^packages\/server\/src\/(?:cli|serving)\//;

test('server, guard and client import protocol, and never each other: they agree through wire formats (ADR 15)', () => {
  for (const name of ['protocol', 'server', 'guard', 'client']) {
    for (const file of sources(`packages/${name}/src`)) {
      const strangers = importsOf(file).filter((specifier) => /^(?:@hallpass\/|hallpass$)/.test(specifier));
      const allowed =
        name === 'protocol' ? /^$/ : COMPOSING.test(file) ? /^@hallpass\/(?:protocol|guard(?:\/.*)?)$/ : OWN;
      assert.deepEqual(
        strangers.filter((specifier) => !allowed.test(specifier)),
        [],
        file,
      );
    }
  }
});

test('protocol imports nothing but itself: it is the same on every runtime', () => {
  for (const file of sources('packages/protocol/src')) {
    assert.deepEqual(
      importsOf(file).filter((specifier) => !specifier.startsWith('./')),
      [],
      file,
    );
  }
});

const ROOMS: Readonly<Record<string, readonly string[]>> = {
  'wire.ts': [],
  store: ['store'],
  oauth: ['oauth', 'store', 'wire.ts'],
  operator: ['operator', 'oauth', 'store'],
  http: ['http', 'oauth', 'store', 'wire.ts'],
  serving: ['serving', 'http', 'operator', 'oauth', 'store', 'wire.ts'],
  cli: ['cli', 'serving', 'http', 'operator', 'oauth', 'store'],
};

test('inside the server each room imports the rooms below it alone', () => {
  for (const file of sources('packages/server/src')) {
    const room = roomOf(file, '.');
    const entered = importsOf(file)
      .filter((specifier) => specifier.startsWith('.'))
      .map((specifier) => roomOf(file, specifier));
    assert.deepEqual(
      entered.filter((other) => ROOMS[room]?.includes(other) !== true),
      [],
      file,
    );
  }
});

/** What a grant may reach, its own files apart. No file here signs, writes or answers, or names one that does. */
const GRANTS_REACH = [
  'oauth/clients/policy.ts',
  'oauth/tokens/grant_expiry.ts',
  'oauth/tokens/issuance.ts',
  'oauth/tokens/lifetimes.ts',
  'oauth/tokens/liveness.ts',
  'oauth/tokens/revocations.ts',
  'oauth/tokens/security_events.ts',
  'store/failures.ts',
  'store/records.ts',
  'store/store.ts',
].map((name) => `packages/server/src/${name}`);

test('a grant cannot sign, write or answer: nothing that can is in its reach', () => {
  const isGrant = (file: string): boolean => file.startsWith('packages/server/src/oauth/grants/');
  const graph = readImportGraph(['packages/server/src']);
  const reached = [...reach(graph, [...graph.keys()].filter(isGrant))];
  assert.deepEqual(
    reached.filter((file) => !isGrant(file)).toSorted(),
    GRANTS_REACH,
    'the files that grants lead to, type-only imports included',
  );
  for (const file of reached.filter((name) => !name.startsWith('packages/server/src/store/'))) {
    const text = readFileSync(join(root, file), 'utf8');
    // The rows of the port, and never the port, whose verbs write; and no cryptography, not even from elsewhere.
    assert.doesNotMatch(text, /import[^;]*\bStore\b[^;]*from '[^']*store\/store\.ts'/, file);
    assert.doesNotMatch(text, /from 'node:|\b(?:sealRefreshToken|printSigningInput|RefreshKey|Random)\b/, file);
  }
});

/** Every folder of code. In a circle, type-only ones included, no file can be understood before the others. */
const CODE = ['protocol', 'server', 'guard', 'client']
  .map((name) => `packages/${name}/src`)
  .concat(['testing', 'rigs', 'fuzz', 'bench', 'e2e']);

test('no file imports itself through others, not even for types', () => {
  const graph = readImportGraph(CODE);
  assert.ok(graph.size > 300, `${graph.size} files were read`);
  assert.deepEqual(findCircles(graph), []);
});

test('a circle through a third file is found, and a shared import is not one', () => {
  const shared = [
    ['a', ['b', 'c']],
    ['b', ['c']],
    ['c', []],
  ] as const;
  assert.deepEqual(findCircles(new Map<string, readonly string[]>(shared)), []);
  const closed = new Map<string, readonly string[]>([...shared, ['c', ['a']]]);
  assert.deepEqual(findCircles(closed), [['a', 'b', 'c']]);
  assert.deepEqual(findCircles(new Map([['a', ['a']]])), [['a']]);
});

test('an engine of the store is named in serving alone: everything else knows the port', () => {
  for (const file of sources('packages/server/src').filter(
    (name) => !name.includes('/src/store/') && !/\/src\/(?:cli|serving)\//.test(name),
  )) {
    assert.deepEqual(
      importsOf(file).filter((specifier) => /\/store\/(?!store\.ts$)/.test(specifier)),
      [],
      file,
    );
  }
});

test('the clock and chance are arguments: only one file touches the real ones', () => {
  const real = /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\brandomBytes\(|\bcrypto\.getRandomValues\(/;
  const touching = ['protocol', 'server']
    .flatMap((name) => sources(`packages/${name}/src`))
    .filter((file) => {
      // The identities of a store and of its commits are made by the thread that writes, which is given no chance.
      const isOfTheStore = /store\/(?:sqlite\/writer|commit_id)\.ts$/.test(file);
      return real.test(readFileSync(join(root, file), 'utf8')) && !isOfTheStore;
    });
  assert.deepEqual(touching, ['packages/server/src/serving/system.ts']);
});

test('only the command line speaks of options and commands: the admin API refuses for the same reasons', () => {
  const speaking = sources('packages/server/src/operator').filter((file) =>
    /--[a-z]|\bhallpass [a-z]/.test(readFileSync(join(root, file), 'utf8')),
  );
  assert.deepEqual(speaking, []);
});

test('what is printed passes one door, where what a terminal obeys is escaped', () => {
  const printing = ['protocol', 'server', 'guard']
    .flatMap((name) => sources(`packages/${name}/src`))
    .filter((file) => /\bstd(?:out|err)\.write|\bconsole\./.test(readFileSync(join(root, file), 'utf8')));
  assert.deepEqual(printing.toSorted(), [
    'packages/guard/src/adapters/failure.ts',
    // What is printed by default about a guard that is set up wrongly; escaped there, since failure.ts is for Node alone.
    'packages/guard/src/misconfiguration.ts',
    // What a policy file closes, flattened there for the same reason.
    'packages/guard/src/policy/openapi/openapi.ts',
    // A backup, whose lines were escaped where they were made.
    'packages/server/src/cli/commands/store.ts',
    'packages/server/src/cli/output.ts',
  ]);
});

test('the environment is read in cli alone', () => {
  const reading = sources('packages/server/src').filter((file) =>
    /process\.env/.test(readFileSync(join(root, file), 'utf8')),
  );
  assert.deepEqual(reading, ['packages/server/src/cli/main.ts']);
});
