/** A checkout on a machine whose own Node is 20, and whose npm has not linked the newer one that it installed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { installRuntimes } from '../testing/runtimes/installed.ts';
import { parseObject, ROOT, run } from './installed.ts';

const OLD = installRuntimes('all')('node20');
const HALLPASS = join(ROOT, 'packages/server/bin/hallpass.js');

const work = mkdtempSync(join(tmpdir(), 'hallpass-old-node-'));
after(() => rmSync(work, { recursive: true }));
// Programs that are started as `node` get the old one, as on such a machine.
mkdirSync(join(work, 'bin'));
symlinkSync(OLD, join(work, 'bin/node'));
const environment = {
  PATH: `${join(work, 'bin')}:/usr/bin:/bin`,
  HALLPASS_DATA_DIR: join(work, 'data'),
  HALLPASS_HOST: '127.0.0.1',
  HALLPASS_PORT: '0',
  HALLPASS_OPERATOR_PORT: '0',
};

test('every script that starts Node starts it by run.cjs, which runs it on the installed one, with its exit code', async () => {
  const { scripts } = parseObject(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  assert.ok(typeof scripts === 'object' && scripts !== null);
  for (const [name, script] of Object.entries(scripts))
    assert.doesNotMatch(String(script), /\bnode (?!run\.cjs )/, name);
  const script = 'node run.cjs --eval "console.log(process.version, process.argv[1]); process.exitCode = 7" "a b"';
  const { code, stdout, stderr } = await run('sh', ['-c', script], { cwd: ROOT, environment });
  assert.equal(code, 7, stderr);
  assert.match(stdout, /^v(?:2[4-9]|[3-9]\d)\.\S+ a b\n$/);
});

test('what a script starts as node is the installed one too', async () => {
  const nested = `child_process.spawnSync('node', ['--version'], { stdio: 'inherit' })`;
  const { stdout } = await run(OLD, ['run.cjs', '--eval', nested], { cwd: ROOT, environment });
  assert.match(stdout, /^v(?:2[4-9]|[3-9]\d)\./);
});

test('the command runs from any folder, reads its input, and gives its exit code', async () => {
  const made = await run(HALLPASS, ['store', 'init'], { cwd: work, environment });
  assert.equal(made.code, 0, made.stderr);
  const wrong = await run(HALLPASS, ['keys', 'show', 'nobody'], { cwd: work, environment });
  assert.equal(wrong.code, 1, wrong.stderr);
  const input = 'client_id,client_secret\np1,0123456789abcdefghijklmnopqrstuvwxyz-ABCDEF\n';
  const words = ['keys', 'import', '-', '--format', 'csv', '--scope', '/a.read'];
  const imported = await run(HALLPASS, words, { cwd: work, environment, input });
  assert.equal(imported.code, 0, imported.stderr);
});

test('without an installed Node, one sentence says what is needed; the command of a checkout says it too', async (t) => {
  const bare = mkdtempSync(join(work, 'bare-'));
  for (const file of [
    'run.cjs',
    'packages/server/bin',
    'packages/server/checkout.js',
    'packages/server/package.json',
  ]) {
    cpSync(join(ROOT, file), join(bare, file), { recursive: true });
  }
  const script = await run(OLD, ['run.cjs', '--version'], { cwd: bare, environment });
  assert.equal(script.code, 1);
  assert.match(script.stderr, /^error: this needs Node 24 or later, [^\n]* is Node 20\.[^\n]*: run npm ci, [^\n]*\n$/);
  const command = await run(OLD, ['packages/server/bin/hallpass.js', 'serve'], { cwd: bare, environment });
  assert.equal(command.code, 1);
  assert.match(command.stderr, /^error: Hallpass needs Node 24 or later, [^\n]*\n$/);
  await t.test('a Node that is new enough does it itself', async () => {
    const own = await run(process.execPath, ['run.cjs', '--print', '6 * 7'], { cwd: bare, environment });
    assert.deepEqual(own, { code: 0, stdout: '42\n', stderr: '' });
  });
});

for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL'] as const) {
  test(`${signal} to the command ends the server behind it, ${signal === 'SIGKILL' ? 'soon' : 'which drains'}`, async (t) => {
    const { child, url, output } = await serve(t, HALLPASS, ['serve']);
    const closed = once(child, 'close');
    child.kill(signal);
    await closed;
    assert.equal(child.exitCode, signal === 'SIGKILL' ? null : 0, output());
    await assert.rejects(fetch(`${url}/health/live`));
  });
}

/** Starts a server; resolves when it is ready. It closes its output only when nothing of it is left. */
async function serve(t: TestContext, file: string, words: readonly string[]) {
  const child = spawn(file, words, { cwd: work, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGTERM'));
  let output = '';
  child.stderr.on('data', (text: string) => (output += text));
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      const ready = /operators on /.test(output) ? /ready: (\S+)/.exec(output)?.[1] : undefined;
      if (ready !== undefined) resolve(ready);
    });
    child.once('close', () => reject(new Error(`it ended before it was ready: ${output}`)));
  });
  return { child, url, output: () => output };
}
