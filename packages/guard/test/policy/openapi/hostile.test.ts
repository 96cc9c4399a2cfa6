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
  const lists = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  for (const deep of ['['.repeat(200_000), `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, lists(1_001)]) {
    assert.match(await faultsIn(deep), /^[^\n]*YAML or JSON is not accepted: nested too deeply\.$/);
  }
  assert.match(await faultsIn(lists(1_000)), /does not hold an object/);
  const aliases = (count: number): string => `${LEDGER_FILE}x-a: &a x\nx-b: [${'*a, '.repeat(count)}]\n`;
  assert.deepEqual((await inspectPolicy(fileOf(aliases(9_999)))).faults, []);
  assert.match(await faultsIn(aliases(10_000)), /Excessive alias count/);
  assert.equal(POLICY_FILE_BYTES_MAX, 67_108_864);
  const longest = fileOf('{"GET /a": "/a.read"}'.padEnd(POLICY_FILE_BYTES_MAX));
  assert.equal(meets(await readPolicy(longest), 'GET', '/a'), '/a.read');
  assert.match(await faultsIn(new Uint8Array(POLICY_FILE_BYTES_MAX + 1).fill(0x20)), /longer than 67108864 bytes/);
  // Its names are compared once each, not with each other.
  const many = Array.from({ length: 20_000 }, (_, at) => `GET /a${at}: /a${at}.read`).join('\n');
  assert.equal(meets(await readPolicy(fileOf(many)), 'GET', '/a19999'), '/a19999.read');
  const bad = await inspectPolicy(fileOf(many.replaceAll('.read', '')));
  assert.equal(bad.faults.length, 20_000);
  assert.equal(bad.faults[19_999]?.line, 20_000);
});

test('any bytes make a policy or a PolicyError (property)', async () => {
  const pieces = [
    ['openapi: 3.1.0\n', 'paths:\n', '  /a:\n', '    get:\n', '      security: []\n', 'GET /a: /a.read\n'],
    ['- ', '&a ', '*a', ': ', '? ', '| ', '> ', '!!str ', '{', '}', '[', ']', ',', '"', "'", '\t', '\n', '#'],
    ['%YAML 1.1\n', '---\n', '...\n', '\u0000', 'é', '__proto__: ', '<<: ', '@', '`'],
  ].flat();
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.array(fc.constantFrom(...pieces), { maxLength: 12 }).map((some) => new TextEncoder().encode(some.join(''))),
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
