/** The limits on parsed client records. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PARSED_CLIENT_CHARACTERS_MAX, PARSED_CLIENTS_MAX, ParsedClients } from '../../src/store/parsed_clients.ts';
import { clientRecord } from '../../../../testing/store_contract/records.ts';

const RECORD = JSON.stringify(clientRecord());
const markOf = (at: number) => ({ clientId: `c${at}`, revision: '1-a' });

test('at most PARSED_CLIENTS_MAX records are kept, the most recently used ones', () => {
  const parsed = new ParsedClients();
  for (let at = 0; at < PARSED_CLIENTS_MAX; at++) parsed.parse(markOf(at), RECORD);
  assert.ok(parsed.find(markOf(0)) !== undefined);
  parsed.parse(markOf(PARSED_CLIENTS_MAX), RECORD);
  assert.ok(parsed.find(markOf(0)) !== undefined, 'it was used');
  assert.equal(parsed.find(markOf(1)), undefined);
  assert.ok(parsed.find(markOf(2)) !== undefined);
});

test('their texts never exceed PARSED_CLIENT_CHARACTERS_MAX characters, also when a record is parsed again', () => {
  const parsed = new ParsedClients();
  const quarter = JSON.stringify(clientRecord({ name: 'x'.repeat(PARSED_CLIENT_CHARACTERS_MAX / 4 - RECORD.length) }));
  for (const at of [1, 1, 1, 1, 2, 3, 4]) parsed.parse(markOf(at), quarter);
  for (const at of [1, 2, 3, 4]) assert.ok(parsed.find(markOf(at)) !== undefined, `${at}`);
  parsed.parse(markOf(5), quarter);
  assert.deepEqual(
    [1, 2, 3, 4, 5].filter((at) => parsed.find(markOf(at)) !== undefined),
    [2, 3, 4, 5],
  );
  parsed.parse(markOf(6), `"${'x'.repeat(PARSED_CLIENT_CHARACTERS_MAX)}"`);
  assert.equal(parsed.find(markOf(6)), undefined, 'it is larger than the limit');
  assert.ok(parsed.find(markOf(5)) !== undefined, 'the others stay');
});
