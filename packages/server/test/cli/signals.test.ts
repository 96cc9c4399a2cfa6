/** Signals stop a server, however it was started. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test } from 'node:test';
import { makeFolder, makeStore, serve, startRunning, startServing } from '../../../../testing/process/command.ts';
import { until } from '../../../../testing/server/server.ts';

const ROOT = join(import.meta.dirname, '../../../..');

async function answers(url: string): Promise<boolean> {
  return await fetch(`${url}/health/live`).then(
    () => true,
    () => false,
  );
}

suite('signals', { concurrency: 2, skip: process.platform === 'win32' }, () => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`${signal} to npm start ends the server too, and frees its port`, async (t) => {
      const inherited = Object.entries(process.env).filter(([name]) => !/^(?:HALLPASS_|NODE_|npm_)/i.test(name));
      const npm = spawn('npm', ['start'], {
        cwd: ROOT,
        env: {
          ...Object.fromEntries(inherited),
          HALLPASS_DATA_DIR: makeFolder(t),
          HALLPASS_HOST: '127.0.0.1',
          HALLPASS_PORT: '0',
          HALLPASS_OPERATOR_PORT: '0',
        },
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      t.after(() => npm.kill('SIGKILL'));
      let said = '';
      npm.stdout.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
      await until(() => /operators on .*\n/.test(said));
      const url = /ready: (\S+)/.exec(said)?.[1] ?? '';
      assert.equal(await answers(url), true);
      npm.kill(signal);
      await until(async () => !(await answers(url)));
    });
  }

  test('a closed terminal (SIGHUP) drains like SIGTERM, and a doubled Control-C counts once', async (t) => {
    for (const signals of [['SIGHUP'], ['SIGINT', 'SIGINT', 'SIGTERM']] as const) {
      const running = await serve(t);
      for (const signal of signals) running.child.kill(signal);
      assert.equal(await running.ended, 0, running.stderr());
      assert.equal(await answers(running.url), false);
    }
  });

  test(
    'a server whose store does not take the first key serves on all the same, and can be stopped',
    { timeout: 60_000 },
    async (t) => {
      const on = await makeStore(t);
      const database = new DatabaseSync(join(on.HALLPASS_DATA_DIR, 'hallpass.db'));
      database.exec("CREATE TRIGGER away BEFORE INSERT ON clients BEGIN SELECT RAISE(ABORT, 'not now'); END");
      database.close();
      const serving = startServing(t, on);
      await until(() => /the first API key may not have been made/.test(serving.stderr()));
      const url = /ready: (\S+)/.exec(serving.stdout())?.[1] ?? '';
      assert.equal((await fetch(`${url}/health/ready`)).status, 200);
      serving.child.kill('SIGTERM');
      assert.equal(await serving.ended, 0, serving.stderr());
    },
  );

  test("a second signal during draining ends the server at once, with 128 plus the signal's number", async (t) => {
    const running = await serve(t, { HALLPASS_DRAIN_SECONDS: '600' });
    let code: number | null | undefined;
    void running.ended.then((ended) => (code = ended));
    // Apart: one that comes while the process is being taken down would kill it without a code.
    let sentAt = -Infinity;
    await until(() => {
      if (performance.now() - sentAt > 1_500) {
        running.child.kill('SIGINT');
        sentAt = performance.now();
      }
      return code !== undefined;
    });
    assert.equal(code, 130);
  });

  test('a stopped backup leaves no partial file behind', async (t) => {
    const on = await makeStore(t);
    const folder = makeFolder(t);
    const running = startRunning(t, ['store', 'backup', join(folder, 'backup')], on);
    await until(() => readdirSync(folder).length > 0);
    running.child.kill('SIGTERM');
    const code = await running.ended;
    const left = readdirSync(folder);
    // It may have been done already.
    assert.ok(code === 143 ? left.length === 0 : left.join() === 'backup', `${code}: ${left.join()}`);
  });
});
