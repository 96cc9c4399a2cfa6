/** The kill -9 rig itself: that it finds nothing lost, and that it would find it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const RIG = fileURLToPath(new URL('../kill.ts', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly summary: Readonly<Record<string, number>>;
  readonly complaints: string;
}

async function runRig(...options: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, ['--conditions=hallpass-source', RIG, '--json', ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let complaints = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  await once(child, 'close');
  assert.notEqual(out, '', complaints);
  const summary: Ended['summary'] = JSON.parse(out);
  return { code: child.exitCode, summary, complaints };
}

suite('a server that is killed under load', { skip: process.platform === 'win32' }, () => {
  test('nothing that was acknowledged is lost in 20 kills (contract §3, §4)', { timeout: 180_000 }, async (t) => {
    const { code, summary, complaints } = await runRig('--rounds', '20');
    t.diagnostic(JSON.stringify(summary));
    assert.equal(summary['lost'], 0, complaints);
    assert.equal(code, 0);
    // A rig without load would find nothing either.
    assert.ok((summary['acknowledgedRevocations'] ?? 0) > 200);
    assert.ok((summary['acknowledgedRotations'] ?? 0) > 200);
  });

  test('a store that loses what it acknowledged is caught', { timeout: 60_000 }, async () => {
    const { code, summary } = await runRig('--rounds', '3', '--planted-defect');
    assert.equal(code, 1);
    assert.ok((summary['lostRevocations'] ?? 0) > 0);
    assert.ok((summary['lostRotations'] ?? 0) > 0);
  });
});
