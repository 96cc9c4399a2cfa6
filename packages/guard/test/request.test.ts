/** What a guard reads of a request's headers, by themselves: one set of credentials, or none, or too many. */
import { isRefusal } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCredentials, readProofs, type GuardedRequest } from '../src/request.ts';

type Fields = GuardedRequest['headers'];

function read(headers: Fields, options: { takesKeys?: boolean; address?: string } = {}): unknown {
  const { takesKeys = false, address } = options;
  const found = readCredentials({ headers, ...(address === undefined ? {} : { address }) }, { takesKeys });
  return isRefusal(found) ? [found.refused, found.because] : found;
}

const TWO = ['malformed_credentials', 'more than one Authorization'];
const NONE = ['missing_credentials', undefined];
const BEARER = { scheme: 'Bearer', token: 'abc' };
/** `a:b`. */
const BASIC = 'Basic YTpi';

test('a header is found by its name in any case, in every form that headers come in', () => {
  for (const headers of [
    { authorization: 'Bearer abc' },
    { Authorization: 'Bearer abc' },
    { AUTHORIZATION: ['Bearer abc'] },
    { host: 'x', authorization: 'Bearer abc', 'x-authorization': 'Bearer def' },
    { authorization: 'Bearer abc', Authorization: undefined },
    { authorization: 'Bearer abc', Authorization: [] },
    { get: 'x', authorization: 'Bearer abc' },
    new Headers({ authorization: 'Bearer abc' }),
  ]) {
    assert.deepEqual(read(headers), BEARER);
  }
  for (const headers of [
    {},
    new Headers(),
    { authorization: undefined },
    { authorization: [] },
    { authorization: '' },
    { 'x-authorization': 'Bearer abc' },
    { authorizatio: 'Bearer abc', authorizations: 'Bearer abc', 'proxy-authorization': 'Bearer abc' },
    // As long as the name that is looked for.
    { authorizatiom: 'Bearer abc' },
    { cookie: 'authorization=abc' },
    new Headers({ dpop: 'abc' }),
  ]) {
    assert.deepEqual(read(headers), NONE);
  }
});

test('two of them are refused: in two fields, in a list, joined by a comma (contract §9)', () => {
  for (const headers of [
    { authorization: ['Bearer abc', 'Bearer abc'] },
    { authorization: 'Bearer abc', Authorization: 'Bearer def' },
    { authorization: ['', ''] },
    { authorization: 'Bearer abc,Bearer def' },
    { authorization: 'Bearer abc, bearer def' },
    { authorization: 'Bearer abc,\tDPoP def' },
    { authorization: 'Bearer abc,  BASIC YTpi' },
    { authorization: 'Bearer abc, DPoP' },
    { authorization: 'Basic YTpi, Bearer abc' },
  ]) {
    assert.deepEqual(read(headers), TWO, JSON.stringify(headers));
    assert.deepEqual(read(headers, { takesKeys: true }), TWO, JSON.stringify(headers));
  }
  // A comma alone makes no second credentials: malformed, and for another reason.
  for (const value of ['Bearer abc,', 'Bearer abc,def', 'Bearer abc, Bearerdef', 'Bearer abc, Digest x']) {
    assert.deepEqual(read({ authorization: value }), ['malformed_credentials', undefined], value);
  }
  assert.deepEqual(read({ authorization: 'Digest a, Bearers b' }), NONE);
});

test('an API key is read where keys are taken, with the address of who asks, and is no credentials elsewhere', () => {
  const key = { clientId: 'a', clientSecret: 'b' };
  for (const value of [BASIC, 'basic YTpi', 'BASIC YTpi']) {
    const headers = { authorization: value };
    assert.deepEqual(read(headers), NONE);
    assert.deepEqual(read(headers, { takesKeys: true }), { scheme: 'Basic', key, address: undefined });
    assert.deepEqual(read(headers, { takesKeys: true, address: '10.0.0.1' }), {
      scheme: 'Basic',
      key,
      address: '10.0.0.1',
    });
  }
  for (const value of ['Basic', 'Basic ', 'Basic\tYTpi', 'Basic %', 'Basic YQ==', 'Basic YTpi YTpi']) {
    assert.deepEqual(
      read({ authorization: value }, { takesKeys: true }),
      ['malformed_credentials', 'malformed Basic'],
      value,
    );
  }
  for (const value of ['Basics YTpi', 'BasicYTpi', 'x Basic YTpi', 'Digest YTpi']) {
    assert.deepEqual(read({ authorization: value }, { takesKeys: true }), NONE, value);
  }
  assert.deepEqual(read({ authorization: 'Bearer abc' }, { takesKeys: true }), BEARER);
  assert.deepEqual(read({}, { takesKeys: true }), NONE);
});

test('proofs are all that there are, in order', () => {
  assert.deepEqual(readProofs({ dpop: 'a' }), ['a']);
  assert.deepEqual(readProofs({ DPoP: ['a', 'b'], dpop: 'c' }), ['a', 'b', 'c']);
  assert.deepEqual(
    readProofs(
      new Headers([
        ['dpop', 'a'],
        ['DPoP', 'b'],
      ]),
    ),
    ['a, b'],
  );
  for (const headers of [
    {},
    new Headers(),
    { dpop: undefined },
    { dpop: [] },
    { dpoq: 'a' },
    { authorization: 'DPoP a' },
  ]) {
    assert.deepEqual(readProofs(headers), []);
  }
});
