/** One grant that several callers use at once, with the history of their requests and answers. */
import { isInvalidGrant, tokensOf, type Answer, type Client } from '../../testing/client/client.ts';
import { findViolation, type Call, type Operation, type Rules } from './linearizability.ts';

/** How a request ended, as its caller saw it. */
export type Ended =
  | { readonly ended: 'tokens'; readonly accessToken: string; readonly refreshToken: string }
  | { readonly ended: 'refused' | 'acknowledged' | 'active' | 'inactive' | 'unknown' };

/** An answer that no client can use: neither a success, nor a refusal, nor a reason to retry. */
export class WrongAnswer extends Error {
  override readonly name = 'WrongAnswer';
}

/** The refresh tokens of one grant, and every request that was made with them. */
export class Family {
  /** One token for each generation that arrived, oldest first. */
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

  /** Sends one refresh request. `introspect` asks about the new access token from then on. Throws `WrongAnswer`. */
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

  /** Revokes the family with its newest refresh token, or with another of its tokens. Throws `WrongAnswer`. */
  async revoke(client: Client, token = this.newest): Promise<Ended> {
    const invokedAt = performance.now();
    const answer = await client.revoke(token);
    const ended = answer?.status === 200 ? 'acknowledged' : unknown(answer, 'a revocation');
    this.#keep(invokedAt, { asked: 'revoke', answered: ended });
    return { ended };
  }

  /** Asks whether the newest access token is active. A request without an answer tells nothing, and is not recorded. */
  async introspect(client: Client): Promise<Ended> {
    const invokedAt = performance.now();
    const active = await client.isActive(this.accessToken);
    if (active === undefined) return { ended: 'unknown' };
    const answered = active ? 'active' : 'inactive';
    this.#keep(invokedAt, { asked: 'introspect', answered });
    return { ended: answered };
  }

  /** Why the answers contradict the rules of contract §3, in a sentence. Undefined if they do not. */
  findViolation(rules?: Rules): string | undefined {
    return findViolation({ firstRefreshToken: this.refreshTokens[0] ?? '', operations: this.#operations }, rules);
  }

  #keep(invokedAt: number, call: Call): void {
    this.#operations.push({ call, invokedAt, answeredAt: performance.now() });
  }
}

/** A client may repeat its request after no answer or a 503 (README, the retry contract), and after nothing else. */
function unknown(answer: Answer | undefined, asked: string): 'unknown' {
  if (answer === undefined || answer.status === 503) return 'unknown';
  throw new WrongAnswer(`${asked} was answered with ${answer.status}`);
}
