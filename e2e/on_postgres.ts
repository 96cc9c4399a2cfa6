/** Runs tests of the server a second time, with its store on PostgreSQL. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startPostgres } from '../testing/postgres/cluster.ts';

/** `names` are files of packages/server/test/oauth. Rejects with what failed, or when fewer than `testsMin` tests passed. */
export async function assertHoldsOnPostgres(names: readonly string[], testsMin: number): Promise<void> {
  const cluster = await startPostgres();
  try {
    const files = names.map((name) =>
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
    assert.ok(Number(passed) >= testsMin, `${passed} tests passed`);
  } finally {
    await cluster.stop();
  }
}
