/** Faults of TLS: named, and never repeated, since a certificate does not get better by asking again. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { inspect } from 'node:util';
import { HallpassError } from '@hallpass/client';
import { FIRST, hallpassOf, testTime, type TestServer } from './server.ts';

/** Listens until the test ends, and counts who connects. */
async function listen(
  t: TestContext,
  server: Server,
): Promise<{ readonly at: TestServer; readonly count: () => number }> {
  let connections = 0;
  server.on('connection', () => (connections += 1));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    at: { url: `https://localhost:${address.port}`, asked: [], tell: () => undefined },
    count: () => connections,
  };
}

async function failureOf(at: TestServer, time = testTime()): Promise<HallpassError> {
  const [settled] = await Promise.allSettled([hallpassOf(at, {}, time).accessToken.create(FIRST)]);
  assert.ok(settled.status === 'rejected' && settled.reason instanceof HallpassError);
  return settled.reason;
}

/** A certificate that nobody has signed; undefined where there is no openssl. */
function makeCertificate(t: TestContext): { readonly key: Buffer; readonly cert: Buffer } | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-tls-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const made = spawnSync('openssl', ['req', '-x509', ...curve, '-subj', '/CN=localhost', '-keyout', key, '-out', cert]);
  return made.status === 0 ? { key: readFileSync(key), cert: readFileSync(cert) } : undefined;
}

test('an untrusted certificate is reported with its cause, after one attempt', async (t) => {
  const made = makeCertificate(t);
  if (made === undefined) return t.skip('There is no openssl to make a certificate with.');
  let served = 0;
  const { at, count } = await listen(
    t,
    createTlsServer(made, () => (served += 1)),
  );
  const time = testTime();
  const error = await failureOf(at, time);
  assert.equal(error.code, 'tls_failed');
  assert.match(error.message, /certificate was not accepted.*Nothing was sent.*DEPTH_ZERO_SELF_SIGNED_CERT/);
  assert.ok(error.cause instanceof Error && 'code' in error.cause);
  assert.equal(error.cause.code, 'DEPTH_ZERO_SELF_SIGNED_CERT');
  assert.deepEqual([count(), served, time.slept.length], [1, 0, 0]);
});

test('a server without TLS at an https address is reported after one attempt', async (t) => {
  const plain = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
  });
  const { at, count } = await listen(t, plain);
  const error = await failureOf(at);
  assert.equal(error.code, 'tls_failed');
  assert.match(error.message, /ERR_SSL_/);
  assert.equal(count(), 1);
});

test('a connection that is lost during the handshake is tried again', async (t) => {
  const broken = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.destroy());
  });
  const { at, count } = await listen(t, broken);
  assert.equal((await failureOf(at)).code, 'connection_failed');
  assert.equal(count(), 3);
});

const HOSTED: TestServer = { url: 'https://auth.example.com', asked: [], tell: () => undefined };

for (const [code, wanted, attempts] of [
  ['CERT_HAS_EXPIRED', 'tls_failed', 1],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls_failed', 1],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'tls_failed', 1],
  // It may come after the request was sent. To repeat that is safe (contract §3).
  ['ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC', 'connection_failed', 3],
  ['UND_ERR_SOCKET', 'connection_failed', 3],
] as const) {
  test(`${code} is ${wanted}, asked for ${attempts === 1 ? 'once' : 'again'}`, async () => {
    let asked = 0;
    const fetch: typeof globalThis.fetch = () => {
      asked += 1;
      return Promise.reject(new TypeError('fetch failed', { cause: Object.assign(new Error('its words'), { code }) }));
    };
    await assert.rejects(hallpassOf(HOSTED, { fetch }).accessToken.create(FIRST), {
      code: wanted,
      message: new RegExp(`\\(${wanted}, ${code}\\)`),
    });
    assert.equal(asked, attempts);
  });
}

test('a cause holds nothing of the request, and no control characters', async () => {
  const fetch: typeof globalThis.fetch = (_input, init) => {
    const said = new Error(`cannot send ${JSON.stringify(init)} \u001b[31m`);
    return Promise.reject(Object.assign(said, { code: 'CERT_HAS_EXPIRED' }));
  };
  const hallpass = hallpassOf(HOSTED, { fetch, security: { accessToken: 'eyJ.secret-bearer.1' } });
  for (const call of [() => hallpass.accessToken.create(FIRST), () => hallpass.ping()]) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof HallpassError && error.cause instanceof Error);
      for (const text of [inspect(error), error.cause.message, String(error.cause.stack)]) {
        for (const secret of [FIRST.clientSecret, 'secret-bearer', '\u001b']) assert.ok(!text.includes(secret), text);
      }
      return true;
    });
  }
});
