/** The disk rig itself: that it finds nothing lost, and that it would find it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { suite, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const RIG = fileURLToPath(new URL('../disk.ts', import.meta.url));
/** The rig's word for: this machine has not what it needs, such as root for a file system of its own. */
const EXIT_NOT_HERE = 3;

interface Ended {
  readonly code: number | null;
  readonly summary: Readonly<Record<string, number>>;
  readonly complaints: string;
}

/** Undefined where the rig cannot run; the test then says why. */
async function runRig(t: TestContext, ...options: readonly string[]): Promise<Ended | undefined> {
  const child = spawn(process.execPath, ['--conditions=hallpass-source', RIG, '--json', ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let complaints = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  await once(child, 'close');
  if (child.exitCode === EXIT_NOT_HERE) {
    t.skip(complaints.trim());
    return undefined;
  }
  assert.notEqual(out, '', complaints);
  const summary: Ended['summary'] = JSON.parse(out);
  return { code: child.exitCode, summary, complaints };
}

suite('a disk that fails under a loaded server', () => {
  for (const [fault, rounds] of [
    ['power-cut', '3'],
    ['full', '1'],
    ['failing-sync', '1'],
  ] as const) {
    test(`${fault}: nothing that was acknowledged is lost`, { timeout: 120_000 }, async (t) => {
      const ended = await runRig(t, '--fault', fault, '--rounds', rounds);
      if (ended === undefined) return;
      const { code, summary, complaints } = ended;
      assert.equal(summary['lost'], 0, complaints);
      assert.equal(code, 0);
      assert.ok((summary['acknowledgedRevocations'] ?? 0) > 20);
      assert.ok((summary['acknowledgedRotations'] ?? 0) > 20);
    });
  }

  test('a disk that says it has synced and has not is caught', { timeout: 120_000 }, async (t) => {
    const ended = await runRig(t, '--fault', 'power-cut', '--rounds', '1', '--planted-defect');
    if (ended === undefined) return;
    assert.equal(ended.code, 1);
    assert.ok((ended.summary['lost'] ?? 0) > 0);
  });
});
