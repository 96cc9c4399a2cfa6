/** Settings, one row each: from the environment, or from a JSON file under the same names in camel case. */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  canonicalIssuer,
  isLoopback,
  SIGNING_ALGORITHMS,
  type SigningAlgorithm,
} from '@hallpass/protocol';
import { LOG_LEVELS, type LogLevel } from '../../http/log.ts';
import { LOG_FORMATS, type LogFormat } from '../../http/log_destination.ts';
import { COPY_SECONDS_MAX } from '../../oauth/clients/client_copies.ts';
import { GRANT_SECONDS_MAX, REFRESH_TOKEN_SECONDS_MAX } from '../../oauth/tokens/revocations.ts';
import { hasPassword } from '../../store/postgres/address.ts';
import { BadSetting } from './bad_setting.ts';
import { FILE_VARIABLE, GUARD_NAMES, readOwnVariables, suggest, type Environment } from './names.ts';
import {
  DATABASE_URL_MUST,
  parseDatabaseUrl,
  parseHosts,
  parseIpAddress,
  parseMasterKeys,
  parsePort,
  parseProxies,
  wholeNumber,
} from './values.ts';
import { readSettingsFile } from './file.ts';

export { BadSetting } from './bad_setting.ts';

export interface Settings {
  /** Undefined: a development server, whose issuer follows its port. */
  readonly issuer: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly operatorPort: number;
  /** An IP address. */
  readonly operatorAddress: string;
  /** In lower case. */
  readonly operatorHosts: readonly string[];
  readonly dataDir: string;
  readonly audience: string | undefined;
  readonly signingAlgorithm: SigningAlgorithm;
  readonly accessTtlSeconds: number;
  readonly refreshTtlSeconds: number;
  readonly refreshMaxTtlSeconds: number | undefined;
  readonly refreshGraceSeconds: number | undefined;
  /** Undefined: the embedded store. */
  readonly databaseUrl: string | undefined;
  readonly databaseCaFile: string | undefined;
  /** Whether a database on another machine may be spoken to without TLS that is verified. */
  readonly databasePlaintext: 'refuse' | 'allow';
  readonly databaseConnections: number;
  /** Where `hallpass store copy` copies to. */
  readonly copyTo: string | undefined;
  readonly masterKey: string | undefined;
  readonly masterKeyFile: string | undefined;
  readonly masterKeyCommand: string | undefined;
  readonly dpopNonces: boolean;
  readonly awaySeconds: number;
  readonly keyRequestsPerSecond: number;
  readonly keyRevocationsPerHour: number;
  readonly addressFailuresPerMinute: number;
  readonly trustedProxies: readonly string[];
  /** Undefined: by whether this is a development server. See `drainSecondsOf`. */
  readonly drainSeconds: number | undefined;
  readonly signingKeyDays: number;
  readonly issuerKeyDays: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

interface Row<Value> {
  /** In the environment; the file has it in camel case, without the prefix. */
  readonly variable: `HALLPASS_${string}`;
  readonly parse: (text: string) => Value | undefined;
  readonly otherwise: Value;
  /** Whether a value is a secret, so that a file that holds it must be closed to others. */
  readonly isSecret?: (text: string) => boolean;
  /** What a good value is, to end the sentence `HALLPASS_X must be ...`. */
  readonly must: string;
  readonly meaning: string;
}

/** What a load balancer needs to notice, as a rule: Kubernetes takes a pod out of a Service in about a second. */
export const DRAIN_SECONDS = 5;
export const DRAIN_SECONDS_MAX = 600;

/** How long this server drains: on a developer's machine nobody balances, and Ctrl-C should end it. */
export function drainSecondsOf({ drainSeconds, issuer }: Settings): number {
  return drainSeconds ?? (isDevelopmentIssuer(issuer) ? 0 : DRAIN_SECONDS);
}

export const ROWS: { readonly [Name in keyof Settings]: Row<Settings[Name]> } = {
  issuer: {
    variable: 'HALLPASS_ISSUER',
    parse: parseIssuer,
    otherwise: undefined,
    must: 'an https URL without a slash at its end, a query or a fragment (http is for localhost alone), such as https://auth.example.com',
    meaning:
      'The `iss` of every token, and the address of this server as its clients see it. Unset, or on localhost: a development server, `http://localhost:PORT`.',
  },
  host: {
    variable: 'HALLPASS_HOST',
    parse: (text) => (/^[A-Za-z0-9.:_-]+$/.test(text) ? text : undefined),
    otherwise: 'localhost',
    must: 'a host name or an IP address to listen on, such as 0.0.0.0',
    meaning: 'Where the public listener listens. `0.0.0.0` to be reached from other machines.',
  },
  port: {
    variable: 'HALLPASS_PORT',
    parse: parsePort,
    otherwise: 8080,
    must: 'a port, 0 to 65535 (0 takes any that is free)',
    meaning: 'The port of the public listener.',
  },
  operatorPort: {
    variable: 'HALLPASS_OPERATOR_PORT',
    parse: parsePort,
    otherwise: 8081,
    must: 'a port, 0 to 65535 (0 takes any that is free)',
    meaning: 'The port of the operator listener (`/metrics`, `/health/...`).',
  },
  operatorAddress: {
    variable: 'HALLPASS_OPERATOR_ADDRESS',
    parse: parseIpAddress,
    otherwise: '127.0.0.1',
    must: 'an IP address of this machine, such as 10.0.0.7, or 0.0.0.0 for all of them',
    meaning:
      'Where the operator listener listens. It asks nobody for credentials, so other machines reach it only if you say so here, and HALLPASS_OPERATOR_HOSTS says by which names.',
  },
  operatorHosts: {
    variable: 'HALLPASS_OPERATOR_HOSTS',
    parse: parseHosts,
    otherwise: [],
    must: 'host names without ports, separated by commas, such as ops.example.com',
    meaning:
      'The names in `Host` that the operator listener answers to, beside `localhost` and the addresses of this machine. Any other is refused with 421, so that a web page cannot reach it under a name of its own.',
  },
  dataDir: {
    variable: 'HALLPASS_DATA_DIR',
    parse: (text) => text,
    otherwise: '.hallpass',
    must: 'a folder',
    meaning:
      'The folder of the embedded store, on a local file system. `hallpass store init` makes it, as does a development server.',
  },
  audience: {
    variable: 'HALLPASS_AUDIENCE',
    parse: (text) => (URL.canParse(text) && !text.includes('#') ? text : undefined),
    otherwise: undefined,
    must: 'an absolute URI without a fragment, such as https://api.example.com',
    meaning: 'The default `aud`: of tokens whose key lists no audiences. Unset: the issuer.',
  },
  signingAlgorithm: {
    variable: 'HALLPASS_SIGNING_ALGORITHM',
    parse: (text) => SIGNING_ALGORITHMS.find((algorithm) => algorithm === text),
    otherwise: 'ES256',
    must: `one of ${SIGNING_ALGORITHMS.join(', ')}`,
    meaning: 'What access tokens are signed with. Keys of the other algorithms stay published.',
  },
  accessTtlSeconds: {
    variable: 'HALLPASS_ACCESS_TTL_SECONDS',
    parse: wholeNumber(1, ACCESS_TOKEN_SECONDS_MAX),
    otherwise: 900,
    must: `whole seconds, 1 to ${ACCESS_TOKEN_SECONDS_MAX}`,
    meaning: 'How long an access token lives.',
  },
  refreshTtlSeconds: {
    variable: 'HALLPASS_REFRESH_TTL_SECONDS',
    parse: wholeNumber(1, REFRESH_TOKEN_SECONDS_MAX),
    otherwise: 30 * 86_400,
    must: `whole seconds, 1 to ${REFRESH_TOKEN_SECONDS_MAX}`,
    meaning:
      'How long a grant lives after its last refresh, or after its first token if it was never refreshed. Each refresh starts the time again.',
  },
  refreshMaxTtlSeconds: {
    variable: 'HALLPASS_REFRESH_MAX_TTL_SECONDS',
    parse: wholeNumber(1, GRANT_SECONDS_MAX),
    otherwise: undefined,
    must: `whole seconds, 1 to ${GRANT_SECONDS_MAX}`,
    meaning:
      'How long a grant lives at most, from its first token, however often it is refreshed. Unset: as long as it is refreshed.',
  },
  refreshGraceSeconds: {
    variable: 'HALLPASS_REFRESH_GRACE_SECONDS',
    parse: wholeNumber(0, REFRESH_TOKEN_SECONDS_MAX),
    otherwise: undefined,
    must: `whole seconds, 0 to ${REFRESH_TOKEN_SECONDS_MAX}`,
    meaning:
      'How long after a rotation the refresh token before the newest still gets the newest. Unset: always; 0: never.',
  },
  databaseUrl: {
    variable: 'HALLPASS_DATABASE_URL',
    parse: parseDatabaseUrl,
    otherwise: undefined,
    isSecret: hasPassword,
    must: DATABASE_URL_MUST,
    meaning:
      'The PostgreSQL database that instances share. Unset: the embedded store in the data folder, for one machine.',
  },
  databaseCaFile: {
    variable: 'HALLPASS_DATABASE_CA_FILE',
    parse: (text) => text,
    otherwise: undefined,
    must: 'a file',
    meaning: 'The certificate authority, as PEM, that the database must show a certificate of.',
  },
  databasePlaintext: {
    variable: 'HALLPASS_DATABASE_PLAINTEXT',
    parse: (text) => (text === 'refuse' || text === 'allow' ? text : undefined),
    otherwise: 'refuse',
    must: 'refuse or allow',
    meaning:
      'Whether a database on another machine may be reached without TLS, or with a certificate that nobody verifies. `allow` is for a network that is yours alone.',
  },
  copyTo: {
    variable: 'HALLPASS_COPY_TO',
    parse: parseDatabaseUrl,
    otherwise: undefined,
    isSecret: hasPassword,
    must: DATABASE_URL_MUST,
    meaning: 'The PostgreSQL database that `hallpass store copy` copies to.',
  },
  databaseConnections: {
    variable: 'HALLPASS_DATABASE_CONNECTIONS',
    parse: wholeNumber(2, 1_000),
    otherwise: 10,
    must: 'a whole number, 2 to 1000',
    meaning: 'How many connections to the database a process keeps at most.',
  },
  masterKey: {
    variable: 'HALLPASS_MASTER_KEY',
    isSecret: () => true,
    parse: parseMasterKeys,
    otherwise: undefined,
    must: '32 random bytes as base64url, 43 characters (make one with: openssl rand 32 | basenc --base64url | tr -d =)',
    meaning:
      'The key that encrypts the keys in the store. While it is being replaced: the new one, a space, and the one before it.',
  },
  masterKeyFile: {
    variable: 'HALLPASS_MASTER_KEY_FILE',
    parse: (text) => text,
    otherwise: undefined,
    must: 'a file',
    meaning:
      'A file that holds the master key. Only its owner may read it; a file of root’s may also be open to a group of the server (0440, as Kubernetes mounts secrets). A development server makes `master.key` in the data folder.',
  },
  masterKeyCommand: {
    variable: 'HALLPASS_MASTER_KEY_COMMAND',
    parse: (text) => text,
    otherwise: undefined,
    must: 'a command line',
    meaning:
      'A command that prints the master key, such as one that has it decrypted by a key management service. It is run by the shell at each start.',
  },
  dpopNonces: {
    variable: 'HALLPASS_DPOP_NONCES',
    parse: (text) => (text === 'on' ? true : text === 'off' ? false : undefined),
    otherwise: false,
    must: 'on or off',
    meaning: 'Whether proofs of possession must carry a nonce of this server (RFC 9449 §8).',
  },
  awaySeconds: {
    variable: 'HALLPASS_AWAY_SECONDS',
    parse: wholeNumber(0, COPY_SECONDS_MAX),
    otherwise: COPY_SECONDS_MAX,
    must: `whole seconds, 0 to ${COPY_SECONDS_MAX} (0: no tokens while the store is away)`,
    meaning:
      'How old what was last read of a key may be for tokens that are issued from it while the store is away. Everything that must be written is refused meanwhile.',
  },
  keyRequestsPerSecond: {
    variable: 'HALLPASS_KEY_REQUESTS_PER_SECOND',
    parse: wholeNumber(0, 1_000_000),
    otherwise: 1_000,
    must: 'a whole number, 0 to 1000000 (0: no limit)',
    meaning:
      'How many requests a second one API key may make, over all workers and instances; a key may have its own number.',
  },
  keyRevocationsPerHour: {
    variable: 'HALLPASS_KEY_REVOCATIONS_PER_HOUR',
    parse: wholeNumber(0, 1_000_000),
    otherwise: 10_000,
    must: 'a whole number, 0 to 1000000 (0: no limit)',
    meaning:
      'How many tokens and grants one API key may revoke in an hour, over all workers and instances. Every guard keeps each of them for up to an hour.',
  },
  addressFailuresPerMinute: {
    variable: 'HALLPASS_ADDRESS_FAILURES_PER_MINUTE',
    parse: wholeNumber(0, 1_000_000),
    otherwise: 300,
    must: 'a whole number, 0 to 1000000 (0: no limit)',
    meaning:
      'How many failed authentications per minute one address may make; a fifth of that against one key. Further failures are 429. A right secret is let in all the same.',
  },
  trustedProxies: {
    variable: 'HALLPASS_TRUSTED_PROXIES',
    parse: parseProxies,
    otherwise: [],
    must: 'IP addresses or networks, separated by commas, such as 10.0.0.7, 10.1.0.0/16',
    meaning: 'The proxies whose `X-Forwarded-For` tells the address of a caller. From anyone else it is not believed.',
  },
  drainSeconds: {
    variable: 'HALLPASS_DRAIN_SECONDS',
    parse: wholeNumber(0, DRAIN_SECONDS_MAX),
    otherwise: undefined,
    must: `whole seconds, 0 to ${DRAIN_SECONDS_MAX} (0: stop at once)`,
    meaning: `How long the server goes on taking requests after SIGTERM, while \`/health/ready\` is 503, so that a load balancer can notice. Unset: ${DRAIN_SECONDS} seconds, and 0 for a development server.`,
  },
  signingKeyDays: {
    variable: 'HALLPASS_SIGNING_KEY_DAYS',
    parse: wholeNumber(0, 3_650),
    otherwise: 90,
    must: 'whole days, 0 to 3650 (0: only by command)',
    meaning:
      'After how long the signing key is replaced. The next one is published before it is used, and the old one until its last token has expired.',
  },
  issuerKeyDays: {
    variable: 'HALLPASS_ISSUER_KEY_DAYS',
    parse: wholeNumber(0, 3_650),
    otherwise: 180,
    must: 'whole days, 0 to 3650 (0: only by command)',
    meaning:
      'After how long the other keys of the issuer are replaced: those that seal refresh tokens and opaque tokens, and the one that hashes secrets. Nothing stops working: each old key stays for as long as something needs it.',
  },
  logLevel: {
    variable: 'HALLPASS_LOG_LEVEL',
    parse: (text) => LOG_LEVELS.find((level) => level === text),
    otherwise: 'info',
    must: `one of ${LOG_LEVELS.join(', ')}`,
    meaning: 'How much is logged, on standard error.',
  },
  logFormat: {
    variable: 'HALLPASS_LOG_FORMAT',
    parse: (text) => LOG_FORMATS.find((format) => format === text),
    otherwise: 'auto',
    must: `one of ${LOG_FORMATS.join(', ')}`,
    meaning:
      'What a line of the log looks like: `json`, or `text` for people, in colour unless `NO_COLOR` is set. `auto`: text on a terminal, JSON for files and pipes.',
  },
};

const NAMES: readonly string[] = [
  FILE_VARIABLE,
  ...Object.values(ROWS).map(({ variable }) => variable),
  ...GUARD_NAMES,
];

/** Our variables of an environment, whether a server's or a guard's. Throws `BadSetting` for one that is misspelt. */
export function readVariables(environment: Environment): ReadonlyMap<string, string> {
  return readOwnVariables(environment, NAMES);
}

/** The text of a setting, and where it was set, to begin a sentence. */
interface Given {
  readonly text: string | undefined;
  readonly where: string;
}

/** Reads the settings from the environment, and from the file that it names. The environment wins. Throws `BadSetting`. */
export function readSettings(environment: Environment): Settings {
  const variables = readVariables(environment);
  const file = readSettingsFile(variables.get(FILE_VARIABLE), {
    names: Object.keys(ROWS),
    isSecret: (name, text) => rowOf(name)?.isSecret?.(text) === true,
  });
  return parseSettings((name, variable) => {
    const text = variables.get(variable);
    if (text !== undefined) return { text, where: variable };
    return { text: file.get(name), where: `${name} in the settings file` };
  });
}

/** Settings that an application passes as values, by their names in the settings file. The others have their defaults. */
export type SomeSettings = { readonly [Name in keyof Settings]?: Settings[Name] | undefined };

/** Checks settings that an application passes as values, by the same rules as everyone's. Throws `BadSetting`. */
export function settingsOf(values: SomeSettings): Settings {
  const given = new Map<string, unknown>(Object.entries(values));
  for (const name of given.keys()) {
    if (rowOf(name) === undefined) throw new BadSetting(`${name} is not a setting.${suggest(name, Object.keys(ROWS))}`);
  }
  return parseSettings((name) => ({ text: printValue(given.get(name)), where: name }));
}

/** A value as the environment would spell it. */
function printValue(value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return Array.isArray(value) ? value.join(',') : JSON.stringify(value);
}

function parseSettings(find: (name: keyof Settings, variable: string) => Given): Settings {
  const value = <Name extends keyof Settings>(name: Name): Settings[Name] => {
    const row: Row<Settings[Name]> = ROWS[name];
    const { text, where } = find(name, row.variable);
    // An empty variable is how a compose file says "not set".
    if (text === undefined || text === '') return row.otherwise;
    const parsed = row.parse(text);
    if (parsed === undefined) throw new BadSetting(`${where} must be ${row.must}.`);
    return parsed;
  };
  const issuer = value('issuer');
  const host = value('host');
  if (issuer === undefined && !isLoopback(host)) {
    throw new BadSetting(
      `HALLPASS_ISSUER must be set for a server that others can reach (HALLPASS_HOST is ${host}): tokens name it.`,
    );
  }
  const databaseUrl = value('databaseUrl');
  if (issuer === undefined && databaseUrl !== undefined) {
    // Instances that share a store must agree on it, and one that follows its port would not.
    throw new BadSetting(
      'HALLPASS_ISSUER must be set for a server on a database (HALLPASS_DATABASE_URL): tokens name it.',
    );
  }
  const operatorAddress = value('operatorAddress');
  const operatorHosts = value('operatorHosts');
  if (operatorHosts.length === 0 && !isLoopback(operatorAddress)) {
    throw new BadSetting(
      `HALLPASS_OPERATOR_HOSTS must be set for an operator listener that others can reach (HALLPASS_OPERATOR_ADDRESS is ${operatorAddress}): it answers to the names in it alone, so that a web page cannot reach it under a name of its own.`,
    );
  }
  return {
    issuer,
    host,
    port: value('port'),
    operatorPort: value('operatorPort'),
    operatorAddress,
    operatorHosts,
    dataDir: value('dataDir'),
    audience: value('audience'),
    signingAlgorithm: value('signingAlgorithm'),
    accessTtlSeconds: value('accessTtlSeconds'),
    refreshTtlSeconds: value('refreshTtlSeconds'),
    refreshMaxTtlSeconds: value('refreshMaxTtlSeconds'),
    refreshGraceSeconds: value('refreshGraceSeconds'),
    databaseUrl,
    databaseCaFile: value('databaseCaFile'),
    databasePlaintext: value('databasePlaintext'),
    copyTo: value('copyTo'),
    databaseConnections: value('databaseConnections'),
    masterKey: value('masterKey'),
    masterKeyFile: value('masterKeyFile'),
    masterKeyCommand: value('masterKeyCommand'),
    dpopNonces: value('dpopNonces'),
    awaySeconds: value('awaySeconds'),
    keyRequestsPerSecond: value('keyRequestsPerSecond'),
    keyRevocationsPerHour: value('keyRevocationsPerHour'),
    addressFailuresPerMinute: value('addressFailuresPerMinute'),
    trustedProxies: value('trustedProxies'),
    drainSeconds: value('drainSeconds'),
    signingKeyDays: value('signingKeyDays'),
    issuerKeyDays: value('issuerKeyDays'),
    logLevel: value('logLevel'),
    logFormat: value('logFormat'),
  };
}

function rowOf(name: string): Row<unknown> | undefined {
  const [, row] = Object.entries<Row<unknown>>(ROWS).find(([known]) => known === name) ?? [];
  return row;
}

/** Whether an issuer is on this very machine: a development server, for which things may be made up. */
export function isDevelopmentIssuer(issuer: string | undefined): boolean {
  return issuer === undefined || new URL(issuer).protocol === 'http:';
}

function parseIssuer(text: string): string | undefined {
  if (!URL.canParse(text) || /[?#\s]/.test(text) || text.endsWith('/')) return undefined;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return undefined;
  // As guards spell it, or none of its tokens would pass them.
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname)) ? canonicalIssuer(text) : undefined;
}
