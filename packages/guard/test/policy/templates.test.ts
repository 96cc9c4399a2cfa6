/** The scope templates that code passes to a check. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Templates } from '../../src/policy/templates.ts';

const TEMPLATES_MAX = 1_000;

test('a text that is not a scope, or not in the catalogue, is a TypeError', () => {
  const open = new Templates(undefined);
  const listed = new Templates(['/accounts.read', '/ping.read']);
  for (const templates of [open, listed]) {
    assert.equal(templates.parse('/accounts.read').text, '/accounts.read');
    for (let round = 0; round < 2; round++) {
      assert.throws(() => templates.parse('accounts.read'), {
        name: 'TypeError',
        message: /^'accounts\.read' is not a scope \(it does not begin with a slash\)\.$/,
      });
    }
  }
  const message = "'/accounts.write' is not among the scopes of this guard.";
  for (let round = 0; round < 2; round++) {
    assert.throws(() => listed.parse('/accounts.write'), { name: 'TypeError', message });
  }
  assert.equal(open.parse('/accounts.write').text, '/accounts.write');
  assert.throws(() => new Templates([]).parse('/accounts.read'), TypeError);
});

test('a thousand templates are remembered, and others work too: an API that makes them up does not fill the memory', () => {
  const templates = new Templates(undefined);
  const all = Array.from({ length: TEMPLATES_MAX + 1 }, (_, at) => `/accounts/a${at}.read`);
  const first = all.map((text) => templates.parse(text));
  const again = all.map((text) => templates.parse(text));
  assert.deepEqual(
    again.map(({ text }) => text),
    all,
  );
  const remembered = again.filter((template, at) => template === first[at]);
  assert.equal(remembered.length, TEMPLATES_MAX);
  assert.notEqual(again.at(-1), first.at(-1));
});
