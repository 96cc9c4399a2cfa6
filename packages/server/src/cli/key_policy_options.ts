/** The options by which a key's policy is said on the command line, the same where one is made and where it is changed. */
import { Option, type Command } from 'commander';
import { AUTHENTICATIONS, type NewApiKey } from '../operator/key_policy.ts';
import type { Client } from '../store/store.ts';
import { collect, given, parseSeconds } from './command_values.ts';

/** What commander makes of them. */
export interface PolicyOptions {
  readonly scope?: readonly string[];
  readonly defaultScope?: readonly string[];
  readonly origin?: readonly string[];
  readonly requireOrigin?: boolean;
  readonly audience?: readonly string[];
  readonly resourceServer?: readonly string[];
  readonly refresh?: boolean;
  readonly mode?: Client['mode'];
  readonly authentication?: Client['authentication'];
  readonly requireDpop?: boolean;
  readonly opaque?: boolean;
  readonly accessTtl?: number | typeof AS_SERVER;
  readonly refreshTtl?: number | typeof AS_SERVER;
  readonly refreshMaxTtl?: number | typeof AS_SERVER;
  readonly refreshGrace?: number | typeof AS_SERVER;
  readonly requestsPerSecond?: number | typeof AS_SERVER;
}

type NumberName =
  | 'accessTtlSeconds'
  | 'refreshTtlSeconds'
  | 'refreshMaxTtlSeconds'
  | 'refreshGraceSeconds'
  | 'requestsPerSecond';

/** The word for a number that a key does not have of its own. */
const AS_SERVER = 'server';

/** Adds the options of a key's policy to a command. */
export function withPolicy(command: Command): Command {
  return command
    .option(
      '--scope <scope>',
      'a scope that the key may have, such as /accounts/{accountID}/transfers.read; may repeat',
      collect,
    )
    .option('--default-scope <scope>', 'a scope that a request without `scope` gets; may repeat', collect)
    .option(
      '--origin <origin>',
      'a web page origin that may use the key, such as https://app.example.com; may repeat',
      collect,
    )
    .option('--require-origin', 'refuse requests that come from no web page')
    .option('--no-require-origin', 'take them (the default)')
    .option('--audience <uri>', 'an API that tokens may be for; may repeat, the first is the default', collect)
    .option(
      '--resource-server <audience>',
      "an API's own key: may introspect tokens for this audience and follow the revocation feed; may repeat",
      collect,
    )
    .option('--refresh', 'give refresh tokens (the default)')
    .option(
      '--no-refresh',
      'give no refresh tokens; advised for a server that holds its secret and can ask for a token at any time',
    )
    .addOption(new Option('--mode <mode>', 'a label: what the key is for (default: live)').choices(['live', 'test']))
    .addOption(
      new Option(
        '--authentication <method>',
        'the one way in which the key authenticates; client_secret: by Basic or in the body (default, unless it has public keys)',
      ).choices(AUTHENTICATIONS),
    )
    .option('--require-dpop', 'give only tokens that are bound to a key of the caller (RFC 9449)')
    .option('--no-require-dpop', 'give others too (the default)')
    .option('--opaque', 'give access tokens that only introspection can read')
    .option('--no-opaque', 'give signed ones (the default)')
    .option(
      '--access-ttl <duration>',
      'how long an access token lives, such as 5m; no longer than the server allows; `server`: as the server says',
      orAsServer(parseSeconds),
    )
    .option(
      '--refresh-ttl <duration>',
      'how long a grant lives after its last refresh, such as 12h; or `server`',
      orAsServer(parseSeconds),
    )
    .option(
      '--refresh-max-ttl <duration>',
      'how long a grant lives at most, however often it is refreshed, such as 90d; or `server`',
      orAsServer(parseSeconds),
    )
    .option(
      '--refresh-grace <duration>',
      'how long after a rotation the refresh token before the newest still gets the newest; or `server`',
      orAsServer(parseSeconds),
    )
    .option(
      '--requests-per-second <count>',
      'how many requests a second the key may make; or `server`',
      orAsServer(Number),
    );
}

/** The policy that was said on the command line, and no more. */
export function policyOf(options: PolicyOptions): Omit<Partial<NewApiKey>, 'name' | 'imported' | 'publicKeys'> {
  return {
    ...given({
      scopes: options.scope,
      defaultScopes: options.defaultScope,
      origins: options.origin,
      requireOrigin: options.requireOrigin,
      audiences: options.audience,
      resourceServerFor: options.resourceServer,
      refresh: options.refresh,
      mode: options.mode,
      authentication: options.authentication,
      requireDpop: options.requireDpop,
      accessTokenFormat: options.opaque === undefined ? undefined : options.opaque ? 'opaque' : 'jwt',
    }),
    ...numberOf('accessTtlSeconds', options.accessTtl),
    ...numberOf('refreshTtlSeconds', options.refreshTtl),
    ...numberOf('refreshMaxTtlSeconds', options.refreshMaxTtl),
    ...numberOf('refreshGraceSeconds', options.refreshGrace),
    ...numberOf('requestsPerSecond', options.requestsPerSecond),
  };
}

/** A number of a key's own; with `server` none, also where it had one. */
function numberOf(name: NumberName, value: number | typeof AS_SERVER | undefined): Partial<NewApiKey> {
  return value === undefined ? {} : { [name]: value === AS_SERVER ? undefined : value };
}

function orAsServer(parse: (text: string) => number): (text: string) => number | typeof AS_SERVER {
  return (text) => (text === AS_SERVER ? AS_SERVER : parse(text));
}
