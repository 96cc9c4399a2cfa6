/** The load of the rigs that kill: callers that issue, refresh and revoke until the server dies. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Acknowledgements, Session } from './acknowledgements.ts';
import type { Chance } from '../../testing/chance.ts';
import { tokensOf, type Answer, type Client } from '../../testing/client/client.ts';

/** The scope of every token in the rigs. */
export const SCOPE = '/accounts.read';

/** How often a caller does which, as shares of 1. The rest refreshes. */
const SHARE_NEW = 0.04;
const SHARE_REVOKE_ACCESS = 0.15;
const SHARE_END = 0.08;

/** Runs callers until a request gets no answer. Resolves with the wrong answers, one sentence each. */
export async function runLoad(
  client: Client,
  log: Acknowledgements,
  { callers, chance }: { readonly callers: number; readonly chance: Chance },
): Promise<readonly string[]> {
  const faults: string[] = [];
  const call = async (): Promise<void> => {
    let session: Session | undefined;
    for (;;) {
      const choice = chance.next();
      if (session === undefined || session.ended || choice < SHARE_NEW) {
        session = await begin(client, log, faults);
        if (session === undefined) return;
        continue;
      }
      if (!(await step(client, log, { session, choice: choice - SHARE_NEW, faults }))) return;
    }
  };
  await Promise.all(Array.from({ length: callers }, call));
  return faults;
}

/** How long a round waits for enough acknowledgements, in milliseconds. */
const BUSY_MS_MAX = 20_000;
const POLL_MS = 5;

/**
 * Resolves once this round has something to lose: a grant whose end was acknowledged, and a grant that was rotated twice.
 * So every round proves something, however slow the machine is, and a planted defect always has something to take away.
 */
export async function untilWorthLosing({ latest }: Acknowledgements): Promise<void> {
  const end = performance.now() + BUSY_MS_MAX;
  while (performance.now() < end) {
    const isEnded = latest.some(({ ended }) => ended);
    const isRotated = latest.some(({ ended, refreshTokens }) => !ended && refreshTokens.length > 2);
    if (isEnded && isRotated) return;
    await delay(POLL_MS);
  }
}

/** Kills the server `afterMs` milliseconds after it has something to lose, and waits until every caller has noticed. */
export async function killUnderLoad(
  server: { readonly kill: () => Promise<void> },
  load: Promise<readonly string[]>,
  { log, afterMs }: { readonly log: Acknowledgements; readonly afterMs: number },
): Promise<readonly string[]> {
  await untilWorthLosing(log);
  await delay(afterMs);
  await server.kill();
  return await load;
}

async function begin(client: Client, log: Acknowledgements, faults: string[]): Promise<Session | undefined> {
  const answer = await client.issue(SCOPE);
  if (hasUnknownEffect(answer)) return undefined;
  const tokens = tokensOf(answer);
  if (tokens !== undefined) return log.begin(tokens.accessToken, tokens.refreshToken);
  faults.push(`issuing was answered with ${answer.status}`);
  return undefined;
}

/** No answer, or a 503: the client may send the same request again (README, the retry contract). */
function hasUnknownEffect(answer: Answer | undefined): answer is undefined {
  return answer === undefined || answer.status === 503;
}

/** One request of a session. False if it got no answer, or one that no client can continue from. */
async function step(
  client: Client,
  log: Acknowledgements,
  { session, choice, faults }: { readonly session: Session; readonly choice: number; readonly faults: string[] },
): Promise<boolean> {
  const accessToken = session.accessTokens.at(-1) ?? '';
  const refreshToken = session.refreshTokens.at(-1) ?? '';
  if (choice < SHARE_REVOKE_ACCESS + SHARE_END) {
    const token = choice < SHARE_REVOKE_ACCESS ? accessToken : refreshToken;
    session.unanswered = { asked: 'revoke', token };
    const answer = await client.revoke(token);
    if (hasUnknownEffect(answer)) return false;
    session.unanswered = undefined;
    if (answer.status !== 200) faults.push(`revoking was answered with ${answer.status}`);
    else if (token === accessToken) log.revokedAccess(session, token);
    else log.ended(session);
    return answer.status === 200;
  }
  session.unanswered = { asked: 'refresh', token: refreshToken };
  const answer = await client.refresh(refreshToken);
  if (hasUnknownEffect(answer)) return false;
  session.unanswered = undefined;
  const tokens = tokensOf(answer);
  if (tokens === undefined) faults.push(`refreshing was answered with ${answer.status}`);
  else log.rotated(session, tokens.accessToken, tokens.refreshToken);
  return tokens !== undefined;
}
