/** The quickstart example in a checkout, started with the two commands of its README. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeDataDir } from '../testing/process/process.ts';
import { ROOT, run } from './installed.ts';
import { commandsOf, playQuickstart } from './quickstart.ts';

const { dataDir, remove } = makeDataDir();
after(remove);

const [start = '', calls = ''] = commandsOf(0);

test('calling the example before starting it prints how to start it', async () => {
  const { code, stderr } = await run('sh', ['-c', calls], { cwd: ROOT, environment: { HALLPASS_DATA_DIR: dataDir } });
  assert.equal(code, 1);
  assert.match(stderr, /^Start the example first: npm run quickstart$/m);
});

for (const time of ['first', 'second']) {
  test(`two commands: the API is up, the calls come out as expected, and Ctrl-C stops it, the ${time} time`, async () => {
    const played = await playQuickstart([start, calls], { cwd: ROOT, dataDir });
    assert.equal(played.calls.code, 0, played.calls.stdout + played.calls.stderr);
    assert.match(played.calls.stdout, /The API heard of it \d+\.\d ms after the response/);
    assert.match(played.calls.stdout, /GET \/accounts\/a2\/transfers {2}403 .*scope="\/accounts\/a2\/transfers\.read"/);
    assert.match(played.calls.stdout, /All calls came out as expected\./);
    const [token, call] = played.pasted;
    assert.equal(token.code, 0, token.stderr);
    assert.equal(call.stdout, '[{"to":"a2","cents":1250}]');
    assert.equal(statSync(join(dataDir, 'quickstart.json')).mode & 0o777, 0o600, 'it holds secrets');
  });
}
