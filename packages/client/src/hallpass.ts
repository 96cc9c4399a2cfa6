/** The object that a program holds: one Hallpass server, and what can be asked of it. */
import { PATHS } from '@hallpass/protocol';
import { AccessTokenOperations } from './access_token.ts';
import { errorOf, printResponse, saysNothingElse, type HTTPResponse } from './answer.ts';
import { exchange, makeConnection, type Connection, type RetryOptions } from './exchange.ts';
import { badArgument } from './hallpass_error.ts';
import { REAL_SURROUNDINGS, type Surroundings } from './surroundings.ts';

/** The token that `ping` shows (seed). */
export interface Security {
  /** An access token from `accessToken.create`. An empty one counts as none. */
  readonly accessToken?: string | undefined;
}

/** Where the server is and how to talk to it. */
export interface HallpassOptions {
  /** The issuer's URL, such as `https://auth.example.com`; a path prefix is kept. http only on this machine. */
  readonly serverURL: string;
  /**
   * Where the server is reached, if not under its public name: `http://hallpass:8080` between containers. https, or http on
   * this machine; anywhere else http needs `serverPlaintext`.
   */
  readonly serverAddress?: string | undefined;
  /**
   * Whether `serverAddress` may be plain http to another machine. Whoever is in between reads every secret and token then:
   * `allow` is for a network that is yours alone. Default `refuse`.
   */
  readonly serverPlaintext?: 'refuse' | 'allow' | undefined;
  readonly security?: Security | undefined;
  /** In place of the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** How long one attempt may take, its body included. Default 10, at most 600. */
  readonly timeoutSeconds?: number | undefined;
  readonly retry?: RetryOptions | undefined;
}

/** The answer of `ping`. */
export type PingResponse = HTTPResponse;

// RFC 6750 §2.1. Checked here, since `fetch` quotes a header that it cannot send, token and all, in its own error.
const BEARER_TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/**
 * One Hallpass server.
 *
 *   const hallpass = new Hallpass({ serverURL: 'https://auth.example.com' });
 *   const { accessTokenResponse } = await hallpass.accessToken.create({ ... });
 *
 * Throws a `HallpassError` with the code `bad_argument` when an option is not usable. It stores nothing anywhere, and
 * printing it shows no secret.
 */
export class Hallpass {
  /** Create and revoke access tokens (seed; RFC 6749, RFC 7009). */
  readonly accessToken: AccessTokenOperations;
  readonly #connection: Connection;
  readonly #accessToken: string;

  /** @param surroundings Time and chance; for tests. */
  constructor(options: HallpassOptions, surroundings: Surroundings = REAL_SURROUNDINGS) {
    if (typeof options !== 'object' || options === null) {
      throw badArgument('Give new Hallpass an object with at least a serverURL.');
    }
    this.#connection = makeConnection(options, surroundings);
    this.#accessToken = options.security?.accessToken ?? '';
    this.accessToken = new AccessTokenOperations(this.#connection);
  }

  /**
   * Asks the server whether the access token in `security` is good and holds `/ping.read` (contract §2). Rejects with a
   * `HallpassError`: `bad_argument` without a token, `invalid_token` or `insufficient_scope` with one that will not do.
   */
  async ping(): Promise<PingResponse> {
    const token = this.#accessToken;
    if (token === '') {
      throw badArgument(
        'ping needs an access token. Create one and pass it: new Hallpass({ security: { accessToken } }).',
      );
    }
    if (!BEARER_TOKEN.test(token)) {
      throw badArgument(
        'security.accessToken is not an access token. Pass the accessToken that create gave, unchanged.',
      );
    }
    const headers = { authorization: `Bearer ${token}` };
    const answer = await exchange(this.#connection, { method: 'GET', path: PATHS.ping, headers });
    if (answer.statusCode !== 200 || !saysNothingElse(answer)) throw errorOf(answer, [token]);
    return printResponse(answer);
  }
}
