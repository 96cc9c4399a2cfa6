/** Whatever the server's own tests say of the embedded store holds on PostgreSQL: the same tests, on the other engine. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startPostgres } from '../testing/postgres/cluster.ts';

/** What depends on what is remembered, and how; the rest is the same code whatever the store is. */
const FILES = [
  'feed',
  'grant_lifetimes',
  'introspect',
  'outage',
  'policy_changes',
  'predecessor',
  'private_key_jwt',
  'refresh_token',
  'revoke',
  'signing_keys',
  'token_exchange',
];

test('the tests of the server hold on PostgreSQL as well', async (t) => {
  const cluster = await startPostgres();
  t.after(() => cluster.stop());
  const files = FILES.map((name) =>
    fileURLToPath(new URL(`../packages/server/test/oauth/${name}.test.ts`, import.meta.url)),
  );
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const child = spawn(process.execPath, ['--conditions=hallpass-source', '--test', ...files], {
    env: { ...inherited, HALLPASS_TEST_DATABASE: cluster.url('postgres') },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  await once(child, 'close');
  assert.equal(child.exitCode, 0, output.slice(output.indexOf('failing tests')));
  const [, passed] = /^(?:ℹ|#) pass (\d+)$/m.exec(output) ?? [];
  assert.ok(Number(passed) > 400, `${passed} tests were run`);
});
