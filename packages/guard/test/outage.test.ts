/** What a log is told of what went wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nameOf, Outage, Refused } from '../src/outage.ts';

test('our own errors are told in their words, and have names of their own', () => {
  const outage = new Outage('The feed fell silent.', { cause: { code: 'ECONNRESET' } });
  assert.equal(nameOf(outage), 'The feed fell silent.');
  assert.equal(String(outage), 'Outage: The feed fell silent.');
  const refused = new Refused(403);
  assert.equal(nameOf(refused), 'The issuer refused the credentials.');
  assert.equal(String(refused), 'Refused: The issuer refused the credentials.');
  assert.equal(refused.status, 403);
});

test('of the errors of others only the code or the name is told: their words may quote a secret', () => {
  const failed = (cause: unknown): Error => new TypeError('Bearer secret is no header', { cause });
  assert.equal(
    nameOf(failed(Object.assign(new Error('connect 10.0.0.1:443'), { code: 'ECONNREFUSED' }))),
    'ECONNREFUSED',
  );
  assert.equal(nameOf(failed({ code: 'UND_ERR_SOCKET' })), 'UND_ERR_SOCKET');
  for (const cause of [undefined, null, 'secret', 7, {}, { code: 7 }, { name: 'secret' }, () => {}]) {
    assert.equal(nameOf(failed(cause)), 'TypeError', JSON.stringify(cause));
  }
  assert.equal(nameOf(new DOMException('secret', 'AbortError')), 'AbortError');
});

test('what is no error at all has no name', () => {
  for (const thrown of [
    'secret',
    undefined,
    null,
    { message: 'secret', name: 'secret', cause: { code: 'secret' } },
    7,
  ]) {
    assert.equal(nameOf(thrown), 'unknown');
  }
});
