/** Operator listeners refuse a web page whose domain was made to resolve to this machine (DNS rebinding). */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { readSettings } from '../../src/serving/settings/settings.ts';
import { makeFolder, serveGuard } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { exchangeRaw, startHallpass } from '../../../../testing/server/server.ts';

const FOREIGN = [
  'evil.example',
  'evil.example:8081',
  'localhost.evil.example',
  '127.0.0.1.evil.example',
  'evil.example@localhost',
  'localhost@evil.example',
  '[::1].evil.example',
  'localhost/evil',
  'ops.example.com.evil.example',
  '10.0.0.7',
  '0.0.0.0',
  '',
];
const OWN = ['localhost', 'LocalHost:1', '127.0.0.1:8081', '127.0.0.2', '[::1]:8081'];

/** The status of a request with this in `Host`, and the error in its body. */
async function ask(url: string, path: string, host: string): Promise<string> {
  const answer = await exchangeRaw(url, [`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`]);
  const [, status = ''] = /^HTTP\/1\.1 (\d{3})/.exec(answer) ?? [];
  return `${status} ${/"error":"(\w+)"/.exec(answer)?.[1] ?? ''}`.trim();
}

suite('the operator listener', async () => {
  const hallpass = await startHallpass({ environment: { HALLPASS_OPERATOR_HOSTS: 'Ops.example.com, [fd00::7]' } });

  for (const host of FOREIGN) {
    test(`does not answer to Host: ${host === '' ? '(empty)' : host}`, async () => {
      for (const path of ['/metrics', '/health/live', '/health/ready', '/nothing']) {
        assert.match(await ask(hallpass.operatorUrl, path, host), /^(?:421|400) invalid_request$/, path);
      }
    });
  }

  for (const host of [...OWN, 'ops.example.com', 'OPS.EXAMPLE.COM:8081', '[fd00::7]:8081']) {
    test(`answers to Host: ${host}`, async () => {
      assert.equal(await ask(hallpass.operatorUrl, '/health/live', host), '200');
    });
  }

  test('a foreign name gets 421 (RFC 9110 §15.5.20), and the body says what to do', async () => {
    assert.equal(await ask(hallpass.operatorUrl, '/metrics', 'evil.example'), '421 invalid_request');
    assert.equal(await ask(hallpass.operatorUrl, 'http://localhost/metrics', 'evil.example'), '421 invalid_request');
  });

  test('the public listener answers to any name, since a proxy may change it', async () => {
    assert.equal(await ask(hallpass.url, '/health/live', 'evil.example'), '200');
  });

  for (const hosts of ['ops.example.com:8081', 'https://ops.example.com', 'ops.example.com,,x', 'a b', '::1', '*']) {
    test(`HALLPASS_OPERATOR_HOSTS=${hosts} is refused`, () => {
      assert.throws(
        () => readSettings({ HALLPASS_OPERATOR_HOSTS: hosts }),
        /HALLPASS_OPERATOR_HOSTS must be host names/,
      );
    });
  }
});

suite('the address of the operator listener', () => {
  test('may be reachable by others if their names for it are configured', async () => {
    const open = { HALLPASS_OPERATOR_ADDRESS: '0.0.0.0', HALLPASS_OPERATOR_HOSTS: 'metrics.internal' };
    const hallpass = await startHallpass({ environment: open });
    assert.match(hallpass.operatorUrl, /^http:\/\/0\.0\.0\.0:/);
    const { port } = new URL(hallpass.operatorUrl);
    const url = `http://127.0.0.1:${port}`;
    for (const host of ['metrics.internal', `metrics.internal:${port}`, ...OWN]) {
      assert.equal(await ask(url, '/metrics', host), '200', host);
    }
    for (const host of FOREIGN) assert.match(await ask(url, '/metrics', host), /^(?:421|400) invalid_request$/, host);
  });

  test('is otherwise loopback, and must be an IP address', () => {
    const addressOf = (environment: Record<string, string>): string => readSettings(environment).operatorAddress;
    assert.equal(addressOf({}), '127.0.0.1');
    for (const loopback of ['127.0.0.1', '127.0.0.2', '::1']) {
      assert.equal(addressOf({ HALLPASS_OPERATOR_ADDRESS: loopback }), loopback);
    }
    assert.equal(addressOf({ HALLPASS_OPERATOR_ADDRESS: '[::1]' }), '::1');
    for (const open of ['0.0.0.0', '::', '10.0.0.7', 'fd00::7', '::ffff:127.0.0.1']) {
      assert.throws(
        () => addressOf({ HALLPASS_OPERATOR_ADDRESS: open }),
        /^BadSetting: HALLPASS_OPERATOR_HOSTS must be set for an operator listener that other machines can reach/,
        open,
      );
      assert.equal(addressOf({ HALLPASS_OPERATOR_ADDRESS: open, HALLPASS_OPERATOR_HOSTS: 'a.example' }), open);
    }
    for (const bad of ['localhost', 'ops.example.com', '127.0.0.1:8081', '10.0.0.0/8', '*', '127.1', 'fe80::1%eth0']) {
      assert.throws(
        () => addressOf({ HALLPASS_OPERATOR_ADDRESS: bad }),
        /HALLPASS_OPERATOR_ADDRESS must be an IP/,
        bad,
      );
    }
  });

  test('that this machine does not have is refused in a sentence that names the setting', async (t) => {
    const done = await runCommand(['serve'], {
      HALLPASS_DATA_DIR: makeFolder(t),
      HALLPASS_PORT: '0',
      HALLPASS_OPERATOR_ADDRESS: '192.0.2.1',
      HALLPASS_OPERATOR_HOSTS: 'a.example',
    });
    assert.equal(done.code, 2);
    assert.match(
      done.stderr,
      /This machine has no address 192\.0\.2\.1\. Set HALLPASS_OPERATOR_ADDRESS to one of its addresses/,
    );
  });
});

suite('the side listener of a guard', () => {
  test('answers to its own names, and with the metadata of the API to any name', async (t) => {
    const { sideUrl: side } = await serveGuard(t, ['--side-host', 'guard.example.com']);
    for (const host of FOREIGN) {
      for (const path of ['/metrics', '/health/live', '/health/ready']) {
        assert.match(await ask(side, path, host), /^(?:421|400)/, `${host} ${path}`);
      }
    }
    for (const host of [...OWN, 'guard.example.com:9091']) assert.equal(await ask(side, '/health/live', host), '200');
    assert.equal(await ask(side, '/.well-known/oauth-protected-resource', 'api.example.com'), '200');
  });

  test('--side-host with a port is refused', async (t) => {
    const policy = join(makeFolder(t), 'policy.json');
    writeFileSync(policy, JSON.stringify({ 'GET /accounts': '/accounts.read' }));
    const words = ['guard', '--policy', policy, '--audience', 'https://api.example.com'];
    const key = { HALLPASS_GUARD_CLIENT_ID: 'a', HALLPASS_GUARD_CLIENT_SECRET: 'b' };
    const done = await runCommand([...words, '--side-host', 'guard.example.com:9091'], key);
    assert.equal(done.code, 2);
    assert.match(done.stderr, /--side-host must be a host name without a port/);
  });
});
