import { isRefusal, listRefusals, refuse, printRefusal } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

// RFC 6749 §5.2.
const DESCRIPTION = /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/;
const ROWS = listRefusals();
const REASONS = ROWS.map(({ reason }) => reason);

test('each reason has one row, with an error status and a printable description (RFC 6749 §5.2)', () => {
  assert.ok(ROWS.length > 30);
  assert.equal(new Set(REASONS).size, REASONS.length);
  for (const { reason, status, error, description, field } of ROWS) {
    assert.ok(status >= 400 && status <= 599, reason);
    assert.match(error, /^[a-z_]+$/, reason);
    assert.match(description, DESCRIPTION, reason);
    if (field !== undefined) assert.ok(['scope', 'refresh_token', 'token'].includes(field), reason);
  }
});

const someReason = fc.constantFrom(
  ...(['scope_not_allowed', 'unfilled_scope', 'insufficient_scope', 'scope_not_granted', 'server_error'] as const),
);

test('no subject, however hostile, puts a quote, a newline or anything unprintable into a description', () => {
  fc.assert(
    fc.property(someReason, fc.oneof(fc.string(), fc.string({ unit: 'binary' })), (reason, subject) => {
      const { body } = printRefusal(refuse(reason, { subject }));
      assert.match(body.error_description, DESCRIPTION);
    }),
  );
  const { body } = printRefusal(refuse('scope_not_allowed', { subject: '/a.read"\r\nSet-Cookie: a=b\\\u202e' }));
  assert.match(body.error_description, /: \/a\.read\?\?\?Set-Cookie: a=b\?\?$/);
});

test('a subject is cut', () => {
  const { body } = printRefusal(refuse('scope_not_allowed', { subject: 'x'.repeat(100_000) }));
  assert.ok(body.error_description.length < 1000);
});

test('the private reason of a refusal is in no answer', () => {
  for (const { reason } of ROWS) {
    const refusal = { ...refuse('server_error'), refused: reason, because: 'SECRET DETAIL' };
    assert.ok(isRefusal(refusal));
    assert.ok(!JSON.stringify(printRefusal(refusal)).includes('SECRET'), reason);
  }
});

test('only the three required fields that the JSON dialect names have a field (contract §3)', () => {
  const named = ROWS.flatMap(({ reason, field }) => (field === undefined ? [] : [[reason, field]]));
  assert.deepEqual(named, [
    ['missing_scope', 'scope'],
    ['missing_refresh_token', 'refresh_token'],
    ['missing_token', 'token'],
  ]);
});

test('a refusal is recognised among other results', () => {
  assert.ok(isRefusal(refuse('missing_scope')));
  for (const other of [undefined, null, 'refused', { dialect: 'form' }, []]) assert.ok(!isRefusal(other));
});
