/** What the benches measure of servers: issuing, durable rotations and durable revocations. Callers share the machine. */
import { Client, tokensOf } from '../testing/client/client.ts';
import { runCallers, type Measured } from './callers.ts';
import { median, percentile, rounded } from '../testing/statistics.ts';

export const SCOPE = '/accounts.read';
export const ISSUE_CALLERS = 32;
export const WRITE_CALLERS = 64;
const SECONDS_MAX = 20;
/** Requests before the figures, so that they are of code that is warm. */
const WARM_UP = 1_000;

export interface Size {
  /** How many calls a run has. */
  readonly count: number;
  readonly runs: number;
}

/** Servers on one store; each call goes to the next of them. */
export type Clients = readonly Client[];

function clientFor(clients: Clients, at: number): Client {
  const client = clients[at % clients.length];
  if (client === undefined) throw new Error('there is no server to ask');
  return client;
}

export async function measureIssuing(clients: Clients, { count, runs }: Size): Promise<object> {
  const issue = async (at: number): Promise<void> => void (await issueOne(clientFor(clients, at)));
  await runCallers(issue, { callers: ISSUE_CALLERS, count: WARM_UP, secondsMax: SECONDS_MAX });
  return await figuresOf(runs, () => runCallers(issue, { callers: ISSUE_CALLERS, count, secondsMax: SECONDS_MAX }));
}

export async function measureWriting(
  clients: Clients,
  { count, runs }: Size,
): Promise<{ readonly rotated: object; readonly revoked: object }> {
  const bounds = { callers: WRITE_CALLERS, count, secondsMax: SECONDS_MAX };
  await runCallers(async (at) => void (await issueOne(clientFor(clients, at))), { ...bounds, count: WARM_UP });
  const rotated = await figuresOf(runs, async () => {
    const refreshTokens = await issueMany(clients, count);
    return await runCallers(async (at) => {
      const answer = await clientFor(clients, at).refresh(refreshTokens[at] ?? '');
      if (tokensOf(answer) === undefined) throw new Error(`refreshing was answered with ${answer?.status}`);
    }, bounds);
  });
  const revoked = await figuresOf(runs, async () => {
    const refreshTokens = await issueMany(clients, count);
    return await runCallers(async (at) => {
      const answer = await clientFor(clients, at).revoke(refreshTokens[at] ?? '');
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
async function issueMany(clients: Clients, count: number): Promise<readonly string[]> {
  const refreshTokens: string[] = [];
  const issue = async (at: number): Promise<void> => void refreshTokens.push(await issueOne(clientFor(clients, at)));
  await runCallers(issue, { callers: WRITE_CALLERS, count, secondsMax: 10 * SECONDS_MAX });
  return refreshTokens;
}

/** Medians over the runs. */
async function figuresOf(runs: number, run: () => Promise<Measured>): Promise<object> {
  const measured: Measured[] = [];
  for (let at = 0; at < runs; at++) measured.push(await run());
  return {
    perSecond: Math.round(median(measured.map((each) => each.count / each.seconds))),
    p50Ms: rounded(median(measured.map(({ latenciesMs }) => percentile(latenciesMs, 50)))),
    p99Ms: rounded(median(measured.map(({ latenciesMs }) => percentile(latenciesMs, 99)))),
  };
}
