/** Files that were made to cost a lot, and files of whatever bytes. */
import { inspectPolicy, POLICY_FILE_BYTES_MAX, PolicyError, readPolicy } from '@hallpass/guard/openapi';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { LEDGER_FILE, meets, openFolder } from './harness.ts';
import { caseCount } from '../../../../../testing/case_count.ts';

const { fileOf, faultsIn } = openFolder();

test('alias bombs, and files that are too deep or too long, are refused quickly', async () => {
  const laughs = ['a0: &a0 [x]'];
  for (let level = 1; level < 30; level++) {
    laughs.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]`);
  }
  assert.match(await faultsIn(laughs.join('\n')), /YAML or JSON is not accepted: Excessive alias count/);
  // What has itself inside is finite as long as nobody follows it: two updates that meet would.
  const round = fileOf(`${LEDGER_FILE}x-round: &round { one: *round, two: *round }\n`);
  assert.deepEqual((await inspectPolicy(round)).faults, []);
  const action = '{ target: $, update: { x-round: &round { one: *round, two: *round } } }';
  const overlay = fileOf(`overlay: 1.0.0\nactions:\n  - ${action}\n`);
  const { faults } = await inspectPolicy(round, { overlay });
  assert.match(faults[0]?.sentence ?? '', /too deep or too large/);
  assert.match(await faultsIn('['.repeat(200_000)), /YAML or JSON is not accepted/);
  assert.match(await faultsIn(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`), /YAML or JSON is not accepted/);
  assert.match(await faultsIn(new Uint8Array(POLICY_FILE_BYTES_MAX + 1).fill(0x20)), /longer than 67108864 bytes/);
  // Its names are compared once each, not with each other.
  const many = Array.from({ length: 50_000 }, (_, at) => `GET /a${at}: /a${at}.read`).join('\n');
  assert.equal(meets(await readPolicy(fileOf(many)), 'GET', '/a49999'), '/a49999.read');
  const bad = await inspectPolicy(fileOf(many.replaceAll('.read', '')));
  assert.equal(bad.faults.length, 50_000);
  assert.equal(bad.faults[49_999]?.line, 50_000);
});

test('any bytes make a policy or a PolicyError (property)', async () => {
  const piece = fc.constantFrom(
    'openapi: 3.1.0\n',
    'paths:\n',
    '  /a:\n',
    '    get:\n',
    '      security: []\n',
    'GET /a: /a.read\n',
    '- ',
    '&a ',
    '*a',
    ': ',
    '? ',
    '| ',
    '> ',
    '!!str ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '"',
    "'",
    '\t',
    '\n',
    '#',
    '%YAML 1.1\n',
    '---\n',
    '...\n',
    '\u0000',
    'é',
    '__proto__: ',
    '<<: ',
    '@',
    '`',
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.array(piece, { maxLength: 12 }).map((pieces) => new TextEncoder().encode(pieces.join(''))),
  );
  const file = fileOf('');
  await fc.assert(
    fc.asyncProperty(bytes, async (content) => {
      writeFileSync(file, content);
      await readPolicy(file).catch((error: unknown) => assert.ok(error instanceof PolicyError, String(error)));
    }),
    { numRuns: caseCount(200) },
  );
});
