/** `hallpass serve --workers N`: several processes behave as one server (contract, Many instances). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKey, makeDataDir, RIG, startHallpass, type Credentials } from '../testing/process/process.ts';
import { freePort } from '../testing/process/free_port.ts';

const WORKERS = 3;
const PATIENCE_MS = 15_000;
const KILLS = 3;

/** The processes that a process has started. */
function childrenOf(pid: number): readonly number[] {
  const text =
    process.platform === 'linux'
      ? readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      : execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' });
  return text.split(/\s+/).filter(Boolean).map(Number);
}

async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    assert.ok(performance.now() < end, 'it did not come to hold in time');
    await sleep(20);
  }
}

/** One form on a connection of its own, so that it comes to whichever worker is next. */
function post(
  url: string,
  { clientId, clientSecret }: Credentials,
  form: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, unknown>>> {
  const body = new URLSearchParams(form).toString();
  const headers = {
    authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`,
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': body.length,
  };
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'POST', agent: new Agent(), headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      answer.once('end', () => resolve({ status: answer.statusCode, ...JSON.parse(text) }));
      answer.once('error', reject);
    });
    asked.once('error', reject).end(body);
  });
}

test('workers share keys, revocations and families: all honour what one has acknowledged', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const key = await createKey(dataDir, ['partner', '--scope', '/accounts.write']);
  const server = await startHallpass(dataDir, RIG, ['--workers', String(WORKERS)]);
  t.after(() => server.stop());
  const { url } = server;
  const issue = () => post(`${url}/oauth2/token`, key, { grant_type: 'client_credentials', scope: '/accounts.write' });
  const introspect = (token: string) => post(`${url}/oauth2/introspect`, key, { token });
  assert.equal(childrenOf(server.pid).length, WORKERS);

  for (let round = 0; round < 5; round++) {
    const tokens = await issue();
    const token = String(tokens['access_token']);
    const alive = await Promise.all(Array.from({ length: 2 * WORKERS }, () => introspect(token)));
    assert.deepEqual(new Set(alive.map(({ active }) => active)), new Set([true]));
    const refresh = { grant_type: 'refresh_token', refresh_token: String(tokens['refresh_token']) };
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(`${url}/oauth2/token`, key, refresh)));
    const next = new Set(answers.map((answer) => String(answer['refresh_token'])));
    assert.equal(next.size, 1, 'of twenty at once, over all workers, all get the same next one');
    assert.equal((await post(`${url}/oauth2/revoke`, key, { token: [...next][0] ?? '' }))['status'], 200);
    const dead = await Promise.all(Array.from({ length: 2 * WORKERS }, () => introspect(token)));
    assert.deepEqual(new Set(dead.map(({ active }) => active)), new Set([false]));
  }
  const metrics = await (await fetch(`${server.operatorUrl}/metrics`)).text();
  const counted = /hallpass_request_seconds_count\{route="\/oauth2\/introspect",status="200"\} (\d+)/.exec(metrics);
  assert.equal(Number(counted?.[1]), 5 * 4 * WORKERS, 'the metrics are of all workers together');
});

test('workers count together: they share rate limits and the failures of an address', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const key = await createKey(dataDir, ['partner', '--scope', '/accounts.write', '--requests-per-second', '10']);
  const limited = { ...RIG, HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '100' };
  const server = await startHallpass(dataDir, limited, ['--workers', String(WORKERS)]);
  t.after(() => server.stop());
  const ask = (by: Credentials) =>
    post(`${server.url}/oauth2/token`, by, { grant_type: 'client_credentials', scope: '/accounts.write' });
  const began = Date.now();
  const answers = await Promise.all(Array.from({ length: 150 }, () => ask(key)));
  const seconds = Math.floor(Date.now() / 1000) - Math.floor(began / 1000) + 1;
  const good = answers.filter(({ status }) => status === 200).length;
  assert.ok(good >= 10 - (WORKERS - 1) && good <= 10 * seconds, `${good} in ${seconds} seconds`);

  const wrong = { clientId: key.clientId, clientSecret: 'not the secret of anybody' };
  let failures = 0;
  while ((await ask(wrong))['status'] === 401) failures += 1;
  // A fifth of 100 against one key, and each worker hears of the others' with its own next one; a minute may end meanwhile.
  assert.ok(failures >= 20 - WORKERS && failures <= 2 * (20 + WORKERS), `${failures} failures`);
});

test('a dead worker is replaced while the others keep serving; all workers end with the server', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const key = await createKey(dataDir, ['partner', '--scope', '/accounts.write']);
  const server = await startHallpass(dataDir, { ...RIG, HALLPASS_LOG_LEVEL: 'silent' }, ['--workers', '2']);
  const ask = { grant_type: 'client_credentials', scope: '/accounts.write' };
  const before = childrenOf(server.pid);
  const [victim = 0] = before;
  process.kill(victim, 'SIGKILL');
  await until(() => !childrenOf(server.pid).includes(victim));
  assert.equal((await post(`${server.url}/oauth2/token`, key, ask))['status'], 200);
  await until(() => childrenOf(server.pid).length === 2);
  for (let count = 0; count < 6; count++) {
    assert.equal((await post(`${server.url}/oauth2/token`, key, ask))['status'], 200);
  }
  assert.equal(await server.stop(), 0);

  const killed = await startHallpass(dataDir, RIG, ['--workers', '2']);
  const orphans = childrenOf(killed.pid);
  await killed.kill();
  await until(() => orphans.every((pid) => !isRunning(pid)));
});

test('killing workers under load leaves no request hanging and leaks no descriptor', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const key = await createKey(dataDir, ['partner', '--scope', '/accounts.write']);
  const settings = { ...RIG, HALLPASS_LOG_LEVEL: 'silent', HALLPASS_PORT: String(await freePort()) };
  const server = await startHallpass(dataDir, settings, ['--workers', '2']);
  t.after(() => server.stop());
  const ask = { grant_type: 'client_credentials', scope: '/accounts.write' };
  // Elsewhere than on Linux one kill is all that can be judged.
  const [kills, descriptors] = process.platform === 'linux' ? [KILLS, descriptorsOf(server.pid).length] : [1, 0];
  const areServing = (): boolean => {
    const workers = childrenOf(server.pid);
    return workers.length === 2 && workers.every((pid) => isListening(pid, new URL(server.url).port));
  };
  const over = new AbortController();
  let [answered, cut, waiting] = [0, 0, 0];
  const callers = Array.from({ length: 8 }, async () => {
    while (!over.signal.aborted) {
      waiting += 1;
      await post(`${server.url}/oauth2/token`, key, ask).then(
        () => (answered += 1),
        () => (cut += 1),
      );
      waiting -= 1;
    }
  });
  for (let round = 0; round < kills; round++) {
    await until(areServing);
    const [enough, [victim = 0]] = [answered + 20, childrenOf(server.pid)];
    await until(() => answered >= enough);
    process.kill(victim, 'SIGKILL');
    await until(() => !childrenOf(server.pid).includes(victim));
  }
  over.abort();
  await until(() => waiting === 0);
  await Promise.all(callers);
  // What a worker was answering is cut off with it: at most what all callers had asked.
  assert.ok(cut <= kills * callers.length, `${cut} of ${answered + cut} requests`);
  await until(areServing);
  if (process.platform === 'linux') await until(() => descriptorsOf(server.pid).length <= descriptors);
});

/** What a process has open, as Linux tells it; it may end meanwhile. */
function descriptorsOf(pid: number): readonly string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).map((name) => readlinkSync(join(folder, name)));
  } catch {
    return [];
  }
}

/** Whether a process has the socket that listens on a port. */
function isListening(pid: number, port: string): boolean {
  if (process.platform !== 'linux') return true;
  const listening = `:${Number(port).toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`;
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .find((each) => each.includes(listening));
  const inode = line?.trim().split(/\s+/)[9];
  return inode !== undefined && descriptorsOf(pid).includes(`socket:[${inode}]`);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== 'linux' || !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('a taken port or an invalid count ends with exit code 2', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const server = await startHallpass(dataDir, RIG);
  t.after(() => server.stop());
  const taken = { ...RIG, HALLPASS_PORT: new URL(server.url).port };
  await assert.rejects(startHallpass(dataDir, taken, ['--workers', '2']), /ended with 2/);
  await assert.rejects(startHallpass(dataDir, RIG, ['--workers', '0']), /ended with 2/);
});
