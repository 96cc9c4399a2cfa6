import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forgetExpired } from '../../src/serving/forget_expired.ts';
import { claimOf, startHallpass } from '../../../../testing/server/server.ts';

test('a clock that is set forward by hours and back again revives no revoked token', async () => {
  const hallpass = await startHallpass();
  const { clock } = hallpass;
  const key = await hallpass.makeKey();
  const [revoked, ended] = [await hallpass.issue(key), await hallpass.issue(key)];
  await hallpass.revoke(key, revoked.accessToken);
  await hallpass.revoke(key, ended.refreshToken);
  const start = clock.now();
  const isDead = async (): Promise<boolean> => {
    const seen = await Promise.all([revoked, ended].map(({ accessToken }) => hallpass.isActive(key, accessToken)));
    return !seen.includes(true);
  };
  for (const hours of [2, -3, 100 * 24]) {
    clock.set(start + hours * 3_600_000);
    clock.advance(60);
    await forgetExpired(hallpass.instance);
    clock.set(start + clock.elapsed());
    assert.equal(await isDead(), true, `after ${hours} hours and back`);
  }
  // When the time has passed for everyone, and as long again as the clock was set back, it is forgotten.
  clock.advance(6 * 3600);
  await forgetExpired(hallpass.instance);
  const jti = claimOf(revoked.accessToken, 'jti');
  const of = { clientId: key.clientId, grantId: '', issuedAt: clock.seconds };
  assert.equal(await hallpass.instance.store.isRevoked({ ...of, jti }), false);
  const session = await hallpass.refresh(key, ended.refreshToken);
  assert.equal(session.outcome, '400 invalid_grant', 'the one whose sessions could still be shown stays');
});
