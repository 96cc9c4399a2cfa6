/** What a key may be: the wish of an operator, judged. Pure rules; each refusal says what to do instead. */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  CLIENT_ID_LENGTH_MAX,
  CLIENT_SECRET_LENGTH_MAX,
  isReserved,
  describeScopeFault,
  isScope,
  parsePublicJwk,
  parseScope,
  SCOPE_LIST_LENGTH_MAX,
  SCOPES_PER_REQUEST_MAX,
  ScopeSet,
  type ClientPublicKey,
  type JwkFault,
  type Scope,
} from '@hallpass/protocol';
import {
  ARGON2_MEMORY_KIB_MAX,
  ARGON2_PARALLELISM_MAX,
  ARGON2_PASSES_MAX,
  BCRYPT_COST_MAX,
  parseForeignHash,
  PBKDF2_ITERATIONS_MAX,
  type ForeignHashFault,
} from '../oauth/imported_secrets/foreign_hash.ts';
import { couldBeGuessed } from '../oauth/keys/secret_hash.ts';
import { canonicalOrigin } from '../oauth/clients/origins.ts';
import { GRANT_SECONDS_MAX, REFRESH_TOKEN_SECONDS_MAX } from '../oauth/tokens/revocations.ts';
import type { Client } from '../store/store.ts';
import { judging, memberOf, OperatorRefusal } from './operator_refusal.ts';

/** Credentials that exist already, of another system or of an earlier one. */
export interface ImportedCredentials {
  readonly clientId: string;
  /** Of the two at most one; none for a key that signs. */
  readonly clientSecret?: string;
  /** As `oauth/foreign_hash.ts` reads it: the secret is hashed anew when it is first used. */
  readonly clientSecretHash?: string;
  readonly allowWeak: boolean;
  readonly disabled?: boolean;
}

/** The ways in which a key can show that it is itself; `client_secret`: by Basic or in the body (ADR 40). */
export const AUTHENTICATIONS = [
  'client_secret',
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
] as const satisfies readonly Client['authentication'][];

/** What a new key is to be. */
export interface NewApiKey {
  readonly name: string;
  /** Default: `private_key_jwt` for one with public keys, else `client_secret`. */
  readonly authentication?: Client['authentication'];
  readonly mode?: Client['mode'];
  readonly scopes?: readonly string[];
  readonly defaultScopes?: readonly string[];
  readonly audiences?: readonly string[];
  readonly resourceServerFor?: readonly string[];
  readonly origins?: readonly string[];
  readonly requireOrigin?: boolean;
  readonly refresh?: boolean;
  readonly requireDpop?: boolean;
  readonly accessTokenFormat?: Client['accessTokenFormat'];
  readonly accessTtlSeconds?: number;
  readonly refreshTtlSeconds?: number;
  readonly refreshMaxTtlSeconds?: number;
  readonly refreshGraceSeconds?: number;
  readonly requestsPerSecond?: number;
  /** JWKs: the key authenticates with these, and has no secret (RFC 7523). */
  readonly publicKeys?: readonly unknown[];
  /** Credentials that exist already, to be taken over. */
  readonly imported?: ImportedCredentials;
}

/** The longest name, in characters, and the longest lists. */
export const NAME_LENGTH_MAX = 100;
export const SCOPES_PER_KEY_MAX = 500;
export const LIST_ITEMS_MAX = 100;
export const AUDIENCE_LENGTH_MAX = 256;

type Policy = Omit<
  Client,
  'clientId' | 'authentication' | 'secrets' | 'publicKeys' | 'disabled' | 'createdAt' | 'updatedAt' | 'version'
>;

/** The policy that a wish comes to, or an `OperatorRefusal` with what is wrong with it. */
export function checkPolicy(wanted: NewApiKey): Policy {
  const { name, mode = 'live', requireOrigin = false, refresh = true } = wanted;
  const { scopes = [], defaultScopes = [], audiences = [], resourceServerFor = [], origins = [] } = wanted;
  if (name.trim() === '' || name.length > NAME_LENGTH_MAX || /\p{Cc}/u.test(name)) {
    throw new OperatorRefusal(`A name is 1 to ${NAME_LENGTH_MAX} printable characters.`, { about: 'name' });
  }
  judging('scopes', () => checkLength('scopes', scopes, SCOPES_PER_KEY_MAX));
  judging('defaultScopes', () => checkLength('default scopes', defaultScopes, SCOPES_PER_REQUEST_MAX));
  if (defaultScopes.join(' ').length > SCOPE_LIST_LENGTH_MAX) {
    throw new OperatorRefusal(
      `The default scopes are longer than ${SCOPE_LIST_LENGTH_MAX} characters in all. Give the key fewer.`,
      { about: 'defaultScopes' },
    );
  }
  judging('audiences', () => checkLength('audiences', audiences, LIST_ITEMS_MAX));
  judging('origins', () => checkLength('origins', origins, LIST_ITEMS_MAX));
  judging('resourceServerFor', () => checkLength('resource servers', resourceServerFor, LIST_ITEMS_MAX));
  if (scopes.length === 0 && resourceServerFor.length === 0) {
    throw new OperatorRefusal(
      "A key needs at least one scope: --scope /accounts.write. (A resource server's key may have none.)",
    );
  }
  const allowed = new ScopeSet(judging('scopes', () => scopes.map((text) => checkGrantable(text))));
  for (const text of defaultScopes) {
    const scope = judging('defaultScopes', () => checkScope(text));
    if (scope.parameters.length > 0)
      throw new OperatorRefusal(`A default scope has no parameters: ${text}. Put values in their places.`, {
        quoted: text,
        about: 'defaultScopes',
      });
    if (!allowed.contains(scope))
      throw new OperatorRefusal(`The default scope ${text} is not among the key's scopes.`, {
        quoted: text,
        about: 'defaultScopes',
      });
  }
  if (requireOrigin && origins.length === 0) {
    throw new OperatorRefusal(
      'A key that requires an origin needs a list of them: add --origin https://app.example.com.',
    );
  }
  return {
    name,
    mode,
    scopes: [...new Set(scopes)],
    defaultScopes: [...new Set(defaultScopes)],
    audiences: [...new Set(judging('audiences', () => audiences.map(checkAudience)))],
    resourceServerFor: [...new Set(judging('resourceServerFor', () => resourceServerFor.map(checkAudience)))],
    origins: [...new Set(judging('origins', () => origins.map(checkOrigin)))],
    requireOrigin,
    refresh,
    requireDpop: wanted.requireDpop ?? false,
    accessTokenFormat: wanted.accessTokenFormat ?? 'jwt',
    ...checkNumbers(wanted),
  };
}

function checkNumbers(wanted: NewApiKey): Pick<Client, keyof typeof NUMBERS> {
  const numbers: { -readonly [Name in keyof typeof NUMBERS]?: number } = {};
  for (const name of NUMBER_NAMES) {
    const value = wanted[name];
    const { min, max } = NUMBERS[name];
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      const unit = name.endsWith('Seconds') ? ' of seconds' : '';
      throw new OperatorRefusal(`${memberOf(name)} must be a whole number${unit} from ${min} to ${max}.`, {
        about: name,
      });
    }
    numbers[name] = value;
  }
  return numbers;
}

const NUMBERS = {
  accessTtlSeconds: { min: 1, max: ACCESS_TOKEN_SECONDS_MAX },
  refreshTtlSeconds: { min: 1, max: REFRESH_TOKEN_SECONDS_MAX },
  refreshMaxTtlSeconds: { min: 1, max: GRANT_SECONDS_MAX },
  refreshGraceSeconds: { min: 0, max: REFRESH_TOKEN_SECONDS_MAX },
  requestsPerSecond: { min: 1, max: 1_000_000 },
} as const;
const NUMBER_NAMES = [
  'accessTtlSeconds',
  'refreshTtlSeconds',
  'refreshMaxTtlSeconds',
  'refreshGraceSeconds',
  'requestsPerSecond',
] as const;

const JWK_FAULTS: Record<JwkFault, string> = {
  not_an_object: 'it is not a JSON object',
  private: 'it holds the PRIVATE key. Nothing was kept; give that key up, make another, and send its public part alone',
  unknown_kind: 'only EC P-256 (ES256), OKP Ed25519 (EdDSA) and RSA (PS256) keys are taken',
  malformed: 'one of its members is malformed',
  wrong_use: 'it is not for signatures (use: sig)',
  weak: 'an RSA key has 2048 to 8192 bits and the exponent 65537',
};

/** A JWK as the public key of a client; refused when it cannot be one. */
export function checkPublicKey(jwk: unknown): ClientPublicKey {
  const key = parsePublicJwk(jwk);
  if (typeof key !== 'string') return key;
  throw new OperatorRefusal(`This is not a public key that can be used: ${JWK_FAULTS[key]}.`);
}

/** Refuses a list with more items than there may be. */
export function checkLength(what: string, list: readonly unknown[], max: number): void {
  if (list.length > max) throw new OperatorRefusal(`A key has at most ${max} ${what}.`);
}

function checkScope(text: string): Scope {
  const scope = parseScope(text);
  if (isScope(scope)) return scope;
  throw new OperatorRefusal(
    `This is not a scope: ${text} (${describeScopeFault(scope)}). A scope is a path with a verb, such as /accounts.write or /accounts/{accountID}/transfers.read.`,
    { quoted: text },
  );
}

/** A reserved template would grant nothing, whatever its author expects of it (contract §10). */
function checkGrantable(text: string): Scope {
  const scope = checkScope(text);
  if (scope.parameters.length === 0 || !isReserved(scope)) return scope;
  throw new OperatorRefusal(
    `No parameter stands for a scope that begins with /oauth2/ or /admin/: ${text} would grant nothing. Write out each scope that the key may have.`,
    { quoted: text },
  );
}

/** An audience is an absolute URI without a fragment (RFC 8707 §2), kept to the letter. */
function checkAudience(text: string): string {
  if (text.length > AUDIENCE_LENGTH_MAX)
    throw new OperatorRefusal(`An audience has at most ${AUDIENCE_LENGTH_MAX} characters.`);
  if (/^[a-z][a-z0-9+.-]*:[\x21\x23-\x5b\x5d-\x7e]+$/i.test(text) && URL.canParse(text) && !text.includes('#'))
    return text;
  throw new OperatorRefusal(
    `This is not an audience: ${text}. An audience is an absolute URI without a fragment, such as https://api.example.com.`,
    { quoted: text },
  );
}

function checkOrigin(text: string): string {
  const origin = canonicalOrigin(text);
  if (origin !== undefined) return origin;
  throw new OperatorRefusal(
    `This is not an origin: ${text}. An origin is a scheme, a host and perhaps a port, with no slash at its end, such as https://app.example.com.`,
    { quoted: text },
  );
}

/** RFC 6749 appendix A.1, A.2: a space is one of them. */
const VSCHARS = /^[\x20-\x7e]+$/;

/** Credentials of another system, if they can be taken over. */
export function checkImported(imported: ImportedCredentials): ImportedCredentials {
  const { clientId, clientSecret, clientSecretHash, allowWeak } = imported;
  if (!VSCHARS.test(clientId) || clientId.length > CLIENT_ID_LENGTH_MAX) {
    throw new OperatorRefusal(`A client_id is 1 to ${CLIENT_ID_LENGTH_MAX} printable ASCII characters.`, {
      about: 'clientId',
    });
  }
  if (clientSecret !== undefined && clientSecretHash !== undefined) {
    throw new OperatorRefusal('A key is imported with its secret or with a hash of it. Leave out the hash.');
  }
  if (clientSecret !== undefined) judging('clientSecret', () => checkSecret(clientSecret, allowWeak));
  if (clientSecretHash !== undefined) checkSecretHash(clientSecretHash);
  return imported;
}

/** How a key authenticates, if it can with what it has. `signs`: it has public keys, and so no secret. */
export function checkAuthentication(
  wanted: Client['authentication'] | undefined,
  { signs }: { readonly signs: boolean },
): Client['authentication'] {
  const authentication = wanted ?? (signs ? 'private_key_jwt' : 'client_secret');
  if (signs === (authentication === 'private_key_jwt')) return authentication;
  throw new OperatorRefusal(
    signs
      ? `A key with public keys signs, and authenticates by private_key_jwt alone: leave out ${authentication}.`
      : 'A key that authenticates by private_key_jwt has public keys and no secret. Make it with --public-keys.',
  );
}

/** A guard follows the feed by Basic, as RFC 7617 has it: an id with a colon would be cut there. */
export function checkResourceServer({
  clientId,
  resourceServerFor,
}: Pick<Client, 'clientId' | 'resourceServerFor'>): void {
  if (resourceServerFor.length === 0 || !clientId.includes(':')) return;
  throw new OperatorRefusal(
    "The client_id of a resource server's key has no colon: its guard sends it by Basic (RFC 7617). Make a new key for the API.",
  );
}

function checkSecret(clientSecret: string, allowWeak: boolean): void {
  if (!VSCHARS.test(clientSecret) || clientSecret.length > CLIENT_SECRET_LENGTH_MAX) {
    throw new OperatorRefusal(`A client_secret is 1 to ${CLIENT_SECRET_LENGTH_MAX} printable ASCII characters.`);
  }
  if (couldBeGuessed(clientSecret) && !allowWeak) {
    throw new OperatorRefusal(
      'This client_secret could be guessed: it is shorter than 22 characters or uses fewer than 10 different ones. Make a new key instead, or import it all the same with --allow-weak-secret.',
    );
  }
}

const HASH_FAULTS: Record<ForeignHashFault, string> = {
  unknown_scheme:
    'it is of no kind that is read. Those are sha256:HEX, $2a$ $2b$ $2y$ (bcrypt), $pbkdf2-sha256$, $pbkdf2-sha512$, $argon2id$, $argon2i$ and $argon2d$',
  malformed: 'it is cut short, or changed. Take it once more from where it comes from, and quote it whole',
  too_costly: `checking it would take too long. At most: bcrypt's cost ${BCRYPT_COST_MAX}, ${PBKDF2_ITERATIONS_MAX} iterations of PBKDF2, argon2's m=${ARGON2_MEMORY_KIB_MAX}, t=${ARGON2_PASSES_MAX}, p=${ARGON2_PARALLELISM_MAX}. Give the key a new secret instead`,
  not_offered: 'this Node has no argon2. Use Node 24.7 or later',
};

function checkSecretHash(text: string): void {
  const parsed = parseForeignHash(text);
  if (typeof parsed === 'string')
    throw new OperatorRefusal(`This client_secret_hash cannot be taken over: ${HASH_FAULTS[parsed]}.`);
}
