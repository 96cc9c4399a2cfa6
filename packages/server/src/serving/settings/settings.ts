/** The settings, one row each. They come from the environment, or from a JSON file under the same names in camel case. */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  canonicalIssuer,
  isLoopback,
  isPlaintextHost,
  SIGNING_ALGORITHMS,
  type SigningAlgorithm,
} from '@hallpass/protocol';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../../http/log_destination.ts';
import { COPY_SECONDS_MAX } from '../../oauth/clients/client_copies.ts';
import { GRANT_SECONDS_MAX, REFRESH_TOKEN_SECONDS_MAX } from '../../oauth/tokens/revocations.ts';
import { hasPassword } from '../../store/postgres/password.ts';
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

/** Every setting, checked. docs/configuration.md explains each. */
export interface Settings {
  /** Undefined for a development server, whose issuer follows its port. */
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
  /** Undefined for the embedded store. */
  readonly databaseUrl: string | undefined;
  readonly databaseCaFile: string | undefined;
  /** Whether a database on another machine may be used without verified TLS. */
  readonly databasePlaintext: 'refuse' | 'allow';
  readonly databaseConnections: number;
  /** The database that `hallpass store copy` copies to. */
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
  /** Undefined: depends on whether this is a development server. See `drainSecondsOf`. */
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
  /** Whether a value is a secret. A file that holds one must not be readable by others. */
  readonly isSecret?: (text: string) => boolean;
  /** What a valid value is, to end the sentence `HALLPASS_X must be ...`. */
  readonly must: string;
  readonly meaning: string;
}

/** Usually enough for a load balancer to notice: Kubernetes takes a pod out of a Service in about a second. */
export const DRAIN_SECONDS = 5;
/** The longest drain, in seconds. */
export const DRAIN_SECONDS_MAX = 600;

/** How long this server drains, in seconds. A development server has no load balancer, and Ctrl-C should end it at once. */
export function drainSecondsOf({ drainSeconds, issuer }: Settings): number {
  return drainSeconds ?? (isDevelopmentIssuer(issuer) ? 0 : DRAIN_SECONDS);
}

/** How each setting is named, parsed and documented. */
export const ROWS: { readonly [Name in keyof Settings]: Row<Settings[Name]> } = {
  issuer: {
    variable: 'HALLPASS_ISSUER',
    parse: parseIssuer,
    otherwise: undefined,
    must: 'an https URL without a slash at its end, a query or a fragment (http is for localhost alone), such as https://auth.example.com',
    meaning:
      'The `iss` of every token, and this server’s address as clients see it. If unset or on localhost, this is a development server at `http://localhost:PORT`.',
  },
  host: {
    variable: 'HALLPASS_HOST',
    parse: (text) => (/^[A-Za-z0-9.:_-]+$/.test(text) ? text : undefined),
    otherwise: 'localhost',
    must: 'a host name or an IP address to listen on, such as 0.0.0.0',
    meaning: 'Where the public listener listens. Set `0.0.0.0` to accept requests from other machines.',
  },
  port: {
    variable: 'HALLPASS_PORT',
    parse: parsePort,
    otherwise: 8080,
    must: 'a port, 0 to 65535 (0 takes any free port)',
    meaning: 'The port of the public listener.',
  },
  operatorPort: {
    variable: 'HALLPASS_OPERATOR_PORT',
    parse: parsePort,
    otherwise: 8081,
    must: 'a port, 0 to 65535 (0 takes any free port)',
    meaning: 'The port of the operator listener (`/metrics`, `/health/...`).',
  },
  operatorAddress: {
    variable: 'HALLPASS_OPERATOR_ADDRESS',
    parse: parseIpAddress,
    otherwise: '127.0.0.1',
    must: 'an IP address of this machine, such as 10.0.0.7, or 0.0.0.0 for all addresses',
    meaning:
      'Where the operator listener listens. It asks for no credentials, so other machines can reach it only if you set an address here and the names that they use in HALLPASS_OPERATOR_HOSTS.',
  },
  operatorHosts: {
    variable: 'HALLPASS_OPERATOR_HOSTS',
    parse: parseHosts,
    otherwise: [],
    must: 'host names without ports, separated by commas, such as ops.example.com',
    meaning:
      'The `Host` names that the operator listener answers to, besides `localhost` and this machine’s addresses. It refuses any other name with 421, so a web page cannot reach it through DNS rebinding.',
  },
  dataDir: {
    variable: 'HALLPASS_DATA_DIR',
    parse: (text) => text,
    otherwise: '.hallpass',
    must: 'a folder',
    meaning:
      'The folder of the embedded store, on a local file system. `hallpass store init` creates it, and so does a development server.',
  },
  audience: {
    variable: 'HALLPASS_AUDIENCE',
    parse: (text) => (URL.canParse(text) && !text.includes('#') ? text : undefined),
    otherwise: undefined,
    must: 'an absolute URI without a fragment, such as https://api.example.com',
    meaning: 'The `aud` of tokens whose key lists no audiences. Unset: the issuer.',
  },
  signingAlgorithm: {
    variable: 'HALLPASS_SIGNING_ALGORITHM',
    parse: (text) => SIGNING_ALGORITHMS.find((algorithm) => algorithm === text),
    otherwise: 'ES256',
    must: `one of ${SIGNING_ALGORITHMS.join(', ')}`,
    meaning: 'The algorithm that signs access tokens. Keys of other algorithms stay published.',
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
      'How long a grant lives after its last refresh, or after its first token if it was never refreshed. Each refresh restarts the clock.',
  },
  refreshMaxTtlSeconds: {
    variable: 'HALLPASS_REFRESH_MAX_TTL_SECONDS',
    parse: wholeNumber(1, GRANT_SECONDS_MAX),
    otherwise: undefined,
    must: `whole seconds, 1 to ${GRANT_SECONDS_MAX}`,
    meaning:
      'The longest that a grant lives after its first token, however often it is refreshed. Unset: as long as it is refreshed.',
  },
  refreshGraceSeconds: {
    variable: 'HALLPASS_REFRESH_GRACE_SECONDS',
    parse: wholeNumber(0, REFRESH_TOKEN_SECONDS_MAX),
    otherwise: undefined,
    must: `whole seconds, 0 to ${REFRESH_TOKEN_SECONDS_MAX}`,
    meaning:
      'How long after a rotation the previous refresh token still returns the newest one. Unset: always. 0: never.',
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
    meaning: 'A PEM file with the certificate authority that must have signed the database’s certificate.',
  },
  databasePlaintext: {
    variable: 'HALLPASS_DATABASE_PLAINTEXT',
    parse: (text) => (text === 'refuse' || text === 'allow' ? text : undefined),
    otherwise: 'refuse',
    must: 'refuse or allow',
    meaning:
      'Whether a database on another machine may be used without TLS, or with an unverified certificate. Set `allow` only on a network that is yours alone.',
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
    meaning: 'The most database connections that one process keeps.',
  },
  masterKey: {
    variable: 'HALLPASS_MASTER_KEY',
    isSecret: () => true,
    parse: parseMasterKeys,
    otherwise: undefined,
    must: '32 random bytes as base64url, 43 characters (make one with: openssl rand 32 | basenc --base64url | tr -d =)',
    meaning:
      'The key that encrypts the keys in the store. While you replace it: the new key, a space, and the old key.',
  },
  masterKeyFile: {
    variable: 'HALLPASS_MASTER_KEY_FILE',
    parse: (text) => text,
    otherwise: undefined,
    must: 'a file',
    meaning:
      'A file that holds the master key. Only its owner may be able to read it; a file owned by root may also be readable by a group of the server (0440, as Kubernetes mounts secrets). A development server creates `master.key` in the data folder.',
  },
  masterKeyCommand: {
    variable: 'HALLPASS_MASTER_KEY_COMMAND',
    parse: (text) => text,
    otherwise: undefined,
    must: 'a command line',
    meaning:
      'A shell command that prints the master key, for example by having a key management service decrypt it. It runs at each start.',
  },
  dpopNonces: {
    variable: 'HALLPASS_DPOP_NONCES',
    parse: (text) => (text === 'on' ? true : text === 'off' ? false : undefined),
    otherwise: false,
    must: 'on or off',
    meaning: 'Whether proofs of possession must carry a nonce from this server (RFC 9449 §8).',
  },
  awaySeconds: {
    variable: 'HALLPASS_AWAY_SECONDS',
    parse: wholeNumber(0, COPY_SECONDS_MAX),
    otherwise: COPY_SECONDS_MAX,
    must: `whole seconds, 0 to ${COPY_SECONDS_MAX} (0: no tokens while the store is away)`,
    meaning:
      'While the store is away, tokens are issued from the last known state of a key, up to this age. Requests that must write are refused meanwhile.',
  },
  keyRequestsPerSecond: {
    variable: 'HALLPASS_KEY_REQUESTS_PER_SECOND',
    parse: wholeNumber(0, 1_000_000),
    otherwise: 1_000,
    must: 'a whole number, 0 to 1000000 (0: no limit)',
    meaning:
      'The requests per second that one API key may make, over all workers and instances. A key can have its own limit.',
  },
  keyRevocationsPerHour: {
    variable: 'HALLPASS_KEY_REVOCATIONS_PER_HOUR',
    parse: wholeNumber(0, 1_000_000),
    otherwise: 10_000,
    must: 'a whole number, 0 to 1000000 (0: no limit)',
    meaning:
      'The tokens and grants that one API key may revoke per hour, over all workers and instances. Every guard remembers each of them for up to an hour.',
  },
  addressFailuresPerMinute: {
    variable: 'HALLPASS_ADDRESS_FAILURES_PER_MINUTE',
    parse: wholeNumber(0, 1_000_000),
    otherwise: 300,
    must: 'a whole number, 0 to 1000000 (0: no limit)',
    meaning:
      'The failed authentications per minute that one address may make; a fifth of that against one key. Further failures get 429. A correct secret is still accepted.',
  },
  trustedProxies: {
    variable: 'HALLPASS_TRUSTED_PROXIES',
    parse: parseProxies,
    otherwise: [],
    must: 'IP addresses or networks, separated by commas, such as 10.0.0.7, 10.1.0.0/16',
    meaning:
      'The proxies whose `X-Forwarded-For` is trusted for the address of a caller. It is ignored from anyone else.',
  },
  drainSeconds: {
    variable: 'HALLPASS_DRAIN_SECONDS',
    parse: wholeNumber(0, DRAIN_SECONDS_MAX),
    otherwise: undefined,
    must: `whole seconds, 0 to ${DRAIN_SECONDS_MAX} (0: stop at once)`,
    meaning: `How long the server keeps serving after SIGTERM, while \`/health/ready\` answers 503, so that a load balancer can notice. Unset: ${DRAIN_SECONDS} seconds, or 0 for a development server.`,
  },
  signingKeyDays: {
    variable: 'HALLPASS_SIGNING_KEY_DAYS',
    parse: wholeNumber(0, 3_650),
    otherwise: 90,
    must: 'whole days, 0 to 3650 (0: only by command)',
    meaning:
      'The age at which the signing key is replaced. The next key is published before it is used, and the old one until its last token has expired.',
  },
  issuerKeyDays: {
    variable: 'HALLPASS_ISSUER_KEY_DAYS',
    parse: wholeNumber(0, 3_650),
    otherwise: 180,
    must: 'whole days, 0 to 3650 (0: only by command)',
    meaning:
      'The age at which the issuer’s other keys are replaced: those that seal refresh tokens and opaque tokens, and the one that hashes secrets. Nothing stops working, because each old key stays for as long as something needs it.',
  },
  logLevel: {
    variable: 'HALLPASS_LOG_LEVEL',
    parse: (text) => LOG_LEVELS.find((level) => level === text),
    otherwise: 'info',
    must: `one of ${LOG_LEVELS.join(', ')}`,
    meaning: 'The lowest level that is logged, on standard error.',
  },
  logFormat: {
    variable: 'HALLPASS_LOG_FORMAT',
    parse: (text) => LOG_FORMATS.find((format) => format === text),
    otherwise: 'auto',
    must: `one of ${LOG_FORMATS.join(', ')}`,
    meaning:
      'The format of log lines: `json`, or `text` for people, in colour unless `NO_COLOR` is set. `auto` writes text to a terminal, and JSON to files and pipes.',
  },
};

const NAMES: readonly string[] = [
  FILE_VARIABLE,
  ...Object.values(ROWS).map(({ variable }) => variable),
  ...GUARD_NAMES,
];

/** The HALLPASS_ variables of an environment, for a server or a guard. Throws `BadSetting` for an unknown name. */
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
  if (issuer === undefined && !isPlaintextHost(host)) {
    throw new BadSetting(
      `HALLPASS_ISSUER must be set for a server that other machines can reach (HALLPASS_HOST is ${host}): every token names it.`,
    );
  }
  const databaseUrl = value('databaseUrl');
  if (issuer === undefined && databaseUrl !== undefined) {
    // Instances that share a store must have one issuer, and an issuer that follows the port would differ.
    throw new BadSetting(
      'HALLPASS_ISSUER must be set for a server on a database (HALLPASS_DATABASE_URL): every token names it.',
    );
  }
  const operatorAddress = value('operatorAddress');
  const operatorHosts = value('operatorHosts');
  if (operatorHosts.length === 0 && !isLoopback(operatorAddress)) {
    throw new BadSetting(
      `HALLPASS_OPERATOR_HOSTS must be set for an operator listener that other machines can reach (HALLPASS_OPERATOR_ADDRESS is ${operatorAddress}). It lists the only names that the listener answers to, so that a web page cannot reach it through DNS rebinding.`,
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

/** Whether an issuer is on this machine. Such a development server may create its own store and master key. */
export function isDevelopmentIssuer(issuer: string | undefined): boolean {
  return issuer === undefined || new URL(issuer).protocol === 'http:';
}

function parseIssuer(text: string): string | undefined {
  if (!URL.canParse(text) || /[?#\s]/.test(text) || text.endsWith('/')) return undefined;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return undefined;
  // In the spelling that guards use, or they would refuse all of its tokens.
  return protocol === 'https:' || (protocol === 'http:' && isPlaintextHost(hostname))
    ? canonicalIssuer(text)
    : undefined;
}
