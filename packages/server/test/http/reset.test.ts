/** Connections that clients reset need no attention from an operator. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { suite, test } from 'node:test';
import { serveGuard, serve } from '../../../../testing/process/command.ts';
import { until } from '../../../../testing/server/server.ts';

const ROUNDS = 10;
const SCOPE = 'grant_type=client_credentials&scope=/accounts.write';
const post = (path: string, length: number, more = ''): string =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n${more}Content-Length: ${length}\r\n\r\n`;
const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;

/** Sends these bytes and resets the connection: at once, or when the answer has begun. */
function sendAndReset(url: string, bytes: string, when: 'at_once' | 'in_the_answer'): Promise<void> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(bytes, () => (when === 'at_once' ? socket.resetAndDestroy() : undefined));
    });
    socket.once('data', () => socket.resetAndDestroy());
    socket.on('error', () => undefined).once('close', () => resolve());
  });
}

async function resetManyTimes(
  url: string,
  shots: readonly (readonly [bytes: string, when: 'at_once' | 'in_the_answer'])[],
): Promise<void> {
  for (const [bytes, when] of shots) {
    for (let round = 0; round < ROUNDS; round++) await sendAndReset(url, bytes, when);
  }
}

/** What is worse than a remark: in the log, or printed beside it. */
function complaints(stderr: string): readonly string[] {
  return stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{"level":30,'));
}

suite('a reset connection is logged neither as an error nor as a bug', () => {
  for (const trusted of ['', '127.0.0.1']) {
    test(`at the server, ${trusted === '' ? 'called directly' : 'behind a trusted proxy'}`, async (t) => {
      const more = { HALLPASS_LOG_LEVEL: 'info', HALLPASS_TRUSTED_PROXIES: trusted };
      const server = await serve(t, more);
      const [, id = '', secret = ''] = /-u (\S+?):(\S+)/.exec(server.stdout()) ?? [];
      const basic = `Authorization: Basic ${btoa(`${id}:${secret}`)}\r\n`;
      const operatorUrl = /operators on (\S+)\/metrics/.exec(server.stdout())?.[1] ?? '';
      await resetManyTimes(server.url, [
        ['POST /oauth2/token HT', 'at_once'],
        [`${post('/oauth2/token', 100, basic)}grant_`, 'at_once'],
        [`${post('/oauth2/token', SCOPE.length, basic)}${SCOPE}`, 'at_once'],
        [`${post('/oauth2/token', SCOPE.length, basic)}${SCOPE}`, 'in_the_answer'],
        [`${post('/nothing', 100)}abc`, 'at_once'],
        [get('/openapi.json'), 'in_the_answer'],
        [get('/ping', basic), 'at_once'],
        // Only from a proxy that is trusted: from any other it is worth a line.
        [get('/ping', trusted === '' ? basic : `${basic}X-Forwarded-For: 10.0.0.7\r\n`), 'at_once'],
        [get('/oauth2/revocations', basic), 'in_the_answer'],
      ]);
      await resetManyTimes(operatorUrl, [
        ['GET /met', 'at_once'],
        [get('/metrics'), 'at_once'],
        [get('/metrics'), 'in_the_answer'],
      ]);
      await until(async () => (await fetch(`${server.url}/health/live`)).status === 200);
      server.child.kill('SIGTERM');
      assert.equal(await server.ended, 0);
      assert.deepEqual(complaints(server.stderr()), []);
    });
  }

  test('at a guard behind a proxy, and on its side listener', async (t) => {
    const guard = await serveGuard(t, []);
    const original = 'X-Original-Method: GET\r\nX-Original-URI: /accounts\r\n';
    await resetManyTimes(guard.url, [
      ['GET /au', 'at_once'],
      [get('/auth', original), 'at_once'],
      [get('/auth', original), 'in_the_answer'],
    ]);
    await resetManyTimes(guard.sideUrl, [
      [get('/metrics'), 'at_once'],
      [get('/metrics'), 'in_the_answer'],
      [get('/health/ready'), 'at_once'],
    ]);
    await until(async () => (await fetch(`${guard.sideUrl}/health/live`)).status === 200);
    guard.child.kill('SIGTERM');
    assert.equal(await guard.ended, 0);
    assert.deepEqual(complaints(guard.stderr()), []);
    assert.doesNotMatch(guard.stderr(), /does not come from a trusted proxy/);
  });
});
