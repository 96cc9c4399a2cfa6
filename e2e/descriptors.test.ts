/** A server without free file descriptors logs that, survives it, and accepts connections again later. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeDataDir, RIG, startHallpass } from '../testing/process/process.ts';

const DESCRIPTORS = 90;
const PATIENCE_MS = 30_000;

test('when descriptors run out, the log gets one line, one more at the end, and the server keeps serving', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const log = join(dataDir, 'log');
  const limited = ['/bin/sh', '-c', `ulimit -n ${DESCRIPTORS}; exec "$@" 2>"$0"`, log];
  const server = await startHallpass(dataDir, RIG, [], limited);
  t.after(() => server.stop());
  const lines = (of: RegExp): number =>
    readFileSync(log, 'utf8')
      .split('\n')
      .filter((line) => of.test(line)).length;
  const until = async (holds: () => Promise<boolean> | boolean): Promise<void> => {
    const end = performance.now() + PATIENCE_MS;
    while (!(await holds())) {
      assert.ok(performance.now() < end, `it did not come to hold in time: ${readFileSync(log, 'utf8')}`);
      await sleep(20);
    }
  };
  const { hostname, port } = new URL(server.url);
  const sockets = Array.from({ length: DESCRIPTORS }, () => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    return socket;
  });
  await until(() => lines(/No file descriptor is free/) > 0);
  for (const socket of sockets) socket.destroy();
  await until(() => lines(/File descriptors are free again/) > 0);
  assert.equal((await fetch(`${server.url}/health/ready`)).status, 200);
  assert.equal(lines(/No file descriptor is free/), 1);
  assert.equal(await server.stop(), 0);
});
