/** The security events that misused refresh tokens leave for an operator, and the bound on them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SECURITY_EVENTS_PER_CLIENT_HOUR_MAX } from '../../src/oauth/limits/security_event_limit.ts';
import type { StoreEvent } from '../../src/store/store.ts';
import { claimOf, startHallpass, tokensOf, type Hallpass, type Key } from '../../../../testing/server/server.ts';

async function eventsOf({ instance }: Hallpass, kind: string): Promise<readonly StoreEvent[]> {
  const events = await instance.store.listEvents({ limit: 10_000 });
  return events.filter((event) => event.kind === kind);
}

async function bounds({ operatorUrl }: Hallpass, bound: string): Promise<number> {
  const text = await (await fetch(`${operatorUrl}/metrics`)).text();
  return Number(new RegExp(`hallpass_bounds_reached_total\\{bound="${bound}"\\} (\\d+)`).exec(text)?.[1]);
}

const ANOTHER = 'refresh_token_of_another_client';

for (const [endpoint, show] of [
  ['the token endpoint', (hallpass: Hallpass, by: Key, token: string) => hallpass.refresh(by, token)],
  ['the revocation endpoint', (hallpass: Hallpass, by: Key, token: string) => hallpass.revoke(by, token)],
] as const) {
  test(`another client's refresh token at ${endpoint} is logged as an event, and its owner's family survives (contract §3)`, async () => {
    const hallpass = await startHallpass();
    const [owner, thief] = [await hallpass.makeKey(), await hallpass.makeKey()];
    const { accessToken, refreshToken } = await hallpass.issue(owner);
    assert.equal((await show(hallpass, thief, refreshToken)).status, 400);
    assert.deepEqual(await eventsOf(hallpass, ANOTHER), [
      {
        at: hallpass.clock.now(),
        kind: ANOTHER,
        clientId: thief.clientId,
        grantId: claimOf(accessToken, 'grant_id'),
        detail: `generation 0, issued to ${owner.clientId}`,
      },
    ]);
    assert.equal(await hallpass.isActive(owner, accessToken), true);
    assert.equal((await hallpass.refresh(owner, refreshToken)).status, 200);
    // The nearest ones that are none: a token that nobody sealed, and one that has expired.
    assert.ok((await show(hallpass, thief, `${refreshToken.slice(0, -1)}_`)).status < 500);
    hallpass.clock.advance(31 * 86_400);
    await show(hallpass, thief, refreshToken);
    assert.equal((await eventsOf(hallpass, ANOTHER)).length, 1);
  });
}

test('a key that presents them in a loop cannot fill a table: events per hour are bounded, the rest is counted', async () => {
  const hallpass = await startHallpass();
  const [owner, thief, other] = [await hallpass.makeKey(), await hallpass.makeKey(), await hallpass.makeKey()];
  const { refreshToken } = await hallpass.issue(owner);
  const max = SECURITY_EVENTS_PER_CLIENT_HOUR_MAX;
  for (let at = 0; at < max + 5; at++) {
    const answer = at % 2 === 0 ? hallpass.refresh(thief, refreshToken) : hallpass.revoke(thief, refreshToken);
    assert.equal((await answer).status, 400);
  }
  assert.equal((await eventsOf(hallpass, ANOTHER)).length, max);
  assert.equal(await bounds(hallpass, 'SECURITY_EVENTS_PER_CLIENT_HOUR_MAX'), 5);
  await hallpass.refresh(other, refreshToken);
  assert.equal((await eventsOf(hallpass, ANOTHER)).length, max + 1, 'another key has an allowance of its own');
  hallpass.clock.advance(3_600);
  await hallpass.refresh(thief, refreshToken);
  assert.equal((await eventsOf(hallpass, ANOTHER)).length, max + 2, 'and the next hour has too');
});

test('reuse beyond the bound on its events still ends each family, durably, before the answer (RFC 9700 §4.14.2)', async () => {
  const hallpass = await startHallpass();
  const key = await hallpass.makeKey();
  const max = SECURITY_EVENTS_PER_CLIENT_HOUR_MAX;
  const families = [];
  for (let at = 0; at < max + 2; at++) {
    const first = await hallpass.issue(key);
    const second = tokensOf(await hallpass.refresh(key, first.refreshToken));
    const third = tokensOf(await hallpass.refresh(key, second.refreshToken));
    families.push({ stolen: first.refreshToken, newest: third });
  }
  hallpass.clock.advance(60);
  for (const { stolen } of families) assert.equal((await hallpass.refresh(key, stolen)).outcome, '400 invalid_grant');
  for (const { newest } of families.slice(-3)) {
    assert.equal(await hallpass.isActive(key, newest.accessToken), false);
    assert.equal((await hallpass.refresh(key, newest.refreshToken)).outcome, '400 invalid_grant');
  }
  assert.equal((await eventsOf(hallpass, 'refresh_token_reused')).length, max);
});
