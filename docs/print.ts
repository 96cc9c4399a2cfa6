/** Prints the documents that come from the source, so that they cannot rot: `npm run docs`. A test compares them. */
import { writeFileSync } from 'node:fs';
import { POLICY_FILE_BYTES_MAX, POLICY_FILES_MAX } from '@hallpass/guard/openapi';
import * as protocol from '@hallpass/protocol';
import * as issuerQueue from '../packages/guard/src/credentials/issuer_queue.ts';
import { CLOCK_JUMP_SECONDS } from '../packages/guard/src/issuer/clock_watch.ts';
import { CONFIRMATION_INTERVAL_MS } from '../packages/guard/src/revocations/confirmations.ts';
import { REREAD_INTERVAL_SECONDS } from '../packages/guard/src/revocations/full_reread.ts';
import { REMEMBERED_TOKEN_BYTES } from '../packages/guard/src/credentials/digest_cache.ts';
import { REVOCATIONS_MAX } from '../packages/guard/src/revocations/revocation_set.ts';
import { runCommand } from '../testing/process/run_command.ts';
import { openapiDocument } from '../packages/server/src/oauth/endpoints/openapi/document.ts';
import { GUARD_VARIABLES } from '../packages/server/src/cli/guard_settings.ts';
import { listSettings } from '../packages/server/src/serving/settings/list.ts';
import {
  KEEP_ALIVE_MS_MAX,
  LINGER_MS_MAX,
  REQUEST_TIMEOUT_MS,
  STOP_ANSWERS_MS_MAX,
  STOP_ARRIVAL_MS_MAX,
  UNREAD_ANSWER_MS_MAX,
} from '../packages/server/src/http/connection_closing.ts';
import { HEADER_BYTES_MAX } from '../packages/server/src/http/listener.ts';
import { LOG_WAIT_MS_MAX } from '../packages/server/src/http/log_destination.ts';
import { OUTAGE_LINE_MS, OUTAGE_REASONS_MAX } from '../packages/server/src/http/outage_log.ts';
import { REQUESTS_PER_CONNECTION_MAX } from '../packages/server/src/http/pipelining.ts';
import { BOUNDS } from '../packages/server/src/oauth/limits/bounds.ts';
import { SECRETS_MAX } from '../packages/server/src/oauth/clients/authentication.ts';
import * as foreignHash from '../packages/server/src/oauth/imported_secrets/foreign_hash.ts';
import { SECURITY_EVENTS_PER_CLIENT_HOUR_MAX } from '../packages/server/src/oauth/limits/security_event_limit.ts';
import {
  CONFIRMATIONS_PER_CLIENT_PER_SECOND_MAX,
  PAGE_ENTRIES_MAX,
} from '../packages/server/src/oauth/endpoints/feed.ts';
import { READINESS_MS, READINESS_WRITE_MS_MAX } from '../packages/server/src/oauth/endpoints/readiness.ts';
import { FAULTS_MAX } from '../packages/server/src/store/verify/findings.ts';
import { FEED_STREAMS_MAX, FEED_STREAMS_PER_CLIENT_MAX } from '../packages/server/src/oauth/followers/streams.ts';
import { FOLLOWER_CALL_INTERVAL_MS } from '../packages/server/src/oauth/followers/confirmation_calls.ts';
import { WAITS_MAX, WAITS_PER_CLIENT_MAX } from '../packages/server/src/oauth/followers/followers.ts';
import { GUARD_FAILURES_FACTOR } from '../packages/server/src/oauth/limits/limits.ts';
import { WAIT_SECONDS_MAX } from '../packages/server/src/oauth/endpoints/revocation.ts';
import { GRANT_SECONDS_MAX, REFRESH_TOKEN_SECONDS_MAX } from '../packages/server/src/oauth/tokens/revocations.ts';
import { KEPT_DIFFERENCE_MS_MAX } from '../packages/server/src/oauth/trusted_time.ts';
import { HASH_RENEWALS_MAX } from '../packages/server/src/oauth/keys/secret_hash.ts';
import * as keyFields from '../packages/server/src/operator/key_fields.ts';
import * as keyPolicy from '../packages/server/src/operator/key_policy.ts';
import { IMPORT_BYTES_MAX } from '../packages/server/src/operator/import/files.ts';
import * as parsedClients from '../packages/server/src/store/parsed_clients.ts';
import {
  CLIENTS_MAX,
  FOLLOWERS_PER_CLIENT_MAX,
  SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX,
} from '../packages/server/src/store/store.ts';

const FROM_SOURCE = '<!-- Printed from the source by `npm run docs`. Do not edit. -->';

/** The documents by their path from the root, printed. */
export async function printDocuments(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ['docs/configuration.md', printConfiguration()],
    ['docs/limits.md', printLimits()],
    ['docs/errors.md', printErrors()],
    ['docs/cli.md', await printCommandLine()],
    [
      'docs/openapi.json',
      `${printJson(openapiDocument('http://localhost:8080'))}
`,
    ],
  ]);
}

/** JSON in which whatever fits on one line stands on one: a reference, a list of codes, a small schema. */
function printJson(value: unknown, indent = ''): string {
  const line = JSON.stringify(value, undefined, 1).replaceAll(/\n */g, ' ');
  if (typeof value !== 'object' || value === null || indent.length + line.length <= LINE_LENGTH_MAX) return line;
  const inner = `${indent}  `;
  const items = Array.isArray(value)
    ? value.map((item: unknown) => inner + printJson(item, inner))
    : Object.entries(value).map(([name, item]) => `${inner}${JSON.stringify(name)}: ${printJson(item, inner)}`);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return `${open}\n${items.join(',\n')}\n${indent}${close}`;
}

const LINE_LENGTH_MAX = 100;

function printConfiguration(): string {
  const rows = listSettings().map(
    ({ variable, name, otherwise, meaning, must }) =>
      `| \`${variable}\` | ${name === '' ? '' : `\`${name}\``} | ${otherwise === '' ? '' : `\`${otherwise}\``} | ${cell(meaning)} | ${cell(must)} |`,
  );
  const guardRows = GUARD_VARIABLES.map(
    ({ variable, otherwise, meaning }) =>
      `| \`${variable}\` | ${otherwise === '' ? '' : `\`${otherwise}\``} | ${cell(meaning)} |`,
  );
  return `${FROM_SOURCE}

# Settings

Settings come from the environment or from a JSON file named by \`HALLPASS_CONFIG\`; the environment takes precedence. An unknown or
invalid setting is an error: the command prints one sentence and exits with code 2.

| Variable | In the file | Default | Meaning | Allowed values |
| --- | --- | --- | --- | --- |
${rows.join('\n')}

## For a guard

\`hallpass guard\` and \`hallpass explain\` have options (see \`--help\`), and read these from the environment:

| Variable | Default | Meaning |
| --- | --- | --- |
${guardRows.join('\n')}
`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** Every limit: its name in the source, what it bounds, and what happens beyond it. */
const LIMITS: readonly (readonly [name: string, value: number, what: string, beyond: string])[] = [
  ['BODY_BYTES_MAX', protocol.BODY_BYTES_MAX, 'bytes in a body', '413'],
  ['PARAMETERS_MAX', protocol.PARAMETERS_MAX, 'parameters in a body', '400 `invalid_request`'],
  ['HEADER_BYTES_MAX', HEADER_BYTES_MAX, 'bytes in a request line and headers', '4xx, and the connection is closed'],
  [
    'REQUEST_TIMEOUT_MS',
    REQUEST_TIMEOUT_MS,
    'milliseconds for the headers to arrive, and for a whole request',
    'the connection is closed',
  ],
  [
    'REQUESTS_PER_CONNECTION_MAX',
    REQUESTS_PER_CONNECTION_MAX,
    'requests served at a time on one connection',
    'later ones wait, and the connection is not read meanwhile',
  ],
  [
    'UNREAD_ANSWER_MS_MAX',
    UNREAD_ANSWER_MS_MAX,
    'milliseconds that a caller may leave a response unread',
    'the connection is closed',
  ],
  [
    'READINESS_MS',
    READINESS_MS,
    'milliseconds for which `/health/ready` repeats its result: a process writes at most once in that time to check',
    'the same result again',
  ],
  [
    'READINESS_WRITE_MS_MAX',
    READINESS_WRITE_MS_MAX,
    'milliseconds that a small write to the store may take',
    '`/health/ready` is 503',
  ],
  [
    'OUTAGE_LINE_MS',
    OUTAGE_LINE_MS,
    'milliseconds between two log lines about the same reason for an outage',
    'failures are counted, and the next line says how many',
  ],
  ['OUTAGE_REASONS_MAX', OUTAGE_REASONS_MAX, 'reasons for one outage that get their own line', 'counted with the last'],
  ['FAULTS_MAX', FAULTS_MAX, 'faults that `hallpass store verify` lists', 'the rest are omitted'],
  [
    'LOG_WAIT_MS_MAX',
    LOG_WAIT_MS_MAX,
    'milliseconds that a log line waits for its reader',
    'the line is dropped and counted (`hallpass_log_lines_dropped_total`); no line waits until one can be written at once',
  ],
  ['KEEP_ALIVE_MS_MAX', KEEP_ALIVE_MS_MAX, 'milliseconds that an idle connection is kept', 'the connection is closed'],
  [
    'LINGER_MS_MAX',
    LINGER_MS_MAX,
    'milliseconds that a client may keep its half of a connection open after the last response, or after a refusal',
    'the connection is cut',
  ],
  [
    'STOP_ARRIVAL_MS_MAX',
    STOP_ARRIVAL_MS_MAX,
    'milliseconds for a partly received request to arrive, and for a reader of the feed to continue, once the server has drained',
    'the connection is cut',
  ],
  [
    'STOP_ANSWERS_MS_MAX',
    STOP_ANSWERS_MS_MAX,
    'milliseconds to send responses, once the server has drained',
    'the connection is cut',
  ],
  ['CLIENT_ID_LENGTH_MAX', protocol.CLIENT_ID_LENGTH_MAX, 'characters in a `client_id`', '401 `invalid_client`'],
  [
    'CLIENT_SECRET_LENGTH_MAX',
    protocol.CLIENT_SECRET_LENGTH_MAX,
    'characters in a `client_secret`',
    '401 `invalid_client`, without hashing',
  ],
  [
    'CLIENT_ASSERTION_LENGTH_MAX',
    protocol.CLIENT_ASSERTION_LENGTH_MAX,
    'characters in an assertion',
    '401 `invalid_client`',
  ],
  [
    'DPOP_PROOF_LENGTH_MAX',
    protocol.DPOP_PROOF_LENGTH_MAX,
    'characters in a proof of possession',
    '400 or 401 `invalid_dpop_proof`',
  ],
  ['SCOPE_LENGTH_MAX', protocol.SCOPE_LENGTH_MAX, 'characters in a scope', '400 `invalid_scope`'],
  ['SEGMENT_LENGTH_MAX', protocol.SEGMENT_LENGTH_MAX, 'characters in a scope segment', '400 `invalid_scope`'],
  ['SCOPES_PER_REQUEST_MAX', protocol.SCOPES_PER_REQUEST_MAX, 'scopes in a request', '400 `invalid_scope`'],
  [
    'SCOPE_LIST_LENGTH_MAX',
    protocol.SCOPE_LIST_LENGTH_MAX,
    'characters in all scopes of a request together',
    '400 `invalid_scope`',
  ],
  [
    'ACCESS_TOKEN_LENGTH_MAX',
    protocol.ACCESS_TOKEN_LENGTH_MAX,
    'characters in an access token',
    'not issued and not accepted',
  ],
  [
    'REFRESH_TOKEN_LENGTH_MAX',
    protocol.REFRESH_TOKEN_LENGTH_MAX,
    'characters in a refresh token',
    'not issued and not accepted',
  ],
  [
    'ACCESS_TOKEN_SECONDS_MAX',
    protocol.ACCESS_TOKEN_SECONDS_MAX,
    'seconds that an access token may live',
    'the setting is refused',
  ],
  [
    'REFRESH_TOKEN_SECONDS_MAX',
    REFRESH_TOKEN_SECONDS_MAX,
    'seconds that a grant may live after its last refresh',
    'the setting is refused',
  ],
  [
    'GRANT_SECONDS_MAX',
    GRANT_SECONDS_MAX,
    'seconds in `HALLPASS_REFRESH_MAX_TTL_SECONDS` and `--refresh-max-ttl`; unset, a grant lives as long as it is refreshed',
    'the setting is refused',
  ],
  ['LINEAGE_MAX', protocol.LINEAGE_MAX, 'successive narrowings of a token by exchange', '400 `invalid_request`'],
  [
    'SECURITY_EVENTS_PER_CLIENT_HOUR_MAX',
    SECURITY_EVENTS_PER_CLIENT_HOUR_MAX,
    'events of one kind per hour caused by the refresh tokens that an API key sends',
    'same response, log line and count, but no event',
  ],
  [
    'SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX',
    SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX,
    'events about suspicious refreshes of one API key per hour',
    'counted on the key and in the metrics, without an event or a log line',
  ],
  ['CLIENTS_MAX', CLIENTS_MAX, 'API keys in a store', 'the command is refused'],
  [
    'PARSED_CLIENTS_MAX',
    parsedClients.PARSED_CLIENTS_MAX,
    'API key records that a process keeps parsed',
    'the least recently used is parsed again at its next use',
  ],
  [
    'PARSED_CLIENT_CHARACTERS_MAX',
    parsedClients.PARSED_CLIENT_CHARACTERS_MAX,
    'characters in all of them together',
    'the same',
  ],
  [
    'SECRETS_MAX',
    SECRETS_MAX,
    'active secrets, or public keys, of an API key',
    'the oldest secret stops working; a third public key is refused',
  ],
  ['SCOPES_PER_KEY_MAX', keyFields.SCOPES_PER_KEY_MAX, 'scopes of an API key', 'the command is refused'],
  [
    'LIST_ITEMS_MAX',
    keyFields.LIST_ITEMS_MAX,
    'audiences, origins, and resource servers of an API key, each',
    'the command is refused',
  ],
  ['AUDIENCE_LENGTH_MAX', keyPolicy.AUDIENCE_LENGTH_MAX, 'characters in an audience', 'the command is refused'],
  ['NAME_LENGTH_MAX', keyFields.NAME_LENGTH_MAX, 'characters in the name of an API key', 'the command is refused'],
  ['IMPORT_BYTES_MAX', IMPORT_BYTES_MAX, 'bytes in an imported file of keys', 'the command is refused'],
  [
    'POLICY_FILE_BYTES_MAX',
    POLICY_FILE_BYTES_MAX,
    'bytes in an OpenAPI file and the files it refers to, or in an overlay',
    'the file is refused; operations that need a referenced file beyond the limit are closed',
  ],
  [
    'POLICY_FILES_MAX',
    POLICY_FILES_MAX,
    'files that an OpenAPI file refers to',
    'operations that need further files are closed',
  ],
  ['BCRYPT_COST_MAX', foreignHash.BCRYPT_COST_MAX, 'cost of an imported bcrypt hash', 'the import is refused'],
  [
    'PBKDF2_ITERATIONS_MAX',
    foreignHash.PBKDF2_ITERATIONS_MAX,
    'iterations of an imported PBKDF2 hash',
    'the import is refused',
  ],
  [
    'ARGON2_MEMORY_KIB_MAX',
    foreignHash.ARGON2_MEMORY_KIB_MAX,
    'KiB of memory (`m`) of an imported argon2 hash',
    'the import is refused',
  ],
  [
    'ARGON2_PASSES_MAX',
    foreignHash.ARGON2_PASSES_MAX,
    'passes (`t`) of an imported argon2 hash',
    'the import is refused',
  ],
  [
    'ARGON2_PARALLELISM_MAX',
    foreignHash.ARGON2_PARALLELISM_MAX,
    'lanes (`p`) of an imported argon2 hash',
    'the import is refused',
  ],
  [
    'GUARD_FAILURES_FACTOR',
    GUARD_FAILURES_FACTOR,
    'times `HALLPASS_ADDRESS_FAILURES_PER_MINUTE`: failures per minute that one guard may report for its callers',
    'further ones get 429',
  ],
  [
    'ISSUER_REQUESTS_MAX',
    issuerQueue.ISSUER_REQUESTS_MAX,
    'API keys, and opaque tokens, that a guard asks the issuer about at once, each',
    'they wait',
  ],
  [
    'ISSUER_REQUESTS_QUEUED_MAX',
    issuerQueue.ISSUER_REQUESTS_QUEUED_MAX,
    'of these that wait for their turn; credentials known to be good wait separately',
    '429',
  ],
  [
    'ISSUER_REQUESTS_QUEUED_PER_CALLER_MAX',
    issuerQueue.ISSUER_REQUESTS_QUEUED_PER_CALLER_MAX,
    'of these from one address, or one IPv6 network (/64)',
    '429',
  ],
  ['ISSUER_QUEUE_SECONDS_MAX', issuerQueue.ISSUER_QUEUE_SECONDS_MAX, 'seconds that one of these waits', '429'],
  [
    'HASH_RENEWALS_MAX',
    HASH_RENEWALS_MAX,
    'secrets that a process rehashes at a time after a new secret key',
    'rehashed at the next use',
  ],
  ['WAIT_SECONDS_MAX', WAIT_SECONDS_MAX, 'seconds that a revocation may wait for guards', '400 `invalid_request`'],
  [
    'KEPT_DIFFERENCE_MS_MAX',
    KEPT_DIFFERENCE_MS_MAX,
    "milliseconds between this machine's clock and the time that a server last saved in the embedded store",
    'commands that revoke tokens up to a date are refused, unless `--clock` says which clock to use',
  ],
  ['WAITS_MAX', WAITS_MAX, 'revocations waiting for guards in a process', 'the response comes at once'],
  ['WAITS_PER_CLIENT_MAX', WAITS_PER_CLIENT_MAX, 'of these for one API key', 'the response comes at once'],
  [
    'FOLLOWERS_PER_CLIENT_MAX',
    FOLLOWERS_PER_CLIENT_MAX,
    'guards of one API key that are counted',
    'further ones are served but not counted',
  ],
  [
    'FOLLOWER_CALL_INTERVAL_MS',
    FOLLOWER_CALL_INTERVAL_MS,
    'milliseconds between two requests for confirmation by a process',
    'all waits of the process share the next one',
  ],
  [
    'CONFIRMATIONS_PER_CLIENT_PER_SECOND_MAX',
    CONFIRMATIONS_PER_CLIENT_PER_SECOND_MAX,
    'feed pages per second that guards of one API key may request in addition to its budget for the feed',
    'they count against that budget',
  ],
  [
    'FEED_STREAMS_PER_CLIENT_MAX',
    FEED_STREAMS_PER_CLIENT_MAX,
    'event streams of one API key in a process',
    '429 `rate_limited`',
  ],
  ['FEED_STREAMS_MAX', FEED_STREAMS_MAX, 'event streams in a process', '429 `rate_limited`'],
  ['PAGE_ENTRIES_MAX', PAGE_ENTRIES_MAX, 'revocations on a page of the feed', 'the rest are on the next page'],
  ['REVOCATIONS_MAX', REVOCATIONS_MAX, 'revocations in a guard', 'the guard is stale, because it must not forget any'],
  [
    'REMEMBERED_TOKEN_BYTES',
    REMEMBERED_TOKEN_BYTES,
    'bytes per token that a guard remembers, on average; times `rememberedTokensMax`, for signed tokens, opaque tokens, and tokens exchanged for API keys, each',
    'the least recently used are verified, or looked up, again',
  ],
  [
    'CONFIRMATION_INTERVAL_MS',
    CONFIRMATION_INTERVAL_MS,
    'minimum milliseconds between two confirmations by a guard',
    'the next one covers all that are waiting',
  ],
  [
    'CLOCK_JUMP_SECONDS',
    CLOCK_JUMP_SECONDS,
    'seconds that the time of day may move relative to a monotonic clock, in a guard',
    'the guard reads the whole feed again',
  ],
  [
    'REREAD_INTERVAL_SECONDS',
    REREAD_INTERVAL_SECONDS,
    'minimum seconds between two full reads of the feed by a guard',
    'one read covers all requests for one',
  ],
];

function printLimits(): string {
  const rows = LIMITS.map(([name, value, what, beyond]) => `| \`${name}\` | ${value} | ${what} | ${beyond} |`);
  return `${FROM_SOURCE}

# Limits

All external input is limited. These limits are fixed; request rates are settings
([configuration.md](configuration.md): \`HALLPASS_KEY_REQUESTS_PER_SECOND\`, \`HALLPASS_KEY_REVOCATIONS_PER_HOUR\`,
\`HALLPASS_ADDRESS_FAILURES_PER_MINUTE\`).

The metric \`hallpass_bounds_reached_total\` counts how often a limit was reached, by name: ${BOUNDS.map((bound) => `\`${bound}\``).join(', ')}.
\`KEY_REVOCATIONS_PER_HOUR\` and \`KEY_REUSES_PER_HOUR\` are both set by \`HALLPASS_KEY_REVOCATIONS_PER_HOUR\`.

| Name | Limit | What it limits | Beyond it |
| --- | --- | --- | --- |
${rows.join('\n')}
`;
}

function printErrors(): string {
  const rows = protocol
    .listRefusals()
    .map(
      ({ reason, status, error, description }) =>
        `| ${status} | \`${error}\` | ${description} | ${reason.replaceAll('_', ' ')} |`,
    );
  return `${FROM_SOURCE}

# Errors

Each error has a JSON body with \`error\` and \`error_description\` (RFC 6749 §5.2), and an \`x-request-id\` header by which you
can find the line in the log. If a scope is the problem, the description names it.

| Status | \`error\` | \`error_description\` | When |
| --- | --- | --- | --- |
${rows.join('\n')}

A JSON request without a required \`scope\`, \`refresh_token\` or \`token\` gets **422** instead of 400, with an additional member
that has the parameter's name and the description as its value.
`;
}

/** The help of every command, as it is printed on a terminal of 100 columns. */
async function printCommandLine(): Promise<string> {
  const commands = [
    [],
    ['serve'],
    ['keys', 'create'],
    ['keys', 'import'],
    ['keys', 'list'],
    ['keys', 'show'],
    ['keys', 'disable'],
    ['keys', 'enable'],
    ['keys', 'delete'],
    ['keys', 'rotate-secret'],
    ['keys', 'update'],
    ['keys', 'revoke-tokens'],
    ['keys', 'set-public-keys'],
    ['token', 'inspect'],
    ...['signing-keys', 'refresh-keys', 'secret-keys', 'opaque-keys'].flatMap((family) => [
      [family, 'list'],
      [family, 'show'],
      [family, 'rotate'],
      [family, 'remove'],
    ]),
    ['master-key', 'list'],
    ['master-key', 'rewrap'],
    ['store', 'init'],
    ['store', 'backup'],
    ['store', 'restore'],
    ['store', 'verify'],
    ['store', 'copy'],
    ['guard'],
    ['explain'],
    ['revoke-everything'],
    ['events'],
    ['policy', 'check'],
    ['policy', 'draft'],
    ['policy', 'scopes'],
    ['policy', 'types'],
  ];
  const sections: string[] = [];
  for (const words of commands) {
    const title = ['hallpass', ...words].join(' ');
    const { stdout } = await runCommand([...words, '--help'], {});
    sections.push(`## ${title}\n\n\`\`\`text\n${stdout.trim()}\n\`\`\``);
  }
  return `${FROM_SOURCE}

# The command line

Commands work on the configured store, whether or not a server is running on it. A running server honours a change from its next
request on. Each command prints the store it works on to standard error. Only \`store init\`, \`store restore\`, \`store copy\` (for its
target) and \`serve\` in development create a store.

Exit codes: 0 success; 1 the command failed or was not confirmed; 2 a wrong command, option or setting, or no store; 141 the reader of
standard output closed it; 128 plus a signal's number when a signal ended it. An error is one sentence on standard error.

## The fields of an API key

Options set them, \`keys import\` reads them from CSV and JSON, and \`keys show --json\` prints them. If a number is \`null\`, the
server's setting applies.

| In JSON and CSV | Option | Meaning | Value |
| --- | --- | --- | --- |
${keyFields.KEY_FIELD_ROWS.map(([, field]) => printKeyField(field)).join('\n')}

${sections.join('\n\n')}
`;
}

function printKeyField(field: keyFields.KeyField): string {
  const { option } = field;
  const otherwise = 'initial' in field && field.initial !== undefined ? ` (default: ${String(field.initial)})` : '';
  const options = 'on' in option ? `\`--${option.name}\`, \`--no-${option.name}\`` : `\`--${option.name}\``;
  return `| \`${field.wire}\` | ${options} | ${keyFields.wordsOf(field)} | ${keyFields.mustBe(field)}${otherwise} |`;
}

if (import.meta.main) {
  for (const [path, text] of await printDocuments()) writeFileSync(new URL(`../${path}`, import.meta.url), text);
}
