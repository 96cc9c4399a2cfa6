/**
 * From the response to a revocation to the guard's refusal: `npm run bench:revocation`. One server process and one guard, in
 * this process; access tokens and whole grants in turn.
 */
import assert from 'node:assert/strict';
import { Hallpass } from '@hallpass/client';
import { createGuard, type Guard } from '@hallpass/guard';
import { createKey, RIG, startHallpass } from '../testing/process/process.ts';
import { numberOption, printFigures } from './bench.ts';
import { median, percentile, rounded } from '../testing/statistics.ts';

const API = 'https://api.example.com';
const SCOPE = '/accounts.read';
const count = numberOption('revocations', { otherwise: 200, min: 1, max: 10_000 });

await printFigures('revocation_latency', async (dataDir) => {
  const partner = await createKey(dataDir, ['Partner', '--scope', SCOPE, '--audience', API]);
  const credentials = await createKey(dataDir, ['API', '--resource-server', API]);
  // The guard finds its server by the issuer, so that has to be where it listens.
  const server = await startHallpass(dataDir, { ...RIG, HALLPASS_ISSUER: '' });
  const guard = createGuard({ issuer: server.issuer, audience: API, credentials });
  try {
    await guard.ready();
    const { accessToken } = new Hallpass({ serverURL: server.url });
    const latencies: number[] = [];
    for (let round = 0; round < count; round++) {
      const wanted = { ...partner, grantType: 'client_credentials', scope: SCOPE } as const;
      const { accessTokenResponse: tokens } = await accessToken.create(wanted);
      assert.ok(tokens !== undefined);
      const request = { method: 'GET', url: '/accounts', headers: { authorization: `Bearer ${tokens.accessToken}` } };
      assert.ok((await guard.check(request, SCOPE)).allowed);
      await accessToken.revoke({
        ...partner,
        token: round % 2 === 0 ? tokens.accessToken : (tokens.refreshToken ?? ''),
      });
      latencies.push(await timeUntilRefused(guard, request));
    }
    const [medianMs, p99Ms, worstMs] = [median(latencies), percentile(latencies, 99), percentile(latencies, 100)];
    return { revocations: count, medianMs: rounded(medianMs), p99Ms: rounded(p99Ms), worstMs: rounded(worstMs) };
  } finally {
    guard.close();
    await server.stop();
  }
});

async function timeUntilRefused(guard: Guard, request: Parameters<Guard['check']>[0]): Promise<number> {
  const start = performance.now();
  for (;;) {
    const { allowed } = await guard.check(request, SCOPE);
    const elapsed = performance.now() - start;
    if (!allowed) return elapsed;
    assert.ok(elapsed < 5_000, 'a revoked token was still let in after 5 s');
    // The check is quick: without a breath between, this process would never get to read the feed.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
