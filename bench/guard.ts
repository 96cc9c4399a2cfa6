/**
 * The cost of a check on one core: the first check of a token, next to the bare verification of its signature by the same
 * library, and the check of a token that the guard remembers.
 *
 *   npm run bench:guard [-- --checks 300000] [--runs 5] [--json]
 *
 * The library verifies in another thread. `taskset -c 1 npm run bench:guard` keeps both on one core (Linux), so that the
 * figures contain all the work of a check.
 */
import { compilePolicy, createGuard } from '@hallpass/guard';
import { createTestIssuer } from '@hallpass/guard/testing';
import { jwtVerify, importJWK } from 'jose';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { median, rounded } from '../testing/statistics.ts';

const { values: options } = parseArgs({
  options: {
    checks: { type: 'string', default: '300000' },
    runs: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
});
const checks = Number(options.checks);
const runs = Number(options.runs);

const audience = 'https://api.example.com';
const issuer = await createTestIssuer({ audience });
const guard = createGuard(issuer.options);
await guard.ready();
const policy = compilePolicy({
  'GET /accounts': '/accounts.read',
  'POST /accounts': '/accounts.write',
  'GET /accounts/{accountID}': '/accounts/{accountID}.read',
  'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read',
  'POST /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.write',
});
const scope = '/accounts.read /accounts/a1.read /accounts/a1/transfers.read';

/** What a partner's HTTP client sends along. */
const HEADERS = {
  host: 'api.example.com',
  connection: 'keep-alive',
  accept: 'application/json',
  'accept-language': '*',
  'user-agent': 'node',
  'accept-encoding': 'gzip, deflate',
};

/** Another text each time, as it comes from a socket: nothing about it is known to the engine. */
function fresh(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

function requestWith(token: string): Parameters<typeof guard.checkRoute>[1] {
  const headers = { ...HEADERS, authorization: fresh(`Bearer ${token}`) };
  return { method: 'GET', url: '/accounts/a1/transfers?limit=10', headers };
}

async function time<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  for (const item of items) await work(item);
  return (performance.now() - start) / 1000;
}

async function perSecond(count: number, work: (at: number) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  for (let at = 0; at < count; at++) await work(at);
  return (count / (performance.now() - start)) * 1000;
}

async function tokens(count: number): Promise<readonly string[]> {
  return await Promise.all(Array.from({ length: count }, () => issuer.token({ scope })));
}

/** A page of the issuer's own to go by: its key, as the guard gets it. */
async function fetchKey(): ReturnType<typeof importJWK> {
  const { fetch, issuer: base } = issuer.options;
  if (fetch === undefined) throw new Error('the test issuer is asked by its own fetch');
  const { keys }: { readonly keys: readonly Parameters<typeof importJWK>[0][] } = await (
    await fetch(`${base}/oauth2/jwks`)
  ).json();
  const [jwk] = keys;
  if (jwk === undefined) throw new Error('the test issuer has no key');
  return await importJWK(jwk, 'ES256');
}

const key = await fetchKey();

/** How many tokens are checked for the first time, and how many at a time. */
const FIRST = 4_000;
const TURN = 50;
const bare: number[] = [];
const first: number[] = [];
const remembered: number[] = [];
const byScope: number[] = [];
for (let run = 0; run <= runs; run++) {
  const [some, others] = [await tokens(FIRST), await tokens(FIRST)];
  // In turns, a few at a time, so that both have the same share of whatever else this machine does.
  const seconds = { bare: 0, first: 0 };
  for (let at = 0; at < FIRST; at += TURN) {
    const bareTurn = some.slice(at, at + TURN).map(fresh);
    const firstTurn = others.slice(at, at + TURN).map(requestWith);
    seconds.bare += await time(bareTurn, (token) => jwtVerify(token, key, { algorithms: ['ES256'] }));
    seconds.first += await time(firstTurn, async (request) => {
      const decision = await guard.checkRoute(policy, request);
      if (!decision.allowed) throw new Error(decision.because);
    });
  }
  const [bareRate, firstRate] = [FIRST / seconds.bare, FIRST / seconds.first];
  const few = others.slice(-100);
  const requests = Array.from({ length: 1_000 }, (_, at) => requestWith(few[at % few.length] ?? ''));
  const rememberedRate = await perSecond(checks, async (at) => {
    const request = requests[at % requests.length];
    const decision = request === undefined ? undefined : await guard.checkRoute(policy, request);
    if (decision?.allowed !== true) throw new Error(decision?.because);
  });
  const byScopeRate = await perSecond(checks, async (at) => {
    const request = requests[at % requests.length];
    const decision =
      request === undefined
        ? undefined
        : await guard.check(request, '/accounts/{accountID}/transfers.read', { accountID: 'a1' });
    if (decision?.allowed !== true) throw new Error(decision?.because);
  });
  // The first run warms the code up.
  if (run === 0) continue;
  bare.push(bareRate);
  first.push(firstRate);
  remembered.push(rememberedRate);
  byScope.push(byScopeRate);
}
guard.close();

const figures = {
  bareVerificationsPerSecond: Math.round(median(bare)),
  firstChecksPerSecond: Math.round(median(first)),
  firstToBare: rounded(median(first.map((rate, at) => rate / (bare[at] ?? rate)))),
  rememberedChecksPerSecond: Math.round(median(remembered)),
  rememberedChecksByScopePerSecond: Math.round(median(byScope)),
};
if (options.json) console.log(JSON.stringify(figures, undefined, 2));
else for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(34)} ${value}`);
