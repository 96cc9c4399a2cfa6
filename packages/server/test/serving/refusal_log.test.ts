/** The log line of a refusal: enough to find the caller and the reason, and never a secret. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { printBasic } from '@hallpass/protocol';
import { serve } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';

const SECRET = 'zQ3kVb8Ls0Tn6Wm4Xr2Yp1-strong';
const WEAK = 'hunter2';
const KEY = { clientId: 'partner one', clientSecret: SECRET };
const TOKEN = { grant_type: 'client_credentials', scope: '/accounts.write' };

type Body = Readonly<Record<string, string>>;
type Entry = Readonly<Record<string, unknown>>;

test('a refusal is logged with its address, grant type, scope and claimed client, and no secret in any of them', async (t) => {
  const { url, environment, child, stderr } = await serve(t, { HALLPASS_LOG_LEVEL: 'info' });
  const keys = [
    { client_id: KEY.clientId, client_secret: SECRET, scopes: ['/accounts.write'] },
    { client_id: 'weak-one', client_secret: WEAK, scopes: ['/accounts.write'] },
  ];
  const imported = await runCommand(['keys', 'import', '-', '--allow-weak-secret'], environment, JSON.stringify(keys));
  assert.equal(imported.code, 0, imported.stderr);

  const seen = new Map<string, string>();
  const send = async (name: string, body: Body, key?: typeof KEY, path = '/oauth2/token'): Promise<Response> => {
    const headers = key === undefined ? {} : { authorization: printBasic(key) };
    const answer = await fetch(url + path, { method: 'POST', headers, body: new URLSearchParams(body) });
    await answer.text();
    seen.set(name, answer.headers.get('x-request-id') ?? '');
    return answer;
  };
  await send('a scope that it may not have', { ...TOKEN, scope: '/admin.write' }, KEY);
  await send('a malformed scope', { ...TOKEN, scope: `/accounts.write ${SECRET}` }, KEY);
  await send('an unfilled scope', { ...TOKEN, scope: '/accounts/{id}.read' }, KEY);
  await send('another grant', { ...TOKEN, grant_type: SECRET }, KEY);
  await send('a wrong secret', TOKEN, { ...KEY, clientSecret: 'wrong' });
  await send('an unknown client', TOKEN, { clientId: 'no\u001b[31m\u202e-one', clientSecret: 'x' });
  await send('swapped', TOKEN, { clientId: SECRET, clientSecret: KEY.clientId });
  await send('swapped in the body', { ...TOKEN, client_id: SECRET, client_secret: KEY.clientId });
  await send('a weak one swapped', TOKEN, { clientId: WEAK, clientSecret: 'weak-one' });
  await send('the secret twice', TOKEN, { clientId: WEAK, clientSecret: WEAK });
  await send('the secret alone', { ...TOKEN, client_id: SECRET });
  await send('an id alone', { ...TOKEN, client_id: 'partner-two' });
  await send('revoke', { token: 'x' }, { ...KEY, clientSecret: 'wrong' }, '/oauth2/revoke');
  await send('introspect', { token: 'x' }, { ...KEY, clientSecret: 'wrong' }, '/oauth2/introspect');
  assert.equal((await send('good', TOKEN, KEY)).status, 200);
  child.kill('SIGTERM');
  await once(child, 'close');

  const text = stderr();
  const entries: Entry[] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const entryOf = (name: string): Entry => {
    const entry = entries.find(({ requestId }) => requestId === seen.get(name));
    assert.ok(entry !== undefined, `no line for ${name}`);
    return entry;
  };
  const said = (name: string): readonly unknown[] => {
    const { address, grantType, clientId, claimedClientId, scope, refused } = entryOf(name);
    return [address, grantType, clientId ?? claimedClientId, scope, refused];
  };
  const [from, cc, one] = ['127.0.0.1', 'client_credentials', KEY.clientId];
  for (const [name, ...expected] of [
    ['a scope that it may not have', from, cc, one, '/admin.write', 'scope_not_allowed'],
    ['a malformed scope', from, cc, one, undefined, 'malformed_scope'],
    ['an unfilled scope', from, cc, one, '/accounts/{id}.read', 'unfilled_scope'],
    ['another grant', from, 'other', one, undefined, 'unsupported_grant_type'],
    ['a wrong secret', from, cc, one, undefined, 'authentication_failed'],
    ['an unknown client', from, cc, String.raw`no\u001b[31m\u202e-one`, undefined, 'authentication_failed'],
    ['swapped', from, cc, undefined, undefined, 'authentication_failed'],
    ['swapped in the body', from, cc, undefined, undefined, 'authentication_failed'],
    ['a weak one swapped', from, cc, undefined, undefined, 'authentication_failed'],
    ['the secret twice', from, cc, undefined, undefined, 'authentication_failed'],
    ['the secret alone', from, cc, 'zQ3kVb...', undefined, 'authentication_failed'],
    ['an id alone', from, cc, 'partner-two', undefined, 'authentication_failed'],
    ['revoke', from, undefined, one, undefined, 'authentication_failed'],
    ['introspect', from, undefined, one, undefined, 'authentication_failed'],
    // A successful request is logged with its client, but without its address.
    ['good', undefined, cc, one, undefined, undefined],
  ] as const) {
    assert.deepEqual(said(name), expected, name);
  }
  assert.match(String(entryOf('swapped')['because']), /swapped/);
  for (const secret of [SECRET, WEAK]) assert.ok(!text.includes(secret), `the log holds ${secret}`);
});
