/** A server inside another process: the example of docs/operating.md, and what `startHallpass` refuses. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startHallpass } from 'hallpass';
import { blocksOf, fill } from './readme_examples.ts';

const operating = readFileSync(new URL('../docs/operating.md', import.meta.url), 'utf8');
const cache = fileURLToPath(new URL('../.cache/', import.meta.url));
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(join(cache, 'embedding-'));
after(() => rmSync(folder, { recursive: true }));

test('the example of docs/operating.md gets a token from a server in its own process, and ends', async () => {
  const file = join(folder, 'example.ts');
  writeFileSync(
    file,
    fill(blocksOf('ts', operating)[0] ?? '', { "'.hallpass'": JSON.stringify(join(folder, 'example')) }),
  );
  const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=hallpass-source', file]);
  assert.match(stdout, /^200 http:\/\/localhost:\d+ http:\/\/127\.0\.0\.1:\d+\n$/);
});

test('settings are checked by the rules of the environment, which is not read', async (t) => {
  process.env['HALLPASS_PORT'] = 'not a port';
  t.after(() => delete process.env['HALLPASS_PORT']);
  const at = { dataDir: join(folder, 'checked'), port: 0, operatorPort: 0, logLevel: 'silent' } as const;
  await assert.rejects(startHallpass({ ...at, accessTtlSeconds: 0 }), {
    name: 'BadSetting',
    message: /^accessTtlSeconds must be whole seconds, 1 to /,
  });
  await assert.rejects(startHallpass(Object.assign({ acessTtlSeconds: 60 }, at)), {
    name: 'BadSetting',
    message: 'acessTtlSeconds is not a setting. Did you mean accessTtlSeconds?',
  });
  await assert.rejects(startHallpass({ ...at, issuer: 'https://auth.example.com' }), { name: 'StoreMissing' });
  const hallpass = await startHallpass({ ...at, operatorHosts: ['ops.example.com'], dpopNonces: true });
  await assert.rejects(startHallpass({ ...at, port: Number(new URL(hallpass.url).port) }), {
    name: 'BadSetting',
    message: /is taken/,
  });
  await hallpass.close();
});
