/** Which audiences can be the address of an API's metadata (RFC 9728 §1.2, §3.1), and which request is for it. */
import { compilePolicy, createGuard, type Guard } from '@hallpass/guard';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerMetadata } from '../src/adapters/metadata_endpoint.ts';
import { describeResource, metadataPath, metadataURL } from '../src/resource_metadata.ts';
import { API, CREDENTIALS } from './issuer.ts';

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

test('an audience that is an address in its one spelling has its metadata beside it', () => {
  for (const [audience, url] of [
    ['https://api.example.com', `https://api.example.com${WELL_KNOWN}`],
    ['https://api.example.com/', `https://api.example.com${WELL_KNOWN}`],
    ['http://127.0.0.1:8080/v1', `http://127.0.0.1:8080${WELL_KNOWN}/v1`],
    ['https://api.example.com/v1/', `https://api.example.com${WELL_KNOWN}/v1/`],
    [
      "https://api.example.com/Az09!$&'()*+,-.;=:@_~%41",
      `https://api.example.com${WELL_KNOWN}/Az09!$&'()*+,-.;=:@_~%41`,
    ],
  ] as const) {
    assert.equal(metadataURL(audience), url);
    assert.equal(metadataPath(audience), new URL(url).pathname);
  }
  assert.equal(metadataPath('https://api.example.com/a=b!c[d]'), `${WELL_KNOWN}/a=b!c[d]`);
});

test('an audience that is no address, or one of several spellings, is a mistake that is explained', () => {
  for (const audience of [
    '',
    'accounts',
    'urn:api',
    'ftp://api.example.com',
    'https://',
    'https://[',
    'x:https://api.example.com',
    'https://API.example.com',
    'https://api.example.com:443',
    'https://api.example.com/a b',
    'https://api.example.com/a#b',
    'https://api.example.com#',
    'https://api.example.com/?a',
    'https://api.example.com/a?',
    'https://u@api.example.com',
    'https://u:p@api.example.com/',
    'https://:p@api.example.com/',
    'https://api.example.com/a/../b',
    'https://api.example.com\\a',
    'https://api.example.com/"',
    'https://api.example.com/<a>',
    'https://api.example.com/é',
    'https://api.example.com\n',
  ]) {
    const sentence = /^resourceMetadata needs an audience like https:/;
    assert.throws(() => metadataPath(audience), { name: 'TypeError', message: sentence }, audience);
    assert.throws(() => metadataURL(audience), { name: 'TypeError', message: sentence }, audience);
    const described = { audience, issuer: 'https://auth.example.com', takesProofs: false, scopes: [] };
    assert.throws(() => describeResource(described), { name: 'TypeError', message: sentence }, audience);
  }
});

const policy = compilePolicy({ 'GET /a': '/a.read' });

function guardWith(resourceMetadata: boolean): Guard {
  return createGuard({ issuer: 'https://auth.example.com', audience: API, credentials: CREDENTIALS, resourceMetadata });
}

test('a request is for the metadata by its method and its path, whatever its query and its host', () => {
  const guard = guardWith(true);
  for (const url of [WELL_KNOWN, `${WELL_KNOWN}?a=b?c`, `${WELL_KNOWN}?a\nb`, `http://other${WELL_KNOWN}`]) {
    const answer = answerMetadata(guard, policy, { method: 'GET', url });
    assert.equal(answer?.status, 200, url);
    assert.equal(answer.body.resource, API);
    assert.equal(answerMetadata(guardWith(false), policy, { method: 'GET', url }), undefined);
    for (const method of ['POST', 'HEAD', 'get', '']) {
      assert.equal(answerMetadata(guard, policy, { method, url }), undefined, method);
    }
  }
  for (const url of [
    '',
    '/',
    '/a',
    `${WELL_KNOWN}/`,
    `${WELL_KNOWN}/a`,
    `/x${WELL_KNOWN}`,
    `${WELL_KNOWN}#a`,
    `/?${WELL_KNOWN}`,
  ]) {
    assert.equal(answerMetadata(guard, policy, { method: 'GET', url }), undefined, url);
  }
});
