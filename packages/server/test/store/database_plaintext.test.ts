/** A database on another machine: whoever is in between must not read or change what passes. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { makeFolder, makeStore, startCommand, type Done, type Environment } from '../../../../testing/command.ts';

/** There is no such name (RFC 6761 §6.4), so that what is not refused fails without a packet to a database. */
const REMOTE = 'postgres://hallpass:pa55@db.invalid/hallpass';
/** Nobody listens there. */
const LOCAL = 'postgres://hallpass:pa55@127.0.0.1:1/hallpass';
const MASTER_KEY = randomBytes(32).toString('base64url');
const REFUSED =
  /^(?:Store: .*\nCopy: .*\n)?error: The database is on another machine, and nothing protects the way there.*sslmode=verify-full.*HALLPASS_DATABASE_PLAINTEXT=allow\.\n$/;
const TRIED = /The database cannot be reached/;

function listOn(t: TestContext, address: string, more: Environment = {}): Promise<Done> {
  return startCommand(['keys', 'list'], {
    HALLPASS_DATA_DIR: join(makeFolder(t), 'data'),
    HALLPASS_MASTER_KEY: MASTER_KEY,
    HALLPASS_ISSUER: 'http://localhost',
    HALLPASS_DATABASE_URL: address,
    ...more,
  });
}

suite('a database without TLS', () => {
  for (const [name, address, more] of [
    ['no word of TLS', REMOTE, {}],
    ['sslmode=disable', `${REMOTE}?sslmode=disable`, {}],
    ['a certificate that nobody verifies', `${REMOTE}?sslmode=no-verify`, {}],
    ['the same in another spelling', `${REMOTE}?ssl=no-verify`, {}],
    ['TLS switched off in another spelling', `${REMOTE}?ssl=0`, {}],
    ['a host that stands behind a local one', `${LOCAL}?host=db.invalid`, {}],
    ['a host of the environment', 'postgres:///hallpass', { PGHOST: 'db.invalid' }],
    ['a host that only looks local', REMOTE.replace('db.invalid', '127.0.0.1.db.invalid'), {}],
    ['TLS of the environment that verifies nothing', REMOTE, { PGSSLMODE: 'no-verify' }],
    ['a word that allows nothing', REMOTE, { HALLPASS_DATABASE_PLAINTEXT: 'refuse' }],
  ] as const) {
    test(`another machine with ${name} is refused`, async (t) => {
      const { code, stdout, stderr } = await listOn(t, address, more);
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, REFUSED);
      assert.ok(!stderr.includes('pa55'));
    });
  }

  for (const [name, address, more] of [
    ['sslmode=verify-full', `${REMOTE}?sslmode=verify-full`, {}],
    ['sslmode=require, which verifies here', `${REMOTE}?sslmode=require`, {}],
    ['no TLS, said so by name', REMOTE, { HALLPASS_DATABASE_PLAINTEXT: 'allow' }],
  ] as const) {
    test(`another machine with ${name} is asked`, async (t) => {
      const { code, stderr } = await listOn(t, address, more);
      assert.equal(code, 1, stderr);
      assert.match(stderr, TRIED);
    });
  }

  for (const [name, address] of [
    ['127.0.0.1', LOCAL],
    ['localhost', LOCAL.replace('127.0.0.1', 'localhost')],
    ['[::1]', LOCAL.replace('127.0.0.1', '[::1]')],
    ['a socket in a folder', 'postgres:///hallpass?host=/nowhere'],
  ] as const) {
    test(`this machine (${name}) needs no TLS`, async (t) => {
      const { code, stderr } = await listOn(t, address);
      assert.equal(code, 1, stderr);
      assert.match(stderr, TRIED);
    });
  }

  test('a copy to another machine is refused alike', async (t) => {
    const on = { ...(await makeStore(t)), HALLPASS_COPY_TO: REMOTE };
    const { code, stderr } = await startCommand(['store', 'copy', '--dry-run'], on);
    assert.equal(code, 2, stderr);
    assert.match(stderr, REFUSED);
    assert.ok(!stderr.includes('pa55'));
  });
});
