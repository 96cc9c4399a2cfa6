/** The log: short lines for a person at a terminal, JSON for everything else. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { makeFolder, serve, startOnTerminal } from '../../../../testing/process/command.ts';
import { until } from '../../../../testing/server/server.ts';

const LINE = /^\d\d:\d\d:\d\d info +GET none 404 [\d.]+ ms/m;
const SETTINGS = {
  HALLPASS_HOST: '127.0.0.1',
  HALLPASS_PORT: '0',
  HALLPASS_OPERATOR_PORT: '0',
  HALLPASS_LOG_LEVEL: 'info',
};

suite('the log', { concurrency: 2 }, () => {
  test('has short lines on a terminal, and the first key stays visible above them', async (t) => {
    const running = startOnTerminal(t, ['serve'], {
      ...SETTINGS,
      HALLPASS_DATA_DIR: makeFolder(t),
      NO_COLOR: '',
      FORCE_COLOR: '1',
    });
    await until(() => running.stdout().includes('docs/operating.md'));
    const plain = (): string => stripVTControlCharacters(running.stdout()).replaceAll('\r', '');
    const url = /ready: (\S+)/.exec(plain())?.[1] ?? '';
    await fetch(`${url}/nowhere`);
    await until(() => LINE.test(plain()));
    assert.doesNotMatch(plain(), /^\{"level"/m);
    assert.ok(running.stdout().includes('\u001b[33m404\u001b[39m'), 'in colour');
    assert.match(plain(), /client_secret +\S+\n.*\nIf you lose it: npx hallpass keys create/);
    running.child.stdin.write('\u0003');
    assert.equal(await running.ended, 0, 'Control-C');
  });

  for (const [format, wanted] of [
    ['auto', /^\{"level":30,.*"route":"none"/m],
    ['text', LINE],
  ] as const) {
    test(`in a pipe follows HALLPASS_LOG_FORMAT=${format}, without colour`, async (t) => {
      const running = await serve(t, { ...SETTINGS, HALLPASS_LOG_FORMAT: format });
      await fetch(`${running.url}/nowhere`);
      await until(() => wanted.test(running.stderr()));
      assert.ok(!running.stderr().includes('\u001b'));
    });
  }
});
