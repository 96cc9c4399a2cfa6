/** What a guard is told once, checked once. */
import { SIGNING_ALGORITHMS, type Clock, type SigningAlgorithm } from '@hallpass/protocol';

export interface GuardOptions {
  /** The issuer, exactly as in `iss`: https, or http on this machine. Keys and revocations come from there, and from nowhere else. */
  readonly issuer: string;
  /** What this API is called in `aud`. */
  readonly audience: string;
  /** A resource server's key for this audience (`hallpass keys create NAME --resource-server AUDIENCE`). */
  readonly credentials: { readonly clientId: string; readonly clientSecret: string };
  /** How long the guard decides without having heard from the feed. Seconds; default 10. */
  readonly maxStalenessSeconds?: number;
  /** What it does after that: refuse with 503, or ask the server about each token. Default `refuse`. */
  readonly whenStale?: 'refuse' | 'introspect';
  /** How far clocks may differ. Seconds, at most 60; default 5. */
  readonly leewaySeconds?: number;
  /** Default: all that Hallpass signs with. */
  readonly algorithms?: readonly SigningAlgorithm[];
  /** The realm of challenges (RFC 9110 §11.5). Default: the audience. */
  readonly realm?: string;
  /** For diagnostics. Never given a token or a secret. */
  readonly onEvent?: (event: GuardEvent) => void;
  readonly clock?: Clock;
  readonly fetch?: typeof globalThis.fetch;
}

/** What happened between the guard and the server. */
export type GuardEvent =
  | { readonly event: 'feed_connected' }
  | { readonly event: 'feed_lost'; readonly because: string }
  | { readonly event: 'keys_fetched'; readonly count: number }
  | { readonly event: 'keys_not_fetched'; readonly because: string }
  | { readonly event: 'introspection_failed'; readonly because: string };

/** The options with nothing left open. */
export interface Settings extends Required<GuardOptions> {
  /** An endpoint of the issuer. */
  readonly at: (path: string) => string;
}

const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])$/;

/** Throws a `TypeError` that names the option. */
export function checkOptions(options: GuardOptions): Settings {
  const { issuer, audience, credentials, maxStalenessSeconds = 10, whenStale = 'refuse', leewaySeconds = 5 } = options;
  checkIssuer(issuer);
  if (audience === '')
    throw new TypeError(
      'audience is what this API is called in the aud of its tokens, such as https://api.example.com.',
    );
  if (credentials.clientId === '' || credentials.clientSecret === '') {
    throw new TypeError(
      "credentials are those of a resource server's key: hallpass keys create NAME --resource-server AUDIENCE.",
    );
  }
  if (!(maxStalenessSeconds >= 3 && maxStalenessSeconds <= 3600))
    throw new TypeError('maxStalenessSeconds must be from 3 to 3600.');
  if (!(leewaySeconds >= 0 && leewaySeconds <= 60)) throw new TypeError('leewaySeconds must be from 0 to 60.');
  return {
    issuer,
    audience,
    credentials,
    maxStalenessSeconds,
    whenStale,
    leewaySeconds,
    algorithms: options.algorithms ?? SIGNING_ALGORITHMS,
    realm: options.realm ?? audience,
    onEvent: options.onEvent ?? (() => undefined),
    clock: options.clock ?? { now: () => Date.now() },
    // Called as a function: a browser's fetch must not be called as a method of something else.
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    at: (path) => issuer + path,
  };
}

function checkIssuer(issuer: string): void {
  if (!URL.canParse(issuer) || /[?#\s]|\/$/.test(issuer)) {
    throw new TypeError(
      'issuer is the URL that stands in the iss of tokens, to the letter, such as https://auth.example.com.',
    );
  }
  const { protocol, hostname } = new URL(issuer);
  if (protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname))) return;
  throw new TypeError(
    `issuer must begin with https://: keys that come over plain http could be anyone's. (http is for localhost alone.)`,
  );
}
