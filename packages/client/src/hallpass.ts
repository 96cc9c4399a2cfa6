/** The entry point of the SDK. */
import { PATHS } from '@hallpass/protocol';
import { AccessTokenOperations } from './access_token.ts';
import { errorOf, printResponse, isEmptyOrJson, type HTTPResponse } from './answer.ts';
import { exchange, makeConnection, type Connection, type RetryOptions } from './exchange.ts';
import { badArgument } from './hallpass_error.ts';
import { REAL_RUNTIME, type Runtime } from './runtime.ts';

/** The credentials of `ping` (seed). */
export interface Security {
  /** An access token from `accessToken.create`. An empty string counts as absent. */
  readonly accessToken?: string | undefined;
}

/** The options of `new Hallpass`. */
export interface HallpassOptions {
  /** The issuer's URL, such as `https://auth.example.com`, perhaps with a path. Plain http is accepted only on this machine. */
  readonly serverURL: string;
  /**
   * Where requests are sent, if not to `serverURL`: `http://hallpass:8080` between containers, for example. Plain http to
   * another machine needs `serverPlaintext`.
   */
  readonly serverAddress?: string | undefined;
  /**
   * Whether `serverAddress` may be plain http to another machine. Anyone on the network in between can then read every
   * secret and token, so use `allow` only if that network is yours alone. Default: `refuse`.
   */
  readonly serverPlaintext?: 'refuse' | 'allow' | undefined;
  /** Credentials for `ping`. */
  readonly security?: Security | undefined;
  /** Used instead of the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** How long one attempt may take, body included. Default: 10. At most 600. */
  readonly timeoutSeconds?: number | undefined;
  /** How often to try. */
  readonly retry?: RetryOptions | undefined;
}

/** The result of `ping`. */
export type PingResponse = HTTPResponse;

// RFC 6750 §2.1. Checked here because the error of `fetch` quotes a header that it cannot send, token included.
const BEARER_TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/**
 * One Hallpass server.
 *
 *   const hallpass = new Hallpass({ serverURL: 'https://auth.example.com' });
 *   const { accessTokenResponse } = await hallpass.accessToken.create({ ... });
 *
 * Throws a `HallpassError` with the code `bad_argument` if an option is not usable. It stores nothing outside memory, and
 * printing it shows no secret.
 */
export class Hallpass {
  /** Create and revoke access tokens (seed; RFC 6749, RFC 7009). */
  readonly accessToken: AccessTokenOperations;
  readonly #connection: Connection;
  readonly #accessToken: string;

  /** @param runtime The clock, timers and random source; for tests. */
  constructor(options: HallpassOptions, runtime: Runtime = REAL_RUNTIME) {
    if (typeof options !== 'object' || options === null) {
      throw badArgument('Pass new Hallpass an object with at least a serverURL.');
    }
    this.#connection = makeConnection(options, runtime);
    this.#accessToken = options.security?.accessToken ?? '';
    this.accessToken = new AccessTokenOperations(this.#connection);
  }

  /**
   * Asks the server whether the access token in `security` is valid and has the scope `/ping.read` (contract §2). Rejects
   * with a `HallpassError`: `bad_argument` without a token, `invalid_token` or `insufficient_scope` if the server refuses it.
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
        'security.accessToken is not an access token. Pass the accessToken that create returned, unchanged.',
      );
    }
    const headers = { authorization: `Bearer ${token}` };
    const answer = await exchange(this.#connection, { method: 'GET', path: PATHS.ping, headers });
    if (answer.statusCode !== 200 || !isEmptyOrJson(answer)) throw errorOf(answer, [token]);
    return printResponse(answer);
  }
}
