/** How `hallpass guard` stops: it reports that it is not ready, and keeps answering its proxy (ADR 38). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serveGuard } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { until } from '../../../../testing/server/server.ts';

test('after SIGTERM a guard keeps answering while its side listener reports 503, then ends', async (t) => {
  const { url, sideUrl, child, ended } = await serveGuard(t, ['--drain', '3']);
  const asked = { headers: { 'x-original-method': 'GET', 'x-original-uri': '/accounts' } };
  const ready = async (): Promise<number> => (await fetch(`${sideUrl}/health/ready`)).status;
  assert.equal(await ready(), 200);
  assert.equal((await fetch(url, asked)).headers.get('connection'), 'keep-alive');
  child.kill('SIGTERM');
  await until(async () => (await ready()) === 503);
  const answer = await fetch(url, asked);
  // There was no token in what the proxy asked about.
  assert.deepEqual([answer.status, answer.headers.get('connection')], [401, 'close']);
  assert.equal(await ended, 0);
});

test('the time to drain must be a bounded number of whole seconds', async () => {
  const words = ['guard', '--policy', 'policy.json', '--audience', 'https://api.example.com', '--drain'];
  for (const seconds of ['-1', '1.5', '601', 'soon', '']) {
    const { code, stderr } = await runCommand([...words, seconds], {});
    assert.equal(code, 2);
    assert.match(stderr, /Whole seconds, 0 to 600/);
  }
});
