/** What is a page of the revocation feed, and what is none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePage } from '../../src/revocations/feed_page.ts';
import { makeId, NOW_SECONDS } from '../issuer.ts';

const entry = { cursor: 'c1', kind: 'token', id: makeId(), expires_at: NOW_SECONDS + 60 };
const page = { entries: [entry], cursor: 'c1', more: true, keys: 'k1' };

test('a page holds its entries in order, where to read on, whether there is more, and which keys are published', () => {
  const next = { ...entry, cursor: 'c2', id: makeId() };
  assert.deepEqual(parsePage({ ...page, entries: [entry, next], cursor: 'c2' }), {
    entries: [entry, next],
    cursor: 'c2',
    more: true,
    keys: 'k1',
  });
  assert.deepEqual(parsePage({ ...page, more: false, another: 'member' }), { ...page, more: false });
});

test('the last page may be empty; one that is empty and has more would be asked for for ever', () => {
  const end = { entries: [], cursor: 'c1', more: false };
  assert.deepEqual(parsePage(end), { ...end, keys: undefined });
  assert.equal(parsePage({ ...end, more: true }), undefined);
});

test('an entry that cannot be read leaves its place empty: it is not passed over', () => {
  assert.deepEqual(parsePage({ ...page, entries: [{ ...entry, kind: 'scope' }, entry, null] })?.entries, [
    undefined,
    entry,
    undefined,
  ]);
});

test('what is no page is none, whatever it is', () => {
  const { entries, cursor, more } = page;
  for (const value of [
    undefined,
    null,
    '',
    'page',
    7,
    true,
    [],
    [page],
    {},
    { cursor, more },
    { entries, more },
    { entries, cursor },
    { ...page, entries: entry },
    { ...page, entries: { length: 1, 0: entry } },
    { ...page, cursor: '' },
    { ...page, cursor: 'c 1' },
    { ...page, cursor: 1 },
    { ...page, cursor: null },
    { ...page, more: 'true' },
    { ...page, more: 1 },
    { ...page, more: null },
    Object.assign(() => {}, page),
  ]) {
    assert.equal(parsePage(value), undefined, JSON.stringify(value));
  }
});
