/**
 * How fast a server issues tokens under each signing algorithm, and how fast it rotates and revokes durably.
 *
 *   node --conditions=hallpass-source bench/issue.ts [--count 6000] [--runs 3]
 *
 * Server and callers share the machine: the figures are what both get out of it together.
 */
import { join } from 'node:path';
import { Client, tokensOf } from '../faults/client.ts';
import { createKey, RIG, startHallpass, type Environment } from '../e2e/hallpass_process.ts';
import { numberOption, printFigures } from './bench.ts';
import { runCallers, type Measured } from './callers.ts';
import { median, percentile, rounded } from './statistics.ts';

const SCOPE = '/accounts.read';
const ISSUE_CALLERS = 32;
const WRITE_CALLERS = 64;
const SECONDS_MAX = 20;
/** Requests before the figures, so that they are of code that is warm. */
const WARM_UP = 1_000;
const count = numberOption('count', { otherwise: 6_000, min: 100, max: 1_000_000 });
const runs = numberOption('runs', { otherwise: 3, min: 1, max: 21 });

await printFigures('issue', async (folder) => {
  const issued: Record<string, unknown> = {};
  for (const algorithm of ['ES256', 'EdDSA', 'RS256']) {
    const settings: Environment = { HALLPASS_SIGNING_ALGORITHM: algorithm };
    issued[algorithm] = await withServer(join(folder, algorithm), { settings, callers: ISSUE_CALLERS }, measureIssuing);
  }
  const writes = await withServer(join(folder, 'writes'), { settings: {}, callers: WRITE_CALLERS }, measureWriting);
  return { count, runs, issueCallers: ISSUE_CALLERS, issued, writeCallers: WRITE_CALLERS, ...writes };
});

async function withServer<Figures>(
  dataDir: string,
  { settings, callers }: { readonly settings: Environment; readonly callers: number },
  measure: (client: Client) => Promise<Figures>,
): Promise<Figures> {
  const key = await createKey(dataDir, ['bench', '--scope', SCOPE]);
  const server = await startHallpass(dataDir, { ...RIG, ...settings });
  const client = new Client(server.url, key, { callers });
  try {
    return await measure(client);
  } finally {
    client.close();
    await server.kill();
  }
}

async function measureIssuing(client: Client): Promise<object> {
  const issue = async (): Promise<void> => void (await issueOne(client));
  await runCallers(issue, { callers: ISSUE_CALLERS, count: WARM_UP, secondsMax: SECONDS_MAX });
  return await figuresOf(() => runCallers(issue, { callers: ISSUE_CALLERS, count, secondsMax: SECONDS_MAX }));
}

async function measureWriting(client: Client): Promise<{ readonly rotated: object; readonly revoked: object }> {
  const bounds = { callers: WRITE_CALLERS, count, secondsMax: SECONDS_MAX };
  await runCallers(async () => void (await issueOne(client)), { ...bounds, count: WARM_UP });
  const rotated = await figuresOf(async () => {
    const refreshTokens = await issueMany(client);
    return await runCallers(async (at) => {
      const answer = await client.refresh(refreshTokens[at] ?? '');
      if (tokensOf(answer) === undefined) throw new Error(`refreshing was answered with ${answer?.status}`);
    }, bounds);
  });
  const revoked = await figuresOf(async () => {
    const refreshTokens = await issueMany(client);
    return await runCallers(async (at) => {
      const answer = await client.revoke(refreshTokens[at] ?? '');
      if (answer?.status !== 200) throw new Error(`revoking was answered with ${answer?.status}`);
    }, bounds);
  });
  return { rotated, revoked };
}

async function issueOne(client: Client): Promise<string> {
  const answer = await client.issue(SCOPE);
  const tokens = tokensOf(answer);
  if (tokens === undefined) throw new Error(`issuing was answered with ${answer?.status}`);
  return tokens.refreshToken;
}

/** One grant for each write, made beforehand: each then is the first rotation, or the end, of a grant of its own. */
async function issueMany(client: Client): Promise<readonly string[]> {
  const refreshTokens: string[] = [];
  const issue = async (): Promise<void> => void refreshTokens.push(await issueOne(client));
  await runCallers(issue, { callers: WRITE_CALLERS, count, secondsMax: 10 * SECONDS_MAX });
  return refreshTokens;
}

/** Medians over the runs. */
async function figuresOf(run: () => Promise<Measured>): Promise<object> {
  const measured: Measured[] = [];
  for (let at = 0; at < runs; at++) measured.push(await run());
  return {
    perSecond: Math.round(median(measured.map((each) => each.count / each.seconds))),
    p50Ms: rounded(median(measured.map(({ latenciesMs }) => percentile(latenciesMs, 50)))),
    p99Ms: rounded(median(measured.map(({ latenciesMs }) => percentile(latenciesMs, 99)))),
  };
}
