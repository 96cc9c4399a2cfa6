/** The metrics of the work: tokens, refusals, revocations, the build, the age of the signing key. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GRANT_TYPES, listRefusals } from '@hallpass/protocol';
import { readVersion } from '../../src/serving/version.ts';
import { startHallpass, tokensOf, type Hallpass } from '../../../../testing/server/server.ts';

/** The samples of a metric, by their labels as they are printed. */
async function samplesOf({ operatorUrl }: Hallpass, name: string): Promise<Readonly<Record<string, number>>> {
  const text = await (await fetch(`${operatorUrl}/metrics`)).text();
  const lines = [...text.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm'))];
  return Object.fromEntries(lines.map(([, labels = '', value]) => [labels, Number(value)]));
}

const others = (samples: Readonly<Record<string, number>>): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(samples).filter(([, value]) => value !== 0));

test('tokens are counted by grant, refusals by reason, revocations by kind; every series starts at zero', async () => {
  const hallpass = await startHallpass();
  assert.deepEqual(others(await samplesOf(hallpass, 'hallpass_tokens_total')), {});
  assert.equal(Object.keys(await samplesOf(hallpass, 'hallpass_tokens_total')).length, GRANT_TYPES.length);
  assert.equal(Object.keys(await samplesOf(hallpass, 'hallpass_refusals_total')).length, listRefusals().length);

  const key = await hallpass.makeKey();
  const [first, second] = [await hallpass.issue(key), await hallpass.issue(key)];
  const rotated = tokensOf(await hallpass.refresh(key, first.refreshToken));
  await hallpass.form(
    '/oauth2/token',
    {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: second.accessToken,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    },
    { key },
  );
  const exchange = 'grant="urn:ietf:params:oauth:grant-type:token-exchange"';
  assert.deepEqual(await samplesOf(hallpass, 'hallpass_tokens_total'), {
    'grant="client_credentials"': 2,
    'grant="refresh_token"': 1,
    [exchange]: 1,
  });

  await hallpass.form('/oauth2/token', { grant_type: 'made-up' }, { key });
  await hallpass.form('/oauth2/token', { grant_type: 'client_credentials', scope: '/admin.write' }, { key });
  await hallpass.form('/oauth2/token', { grant_type: 'client_credentials' }, { key: { ...key, clientSecret: 'x' } });
  await hallpass.request('/nowhere');
  await hallpass.request('/ping');
  assert.deepEqual(others(await samplesOf(hallpass, 'hallpass_refusals_total')), {
    'reason="unsupported_grant_type"': 1,
    'reason="scope_not_allowed"': 1,
    'reason="authentication_failed"': 1,
    'reason="not_found"': 1,
    'reason="missing_credentials"': 1,
  });

  await hallpass.revoke(key, rotated.accessToken);
  await hallpass.revoke(key, rotated.accessToken);
  await hallpass.revoke(key, second.refreshToken);
  const third = await hallpass.issue(key);
  const fourth = tokensOf(await hallpass.refresh(key, third.refreshToken));
  await hallpass.refresh(key, fourth.refreshToken);
  hallpass.clock.advance(60);
  await hallpass.refresh(key, third.refreshToken);
  assert.deepEqual(others(await samplesOf(hallpass, 'hallpass_revocations_total')), {
    'kind="token"': 1,
    'kind="grant"': 1,
    'kind="reused"': 1,
  });
});

test('no label contains anything that a caller sent', async () => {
  const hallpass = await startHallpass();
  const key = await hallpass.makeKey();
  const mark = 'markzq3';
  await hallpass.form('/oauth2/token', { grant_type: mark, scope: `/${mark}.read` }, { key });
  await hallpass.form('/oauth2/token', { grant_type: 'client_credentials', scope: `/${mark}.read` }, { key });
  await hallpass.form('/oauth2/token', {}, { key: { clientId: mark, clientSecret: mark } });
  const text = await (await fetch(`${hallpass.operatorUrl}/metrics`)).text();
  assert.doesNotMatch(text, new RegExp(`${mark}|${key.clientId}`));
});

test('the build and the age of the signing key are published', async () => {
  const hallpass = await startHallpass();
  const build = await samplesOf(hallpass, 'hallpass_build_info');
  assert.deepEqual(build, { [`version="${readVersion()}",node="${process.versions.node}"`]: 1 });
  const age = async (): Promise<number> => (await samplesOf(hallpass, 'hallpass_signing_key_age_seconds'))[''] ?? -1;
  const made = await age();
  hallpass.clock.advance(86_400);
  assert.equal(Math.round((await age()) - made), 86_400);
});
