/** One grant that several callers use at once, and the history of all that they asked and were answered. */
import { isInvalidGrant, tokensOf, type Answer, type Client } from '../../testing/client/client.ts';
import { findViolation, type Call, type Operation, type Rules } from './linearizability.ts';

/** How a request of a family ended, for whoever made it. */
export type Ended =
  | { readonly ended: 'tokens'; readonly accessToken: string; readonly refreshToken: string }
  | { readonly ended: 'refused' | 'acknowledged' | 'active' | 'inactive' | 'unknown' };

/** An answer that no client can do anything with: neither good, nor a refusal, nor one to ask again after. */
export class WrongAnswer extends Error {
  override readonly name = 'WrongAnswer';
}

export class Family {
  /** The newest of each generation that arrived. */
  readonly refreshTokens: string[];
  accessToken: string;
  readonly #operations: Operation[] = [];

  constructor(accessToken: string, refreshToken: string) {
    this.accessToken = accessToken;
    this.refreshTokens = [refreshToken];
  }

  get newest(): string {
    return this.refreshTokens.at(-1) ?? '';
  }

  get predecessor(): string {
    return this.refreshTokens.at(-2) ?? this.newest;
  }

  /** Asks once. An access token that comes is the one that `introspect` asks about from then on. */
  async refresh(client: Client, presented: string): Promise<Ended> {
    const invokedAt = performance.now();
    const answer = await client.refresh(presented);
    const tokens = tokensOf(answer);
    if (tokens !== undefined) {
      this.#keep(invokedAt, { asked: 'refresh', presented, answered: 'tokens', refreshToken: tokens.refreshToken });
      if (!this.refreshTokens.includes(tokens.refreshToken)) this.refreshTokens.push(tokens.refreshToken);
      this.accessToken = tokens.accessToken;
      return { ended: 'tokens', ...tokens };
    }
    const ended = isInvalidGrant(answer) ? 'refused' : unknown(answer, 'a refresh');
    this.#keep(invokedAt, { asked: 'refresh', presented, answered: ended });
    return { ended };
  }

  /** Ends the family by its newest refresh token, or another one of it. */
  async revoke(client: Client, token = this.newest): Promise<Ended> {
    const invokedAt = performance.now();
    const answer = await client.revoke(token);
    const ended = answer?.status === 200 ? 'acknowledged' : unknown(answer, 'a revocation');
    this.#keep(invokedAt, { asked: 'revoke', answered: ended });
    return { ended };
  }

  /** Asks about the newest access token. No answer says nothing, and is not kept. */
  async introspect(client: Client): Promise<Ended> {
    const invokedAt = performance.now();
    const active = await client.isActive(this.accessToken);
    if (active === undefined) return { ended: 'unknown' };
    const answered = active ? 'active' : 'inactive';
    this.#keep(invokedAt, { asked: 'introspect', answered });
    return { ended: answered };
  }

  /** Why what was answered cannot be, by the rules of contract §3; undefined when it can. */
  findViolation(rules?: Rules): string | undefined {
    return findViolation({ firstRefreshToken: this.refreshTokens[0] ?? '', operations: this.#operations }, rules);
  }

  #keep(invokedAt: number, call: Call): void {
    this.#operations.push({ call, invokedAt, answeredAt: performance.now() });
  }
}

/** No answer and a 503 may be followed by the same request (README, the retry contract); nothing else may. */
function unknown(answer: Answer | undefined, asked: string): 'unknown' {
  if (answer === undefined || answer.status === 503) return 'unknown';
  throw new WrongAnswer(`${asked} was answered with ${answer.status}`);
}
