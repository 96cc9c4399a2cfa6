/**
 * A record, outside the server, of everything that it has acknowledged with a complete response. After a restart, `judge`
 * checks that all of it still holds.
 */
import type { Client } from '../../testing/client/client.ts';
import { isInvalidGrant, tokensOf } from '../../testing/client/client.ts';

/** One grant, as its client sees it. */
export interface Session {
  /** Every refresh token received, by generation. */
  readonly refreshTokens: string[];
  /** Every access token received, the newest last. */
  readonly accessTokens: string[];
  /** Access tokens whose revocation was acknowledged. */
  readonly revokedAccessTokens: Set<string>;
  /** The request that got no response. Its effect is unknown until it is repeated. */
  unanswered: { readonly asked: 'refresh' | 'revoke'; readonly token: string } | undefined;
  /** Whether its end was acknowledged, by a revocation or by the refusal of a retired token. */
  ended: boolean;
}

/** Something acknowledged that no longer holds. */
export interface Loss {
  readonly lost: 'revocation' | 'rotation' | 'session';
  readonly because: string;
}

/** Everything that was acknowledged so far. */
export class Acknowledgements {
  /** The sessions of the latest round; `earlier` has those before it. */
  latest: Session[] = [];
  readonly earlier: Session[] = [];
  revocations = 0;
  rotations = 0;
  issued = 0;

  begin(accessToken: string, refreshToken: string): Session {
    const session: Session = {
      refreshTokens: [refreshToken],
      accessTokens: [accessToken],
      revokedAccessTokens: new Set(),
      unanswered: undefined,
      ended: false,
    };
    this.issued += 1;
    this.latest.push(session);
    return session;
  }

  rotated(session: Session, accessToken: string, refreshToken: string): void {
    this.rotations += 1;
    session.accessTokens.push(accessToken);
    session.refreshTokens.push(refreshToken);
  }

  revokedAccess(session: Session, accessToken: string): void {
    this.revocations += 1;
    session.revokedAccessTokens.add(accessToken);
  }

  ended(session: Session): void {
    this.revocations += 1;
    session.ended = true;
  }

  endRound(): void {
    this.earlier.push(...this.latest);
    this.latest = [];
  }
}

/** Returns what no longer holds of these sessions. Records what its own requests change. */
export async function judge(
  client: Client,
  log: Acknowledgements,
  { sessions, callers }: { readonly sessions: readonly Session[]; readonly callers: number },
): Promise<readonly Loss[]> {
  const losses: Loss[] = [];
  const left = [...sessions];
  const work = async (): Promise<void> => {
    for (let session = left.pop(); session !== undefined; session = left.pop()) {
      losses.push(...(await judgeSession(client, log, session)));
    }
  };
  await Promise.all(Array.from({ length: callers }, work));
  return losses;
}

async function judgeSession(client: Client, log: Acknowledgements, session: Session): Promise<readonly Loss[]> {
  const losses = await judgeRevokedAccess(client, session);
  if (session.ended) return [...losses, ...(await judgeEnded(client, session))];
  if (session.unanswered?.asked === 'revoke') return [...losses, ...(await repeatRevocation(client, log, session))];
  return [...losses, ...(await judgeLiving(client, log, session))];
}

async function judgeRevokedAccess(client: Client, { revokedAccessTokens }: Session): Promise<readonly Loss[]> {
  const answers = await Promise.all([...revokedAccessTokens].map((token) => client.isActive(token)));
  return answers.flatMap((active) => (active === false ? [] : [revocationLost(`an access token: active=${active}`)]));
}

async function judgeEnded(client: Client, session: Session): Promise<readonly Loss[]> {
  const newest = session.refreshTokens.at(-1) ?? '';
  const answer = await client.refresh(newest);
  if (!isInvalidGrant(answer)) return [revocationLost(`a grant: its refresh was answered with ${answer?.status}`)];
  const active = await client.isActive(session.accessTokens.at(-1) ?? '');
  return active === false ? [] : [revocationLost(`a grant: its access token has active=${active}`)];
}

/** A revocation without a response is repeated, as documented, and then it must hold. */
async function repeatRevocation(client: Client, log: Acknowledgements, session: Session): Promise<readonly Loss[]> {
  const { token = '' } = session.unanswered ?? {};
  session.unanswered = undefined;
  const answer = await client.revoke(token);
  if (answer?.status !== 200) return [{ lost: 'session', because: `a repeated revocation got ${answer?.status}` }];
  if (session.accessTokens.includes(token)) {
    log.revokedAccess(session, token);
    return await judgeRevokedAccess(client, session);
  }
  log.ended(session);
  return await judgeEnded(client, session);
}

/**
 * A living session continues with the newest token received. If a refresh got no response, this repeats it: it either rotates
 * now or, if the lost rotation was committed, returns its token. Either way, asking once more returns the same refresh token,
 * byte for byte.
 */
async function judgeLiving(client: Client, log: Acknowledgements, session: Session): Promise<readonly Loss[]> {
  const generation = session.refreshTokens.length - 1;
  const newest = session.refreshTokens[generation] ?? '';
  const lost = generation > 0 ? 'rotation' : 'session';
  const alive = session.accessTokens.findLast((token) => !session.revokedAccessTokens.has(token));
  if (alive !== undefined && (await client.isActive(alive)) !== true) {
    return [{ lost: 'session', because: 'an access token that nobody revoked is not active' }];
  }
  const first = await client.refresh(newest);
  const next = tokensOf(first);
  if (next === undefined) return [{ lost, because: `generation ${generation} got ${first?.status}` }];
  session.unanswered = undefined;
  log.rotated(session, next.accessToken, next.refreshToken);

  const again = tokensOf(await client.refresh(newest));
  if (again?.refreshToken !== next.refreshToken) return [{ lost, because: 'its successor came out different' }];
  if ((await client.isActive(again.accessToken)) !== true) {
    return [{ lost: 'session', because: 'a fresh access token is not active' }];
  }
  return generation === 0 ? [] : await judgeRetired(client, log, session, generation);
}

/** A token older than the predecessor is refused. A still older one ends the family, and that must hold too. */
async function judgeRetired(
  client: Client,
  log: Acknowledgements,
  session: Session,
  generation: number,
): Promise<readonly Loss[]> {
  const retired = await client.refresh(session.refreshTokens[generation - 1] ?? '');
  if (!isInvalidGrant(retired)) {
    return [{ lost: 'rotation', because: `retired generation ${generation - 1} got ${retired?.status}` }];
  }
  if (generation === 1) {
    // Past ten seconds the token before the predecessor ends its family (contract §3): which it did, the newest tells.
    session.ended = (await client.isActive(session.refreshTokens.at(-1) ?? '')) === false;
    return [];
  }
  const reused = await client.refresh(session.refreshTokens[generation - 2] ?? '');
  if (!isInvalidGrant(reused)) {
    return [{ lost: 'rotation', because: `retired generation ${generation - 2} got ${reused?.status}` }];
  }
  log.ended(session);
  return await judgeEnded(client, session);
}

function revocationLost(because: string): Loss {
  return { lost: 'revocation', because };
}
