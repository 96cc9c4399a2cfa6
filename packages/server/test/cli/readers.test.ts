/** The reader of a command's output may close its end, or fail to store what it read. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { ReaderGone } from '../../src/cli/output.ts';
import { deliver } from '../../src/cli/secret_delivery.ts';
import { manageApiKeys } from '../../src/operator/api_keys.ts';
import {
  makeFolder,
  makeStore,
  startRunning,
  startServing,
  startShell,
  type Environment,
} from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { startHallpass, until } from '../../../../testing/server/server.ts';

const NO_STACK = /\n\s+at |node:internal|EPIPE/;

async function keysOf(on: Environment): Promise<readonly Record<string, unknown>[]> {
  return JSON.parse((await runCommand(['keys', 'list', '--json'], on)).stdout);
}

/** Runs a command whose reader has left before the first line. */
async function runUnread(
  t: TestContext,
  words: readonly string[],
  on: Environment,
): Promise<{ code: unknown; stderr: string }> {
  const running = startRunning(t, words, on);
  running.child.stdout.destroy();
  const code = await running.ended;
  return { code, stderr: running.stderr() };
}

suite('a reader that closes its end', { concurrency: 2 }, () => {
  for (const words of [['events'], ['keys', 'list', '--json'], ['--help'], ['keys', 'create', '--help']]) {
    test(`hallpass ${words.join(' ')} ends quietly, as if by SIGPIPE`, async (t) => {
      const { code, stderr } = await runUnread(t, words, await makeStore(t));
      assert.equal(code, 141);
      assert.doesNotMatch(stderr.replace(/^Store: .*\n/, ''), /\S/);
    });
  }

  test('does not change the exit code of a command that has done its work; a cut-off backup is an error', async (t) => {
    const on = await makeStore(t);
    const made = await runCommand(['keys', 'create', 'x', '--scope', '/a.read', '--json'], on);
    const { client_id: clientId }: Record<string, string> = JSON.parse(made.stdout);
    assert.equal((await runUnread(t, ['keys', 'disable', clientId ?? ''], on)).code, 141);
    assert.equal((await keysOf(on))[0]?.['disabled'], true);
    const cut = await runUnread(t, ['store', 'backup', '-'], on);
    assert.equal(cut.code, 1);
    assert.match(cut.stderr, /error: Standard output was closed before the backup was whole/);
    assert.doesNotMatch(cut.stderr, NO_STACK);
  });

  test('does not stop serve: unread log lines are dropped and counted', async (t) => {
    const serving = startServing(t, { HALLPASS_LOG_LEVEL: 'info', HALLPASS_PORT: '0' });
    let said = '';
    await new Promise<void>((resolve) => {
      serving.child.stdout.on('data', (chunk: string) => {
        said += chunk;
        if (/operators on .*\n/.test(said)) resolve();
      });
    });
    // As `serve | head -1` does, and `serve 2>&1 | ...` with a logger that has crashed.
    serving.child.stdout.destroy();
    serving.child.stderr.destroy();
    const url = /ready: (\S+)/.exec(said)?.[1] ?? '';
    const metrics = /operators on (\S+)/.exec(said)?.[1] ?? '';
    const dropped = async (): Promise<number> => {
      assert.equal((await fetch(`${url}/health/live`)).status, 200);
      await fetch(`${url}/nowhere`);
      const text = await (await fetch(metrics)).text();
      return Number(/^hallpass_log_lines_dropped_total (\d+)$/m.exec(text)?.[1]);
    };
    await until(async () => (await dropped()) > 0);
    serving.child.kill('SIGTERM');
    assert.equal(await serving.ended, 0, 'it drains and ends as ever');
  });
});

test('serve can be stopped when its output is open, full, and not read', { timeout: 60_000 }, async (t) => {
  const fifo = join(makeFolder(t), 'fifo');
  execFileSync('mkfifo', [fifo]);
  const pipe = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  t.after(() => closeSync(pipe));
  assert.throws(() => {
    for (;;) writeSync(pipe, Buffer.alloc(1024, '.'));
  }, /EAGAIN/);
  const on = { HALLPASS_PORT: '0', HALLPASS_OPERATOR_PORT: '0', HALLPASS_DATA_DIR: join(makeFolder(t), 'data') };
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../bin/hallpass.js'), 'serve'], {
    env: { PATH: process.env['PATH'], ...on },
    stdio: ['ignore', openSync(fifo, constants.O_WRONLY), 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  // It listens by then, and has said so where nobody reads.
  await until(() => stderr.includes('on Node'));
  child.kill('SIGTERM');
  assert.equal(await ended, 0);
});

suite('a secret that nobody reads', { concurrency: 2 }, () => {
  for (const flags of [[], ['--json']]) {
    test(`keys create ${flags.join('')} and rotate-secret change nothing if the reader is gone, and say so`, async (t) => {
      const on = await makeStore(t);
      const create = ['keys', 'create', 'x', '--scope', '/a.read', ...flags];
      const unread = await runUnread(t, create, on);
      assert.equal(unread.code, 1);
      assert.match(
        unread.stderr,
        /error: Standard output was closed before all of the secret was read, so nothing was made/,
      );
      assert.doesNotMatch(unread.stderr, NO_STACK);
      assert.deepEqual(await keysOf(on), []);
      assert.equal((await runCommand(create, on)).code, 0);
      const [before] = await keysOf(on);
      assert.equal(
        (await runUnread(t, ['keys', 'rotate-secret', String(before?.['client_id']), ...flags], on)).code,
        1,
      );
      assert.deepEqual((await keysOf(on))[0]?.['secrets'], before?.['secrets']);
    });
  }

  test(
    'a full disk cannot take the secret, so no key is created',
    { skip: process.platform !== 'linux' },
    async (t) => {
      const on = await makeStore(t);
      const done = await startShell(
        `HALLPASS_DATA_DIR='${on.HALLPASS_DATA_DIR}' hallpass keys create x --scope /a.read --json > /dev/full`,
      );
      assert.equal(done.code, 1);
      assert.match(done.stderr, /Standard output cannot be written: ENOSPC/);
      assert.doesNotMatch(done.stderr, /\n\s+at /);
      assert.deepEqual(await keysOf(on), []);
    },
  );

  test('the key does not exist until its secret is read: a crash before that leaves nothing behind', async (t) => {
    const on = await makeStore(t);
    const fifo = join(makeFolder(t), 'fifo');
    execFileSync('mkfifo', [fifo]);
    // Open at both ends, and full.
    const pipe = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    t.after(() => closeSync(pipe));
    const kilobyte = Buffer.alloc(1024, '.');
    const isFull = (): boolean => {
      try {
        return writeSync(pipe, kilobyte) < 0;
      } catch {
        return true;
      }
    };
    while (!isFull());
    const bin = join(import.meta.dirname, '../../bin/hallpass.js');
    const start = () => {
      const child = spawn(process.execPath, [bin, 'keys', 'create', 'x', '--scope', '/a.read'], {
        env: { PATH: process.env['PATH'], ...on },
        stdio: ['ignore', openSync(fifo, constants.O_WRONLY), 'pipe'],
      });
      t.after(() => child.kill('SIGKILL'));
      let stderr = '';
      child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
      const ended = new Promise<number | null>((resolve) => {
        child.once('close', resolve);
      });
      return { child, ended, opened: () => until(() => stderr.includes('Store:')) };
    };
    const crashed = start();
    await crashed.opened();
    // Longer than it takes to make a key.
    assert.deepEqual(await keysOf(on), []);
    crashed.child.kill('SIGKILL');
    await crashed.ended;
    assert.deepEqual(await keysOf(on), []);
    const patient = start();
    await patient.opened();
    assert.deepEqual(await keysOf(on), []);
    let read = '';
    const drain = Buffer.alloc(65_536);
    await until(() => {
      try {
        read += drain.toString('utf8', 0, readSync(pipe, drain));
      } catch {
        // Empty for the moment.
      }
      return read.includes('Made the API key');
    });
    assert.equal(await patient.ended, 0);
    assert.equal((await keysOf(on)).length, 1);
    assert.match(read, /client_secret {2}\S{43}\n/);
  });

  test('a key or rotation that was stored is undone if the reader leaves afterwards', async () => {
    const { instance, clock, makeKey } = await startHallpass();
    const api = manageApiKeys(instance);
    const leaveAt = (part: number): Parameters<typeof deliver>[2] => {
      let printed = 0;
      return {
        sleep: clock.sleep,
        print: async () => {
          printed += 1;
          if (printed === part) throw new ReaderGone(new Error('EPIPE'));
        },
      };
    };
    const parts = { secret: () => undefined, more: () => undefined, end: () => undefined };
    const { clientId } = await makeKey();
    const { secrets } = await api.show(clientId);
    for (const part of [1, 2, 3]) {
      await assert.rejects(
        deliver(await api.prepare({ name: 'x', scopes: ['/a.read'] }), parts, leaveAt(part)),
        /nothing was made/,
      );
      await assert.rejects(deliver(await api.prepareSecret(clientId, 0), parts, leaveAt(part)), /nothing was made/);
      assert.deepEqual(
        (await api.list()).map((key) => [key.clientId, key.secrets]),
        [[clientId, secrets]],
      );
    }
    await deliver(await api.prepareSecret(clientId, 0), parts, leaveAt(4));
    assert.notDeepEqual((await api.show(clientId)).secrets, secrets, 'and read to its end it is kept');
  });
});
