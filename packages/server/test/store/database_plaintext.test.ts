/** A database on another machine: nobody on the network in between may read or change the traffic. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { systemRandom } from '../../src/serving/system.ts';
import { openPostgresStore } from '../../src/store/postgres/postgres.ts';
import { StoreUnavailable, StoreUnusable } from '../../src/store/store.ts';
import { makeFolder, makeStore, type Environment } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';

/** This name never resolves (RFC 6761 §6.4), so an address that is accepted fails without a packet to a database. */
const REMOTE = 'postgres://hallpass:pa55@db.invalid/hallpass';
/** Nothing listens there. */
const LOCAL = 'postgres://hallpass:pa55@127.0.0.1:1/hallpass';
const REFUSED =
  /The database is on another machine, and nothing protects the connection.*sslmode=verify-full.*HALLPASS_DATABASE_PLAINTEXT=allow\./;
const TRIED = /The database cannot be reached/;

/** The error of a store on this address, with these variables in the environment of the PostgreSQL driver. */
async function errorOf(t: TestContext, url: string, variables: Environment = {}): Promise<Error> {
  for (const [name, value] of Object.entries(variables)) {
    process.env[name] = value;
    t.after(() => delete process.env[name]);
  }
  const error = await openPostgresStore({ url, random: systemRandom }).catch((failure: unknown) => failure);
  assert.ok(error instanceof Error, 'it was opened');
  assert.ok(!error.message.includes('pa55'));
  return error;
}

suite('a database without TLS', () => {
  for (const [name, address, variables] of [
    ['no word about TLS', REMOTE, {}],
    ['sslmode=disable', `${REMOTE}?sslmode=disable`, {}],
    ['a certificate that is not verified', `${REMOTE}?sslmode=no-verify`, {}],
    ['the same in another spelling', `${REMOTE}?ssl=no-verify`, {}],
    ['TLS switched off in another spelling', `${REMOTE}?ssl=0`, {}],
    ['a host that hides behind a local one', `${LOCAL}?host=db.invalid`, {}],
    ['a host from the environment', 'postgres:///hallpass', { PGHOST: 'db.invalid' }],
    ['a host that only looks local', REMOTE.replace('db.invalid', '127.0.0.1.db.invalid'), {}],
    ['unverified TLS from the environment', REMOTE, { PGSSLMODE: 'no-verify' }],
  ] as const) {
    test(`another machine with ${name} is refused`, async (t) => {
      const error = await errorOf(t, address, variables);
      assert.ok(error instanceof StoreUnusable, error.message);
      assert.match(error.message, REFUSED);
    });
  }

  for (const [name, address] of [
    ['another machine with sslmode=verify-full', `${REMOTE}?sslmode=verify-full`],
    ['another machine with sslmode=require, which verifies here', `${REMOTE}?sslmode=require`],
    ['127.0.0.1', LOCAL],
    ['localhost', LOCAL.replace('127.0.0.1', 'localhost')],
    ['[::1]', LOCAL.replace('127.0.0.1', '[::1]')],
    ['a socket in a folder', 'postgres:///hallpass?host=/nowhere'],
  ] as const) {
    test(`${name} is accepted`, async (t) => {
      const error = await errorOf(t, address);
      assert.ok(error instanceof StoreUnavailable, error.message);
      assert.match(error.message, TRIED);
    });
  }

  test('a command refuses such an address unless HALLPASS_DATABASE_PLAINTEXT is allow', async (t) => {
    const on = {
      HALLPASS_DATA_DIR: join(makeFolder(t), 'data'),
      HALLPASS_MASTER_KEY: randomBytes(32).toString('base64url'),
      HALLPASS_ISSUER: 'http://localhost',
      HALLPASS_DATABASE_URL: REMOTE,
    };
    for (const [more, expected, sentence] of [
      [{}, 2, REFUSED],
      [{ HALLPASS_DATABASE_PLAINTEXT: 'refuse' }, 2, REFUSED],
      [{ HALLPASS_DATABASE_PLAINTEXT: 'allow' }, 1, TRIED],
    ] as const) {
      const { code, stdout, stderr } = await runCommand(['keys', 'list'], { ...on, ...more });
      assert.equal(code, expected, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, sentence);
      assert.ok(!stderr.includes('pa55'));
    }
  });

  test('store copy refuses such a target as well', async (t) => {
    const on = { ...(await makeStore(t)), HALLPASS_COPY_TO: REMOTE };
    const { code, stderr } = await runCommand(['store', 'copy', '--dry-run'], on);
    assert.equal(code, 2, stderr);
    assert.match(stderr, REFUSED);
    assert.ok(!stderr.includes('pa55'));
  });
});
