/** A sentence for each reason for which operator code refuses: what is wrong, and which option or command to use instead. */
import { describeScopeFault, type JwkFault } from '@hallpass/protocol';
import {
  ARGON2_MEMORY_KIB_MAX,
  ARGON2_PARALLELISM_MAX,
  ARGON2_PASSES_MAX,
  BCRYPT_COST_MAX,
  PBKDF2_ITERATIONS_MAX,
  type ForeignHashFault,
} from '../oauth/imported_secrets/foreign_hash.ts';
import type { ClockDifference } from '../oauth/trusted_time.ts';
import { CSV_FIELDS_MAX } from '../operator/import/csv.ts';
import { KEY_FIELDS, mustBe, type KeyFieldName } from '../operator/key_fields.ts';
import type {
  CsvFault,
  OperatorRefusal,
  RefusalCode,
  RefusalReasons,
  RefusedField,
} from '../operator/operator_refusal.ts';
import { shellWord } from './shell_word.ts';

/** The sentence for a refusal. `subject` stands for the value that was refused; without it, its field's wire name does. */
export function sentenceOf({ code, data }: Pick<OperatorRefusal, 'code' | 'data'>, subject?: string): string {
  return print(code, data, subject);
}

function print<Code extends RefusalCode>(code: Code, data: RefusalReasons[Code], subject: string | undefined): string {
  return SENTENCES[code](data, subject);
}

const SENTENCES: {
  readonly [Code in RefusalCode]: (data: RefusalReasons[Code], subject: string | undefined) => string;
} = {
  name_malformed: ({ max }) => `A name is 1 to ${max} printable characters.`,
  number_out_of_bounds: ({ field }, subject = wireOf(field)) => `${subject} must be ${mustOf(field)}.`,
  too_many_items: ({ field, max }) => `${wireOf(field)} has at most ${max} items.`,
  default_scopes_too_long: ({ max }) =>
    `The default scopes are longer than ${max} characters in total. Give the key fewer.`,
  scope_needed: () =>
    "A key needs at least one scope: --scope /accounts.write. (Only a resource server's key may have none.)",
  scope_malformed: ({ value, fault }) =>
    `This is not a scope: ${value} (${describeScopeFault(fault)}). A scope is a path with a verb, such as /accounts.write or /accounts/{accountID}/transfers.read.`,
  scope_reserved: ({ value }) =>
    `A parameter never matches a scope that begins with /oauth2/ or /admin/, so ${value} would grant nothing. Write out each scope that the key may have.`,
  default_scope_has_parameters: ({ value }) => `A default scope has no parameters: ${value}. Replace them with values.`,
  default_scope_not_granted: ({ value }) => `The default scope ${value} is not among the key's scopes.`,
  audience_malformed: ({ value }) =>
    `This is not an audience: ${value}. An audience is an absolute URI without a fragment, such as https://api.example.com.`,
  audience_too_long: ({ max }) => `An audience has at most ${max} characters.`,
  origin_malformed: ({ value }) =>
    `This is not an origin: ${value}. An origin is a scheme, a host and an optional port, without a slash at the end, such as https://app.example.com.`,
  origins_needed: () => 'A key that requires an origin needs a list of them: add --origin https://app.example.com.',
  public_key_unusable: ({ fault }) => `This public key cannot be used: ${JWK_FAULTS[fault]}.`,
  public_keys_needed: () => 'Give one or two public keys: the new one, and the old one for as long as it is in use.',
  authentication_needs_public_keys: () =>
    'A key that authenticates by private_key_jwt has public keys and no secret. Make it with --public-keys.',
  authentication_needs_secret: ({ authentication }) =>
    `A key with public keys signs, and can authenticate by private_key_jwt only. Leave out ${authentication}.`,
  resource_server_with_colon: () =>
    "The client_id of a resource server's key must not have a colon: its guard sends it by Basic (RFC 7617). Make a new key for the API.",

  client_id_malformed: ({ max }) => `A client_id is 1 to ${max} printable ASCII characters.`,
  client_secret_malformed: ({ max }) => `A client_secret is 1 to ${max} printable ASCII characters.`,
  client_secret_guessable: () =>
    'This client_secret could be guessed: it is shorter than 22 characters or uses fewer than 10 different ones. Make a new key instead, or import it anyway with --allow-weak-secret.',
  client_secret_hash_unusable: ({ fault }) => `This client_secret_hash cannot be imported: ${HASH_FAULTS[fault]}.`,
  secret_beside_hash: () => 'A key is imported with its secret or with a hash of it. Leave out the hash.',
  secret_beside_public_keys: () => 'A key that signs has no secret. Leave out either the secret or the public keys.',
  credential_missing: () => 'To import a key, give its secret, a hash of its secret, or its public keys.',

  key_unknown: ({ clientId }) =>
    `There is no API key with the client_id ${clientId}. List them with: hallpass keys list`,
  key_exists: ({ clientId }) =>
    `There is already an API key with the client_id ${clientId}. Delete it first, or import another.`,
  key_changed: ({ clientId }) =>
    `Someone else changed the API key ${clientId} at the same time. Look at it and try again.`,
  key_signs: ({ clientId }) =>
    `The API key ${clientId} signs and has no secret. Change its public keys: hallpass keys set-public-keys ${shellWord(clientId)} FILE`,
  key_has_secret: ({ clientId }) =>
    `The API key ${clientId} has a secret, and a key authenticates in one way only. Make another key with --public-keys.`,
  too_many_keys: ({ max }) => `The store is full: it holds ${max} API keys. Delete those that are no longer used.`,

  issuer_key_unknown: ({ keys, keyId }) =>
    `There is no ${keys} key ${keyId}. List them with: hallpass ${keys}-keys list`,
  issuer_key_waiting: ({ keys, keyId }) => `There is already a next ${keys} key: ${keyId}. It takes over by itself.`,
  issuer_key_not_added: ({ keys }) => `The new ${keys} key was not added. Try again.`,

  clocks_differ: ({ difference }) => printDifference(difference),

  file_too_large: ({ max }) => `The file is larger than ${max / 1024 / 1024} MiB. Split it.`,
  file_not_utf8: () => 'The file is not UTF-8. Save it as UTF-8.',
  file_not_csv: ({ line, fault }) => `Line ${line} cannot be read as CSV: ${CSV_FAULTS[fault]}.`,
  file_not_json: ({ line }) => `The file is not JSON${line === undefined ? '' : `: line ${line}`}.`,
  file_not_array: () => 'A JSON file holds an array of keys, as hallpass keys list --json prints it.',
  file_with_too_many_keys: ({ max }) => `The file has more than ${max} keys, the most that a store holds.`,
  file_without_header: ({ columns }) =>
    `The first line of a CSV file must name its columns, separated by commas, semicolons or tabs. client_id must be one of them: ${columns.join(',')}. (The first line must not be a key.)`,
  column_unknown: ({ name, at, columns }) =>
    `${name === undefined ? `Column ${at} has an unknown name (not shown: it could be a secret)` : `There is no column ${name}`}. The columns are: ${columns.join(', ')}.`,
  column_repeated: ({ name }) => `The column ${name} is there twice. Leave one out.`,
  too_many_new_keys: ({ room, max, wanted }) =>
    `The store has room for ${room} more API keys (it holds ${max}), and the file has ${wanted} new ones. Delete keys that are no longer used.`,

  row_not_an_object: () => 'It is not a JSON object.',
  row_with_other_columns: ({ fields, columns, separators }) =>
    `It has ${fields} fields, and the header has ${columns}. The header separates them by ${separators}: put quotes around a field that contains one.`,
  member_unknown: ({ name, at, members }) =>
    `${name === undefined ? `Member ${at} has an unknown name (not shown: it could be a secret)` : `There is no member ${name}`}. The members are: ${members.join(', ')}.`,
  member_malformed: ({ member, must }) => `${member} must be ${must}.`,
  row_without_client_id: () => 'It has no client_id.',
  row_without_credential: () => 'It has neither client_secret nor client_secret_hash. Give it one of them.',
  row_repeats_client_id: ({ of }) => `It has the same client_id as ${of}. Leave one of them out.`,
  row_of_existing_key: ({ clientId }) =>
    `There is already an API key with the client_id ${clientId}. Leave this row out, delete that key, or keep it with --on-conflict skip.`,

  hydra_other_grant: () =>
    'Its grant_types do not include client_credentials, so it is not an API key. Leave it out of the file.',
  hydra_without_scope: () => 'It has no scope. Name the scopes that all of these keys get: --scope /accounts.write',
  hydra_scopes_are_words: ({ scopes }) =>
    `Its scopes are words (${scopes.join(' ')}), and a scope here is a path with a verb. Name the scopes that all of these keys get instead: --scope /accounts.write`,
  hydra_without_jwks: () =>
    'It signs, and its public keys are not in the file. Put them into jwks: a jwks_uri is not followed.',
  hydra_public_client: () =>
    'It is a public client (token_endpoint_auth_method none), and an API key always has a secret. Leave it out of the file.',
  hydra_other_authentication: () =>
    'Its token_endpoint_auth_method must be client_secret_basic, client_secret_post or private_key_jwt.',
  hydra_without_secret: () =>
    'It has no client_secret: Hydra lists its clients without. Add the hash from its table hydra_client (docs/operating.md).',
  hydra_lifespan_malformed: () =>
    'Its client_credentials_grant_access_token_lifespan is not a duration such as 1h0m0s.',
};

const JWK_FAULTS: Readonly<Record<JwkFault, string>> = {
  not_an_object: 'it is not a JSON object',
  private:
    'it holds the PRIVATE key. Nothing was kept. Stop using that key, make another, and send only its public part',
  unknown_kind: 'only EC P-256 (ES256), OKP Ed25519 (EdDSA) and RSA (PS256) keys are accepted',
  malformed: 'one of its members is malformed',
  wrong_use: 'it is not for signatures (use: sig)',
  weak: 'an RSA key needs 2048 to 8192 bits and the exponent 65537',
};

const HASH_FAULTS: Readonly<Record<ForeignHashFault, string>> = {
  unknown_scheme:
    'its format is unknown. The formats are sha256:HEX, $2a$ $2b$ $2y$ (bcrypt), $pbkdf2-sha256$, $pbkdf2-sha512$, $argon2id$, $argon2i$ and $argon2d$',
  malformed: 'it is cut short or changed. Copy it again from where it comes from, and quote it whole',
  too_costly: `checking it would take too long. At most: bcrypt's cost ${BCRYPT_COST_MAX}, ${PBKDF2_ITERATIONS_MAX} iterations of PBKDF2, argon2's m=${ARGON2_MEMORY_KIB_MAX}, t=${ARGON2_PASSES_MAX}, p=${ARGON2_PARALLELISM_MAX}. Give the key a new secret instead`,
  not_offered: 'this Node has no argon2. Use Node 24.7 or later',
};

const CSV_FAULTS: Readonly<Record<CsvFault, string>> = {
  quote_inside: 'there is a quote inside an unquoted field. Quote the whole field, and double the quote',
  text_after_quote:
    'there is text after the closing quote of a field. Only a separator or the end of the line may follow',
  quote_not_closed: 'a quoted field that begins here does not end',
  record_too_long: 'it is too long',
  too_many_fields: `it has more than ${CSV_FIELDS_MAX} fields`,
  malformed: 'it is malformed',
};

/** What is wrong, what would happen, and what to do about clocks that do not agree. */
function printDifference({ machine, store, of }: ClockDifference): string {
  const isAhead = machine > store;
  const how = `${Math.round(Math.abs(machine - store) / 1000)} s ${isAhead ? 'ahead of' : 'behind'}`;
  const price = isAhead
    ? 'If the clock is wrong, a revocation dated by it would stop all issuing until then.'
    : 'If the clock is wrong, a revocation dated by it would miss the tokens issued since.';
  if (of === 'database') {
    return `This machine's clock is ${how} the database's. ${price} Nothing was changed. Set the clock right, or choose one: --clock store or --clock machine.`;
  }
  return `This machine's clock is ${how} the time that a server last kept in this store, ${new Date(store).toISOString()}. ${price} Nothing was changed. If the clock is right (no server has run for that long), repeat the command with: --clock machine`;
}

type CredentialField = Exclude<RefusedField, KeyFieldName>;

const CREDENTIALS: Readonly<Record<CredentialField, string>> = {
  clientId: 'client_id',
  clientSecret: 'client_secret',
  clientSecretHash: 'client_secret_hash',
};

function isCredential(field: RefusedField): field is CredentialField {
  return field in CREDENTIALS;
}

/** The name of a field in JSON and in the columns of an import. */
function wireOf(field: RefusedField): string {
  return isCredential(field) ? CREDENTIALS[field] : KEY_FIELDS[field].wire;
}

function mustOf(field: RefusedField): string {
  return isCredential(field) ? 'a text' : mustBe(KEY_FIELDS[field]);
}
