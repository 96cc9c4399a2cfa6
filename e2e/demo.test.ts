import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

test('the demonstration comes out as told, from the first token to the refusal after revocation', async () => {
  const demo = fileURLToPath(new URL('../examples/payments/demo.ts', import.meta.url));
  // Rejects for any exit code but 0.
  const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=hallpass-source', demo]);
  assert.match(stdout, /Refused by the API \d+\.\d ms after the answer to the revocation/);
  assert.match(stdout, /Every step came out as told\./);
  assert.doesNotMatch(stdout, /dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-/, 'a secret on the screen');
});
