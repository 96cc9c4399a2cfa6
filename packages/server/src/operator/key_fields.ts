/**
 * The fields of an API key that an operator sets, as one table. Validation, command options, import columns, JSON and text
 * output and the printed documents all come from it. To add a field, add it to the store's `Client` and add its row here:
 * neither compiles without the other.
 */
import { ACCESS_TOKEN_SECONDS_MAX, SCOPES_PER_REQUEST_MAX, type ClientPublicKey } from '@hallpass/protocol';
import { SECRETS_MAX } from '../oauth/clients/authentication.ts';
import { GRANT_SECONDS_MAX, REFRESH_TOKEN_SECONDS_MAX } from '../oauth/tokens/revocations.ts';
import type { Client } from '../store/store.ts';

/** The names of the fields, as code has them. */
export type KeyFieldName = Exclude<
  keyof Client,
  'clientId' | 'secrets' | 'disabled' | 'createdAt' | 'updatedAt' | 'version'
>;

interface Row {
  /** In JSON and in the columns of an import. */
  readonly wire: string;
  /** In front of the value, where a key is shown to people. */
  readonly title: string;
}

/** An option that takes a value; dashes are the command line's. */
interface ValueOption {
  readonly name: string;
  /** What the value is, in a word. */
  readonly value: string;
  /** What the field is for, to end a sentence. */
  readonly words: string;
}

/** An option that is on or off, with the value that each stands for. */
interface SwitchOption<Value> {
  readonly name: string;
  readonly on: { readonly value: Value; readonly words: string };
  readonly off: { readonly value: Value; readonly words: string };
}

interface TextField extends Row {
  readonly kind: 'text';
  readonly option: ValueOption;
  /** In characters. */
  readonly lengthMax: number;
}

/** What the items of a list are, and so how each is checked. */
export type ItemKind = 'grantable_scope' | 'scope' | 'audience' | 'origin';

interface ListField extends Row {
  readonly kind: 'list';
  readonly option: ValueOption;
  readonly items: ItemKind;
  readonly itemsMax: number;
}

interface SwitchField extends Row {
  readonly kind: 'switch';
  readonly option: SwitchOption<boolean>;
  readonly initial: boolean;
}

interface ChoiceField<Choice extends string> extends Row {
  readonly kind: 'choice';
  readonly option: ValueOption | SwitchOption<Choice>;
  readonly choices: readonly Choice[];
  /** Undefined: it follows from the key's other fields. */
  readonly initial: Choice | undefined;
}

/** A whole number. A key without one goes by the server's setting. */
interface NumberField extends Row {
  readonly kind: 'number';
  readonly option: ValueOption;
  readonly unit: 'seconds' | 'requests';
  readonly min: number;
  readonly max: number;
}

interface PublicKeysField extends Row {
  readonly kind: 'public_keys';
  readonly option: ValueOption;
  readonly itemsMax: number;
}

/** A row of the table. `kind` says how its value is checked, written and read. */
export type KeyField = TextField | ListField | SwitchField | ChoiceField<string> | NumberField | PublicKeysField;

/** The row that a field needs, by the type that the store has for it. */
type RowOf<Value> = [Value] extends [boolean]
  ? SwitchField
  : [Value] extends [number]
    ? NumberField
    : [Value] extends [readonly ClientPublicKey[]]
      ? PublicKeysField
      : [Value] extends [readonly string[]]
        ? ListField
        : [Value] extends [string]
          ? string extends Value
            ? TextField
            : ChoiceField<Value>
          : never;

/** The longest name, in characters. */
export const NAME_LENGTH_MAX = 100;
/** The most scopes of a key. */
export const SCOPES_PER_KEY_MAX = 500;
/** The most audiences, origins and resource servers of a key, each. */
export const LIST_ITEMS_MAX = 100;

/** The ways a key can authenticate; `client_secret` is by Basic or in the body (ADR 40). */
export const AUTHENTICATIONS = [
  'client_secret',
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
] as const satisfies readonly Client['authentication'][];

/** The table, in the order in which a key is shown. */
export const KEY_FIELDS: { readonly [Name in KeyFieldName]: RowOf<Required<Client>[Name]> } = {
  name: {
    wire: 'name',
    title: 'name',
    kind: 'text',
    option: { name: 'name', value: 'name', words: 'what the key is called, for people' },
    lengthMax: NAME_LENGTH_MAX,
  },
  mode: {
    wire: 'mode',
    title: 'mode',
    kind: 'choice',
    option: { name: 'mode', value: 'mode', words: 'a label for what the key is used for' },
    choices: ['live', 'test'],
    initial: 'live',
  },
  scopes: {
    wire: 'scopes',
    title: 'scopes',
    kind: 'list',
    option: {
      name: 'scope',
      value: 'scope',
      words: 'a scope that the key may have, such as /accounts/{accountID}/transfers.read',
    },
    items: 'grantable_scope',
    itemsMax: SCOPES_PER_KEY_MAX,
  },
  defaultScopes: {
    wire: 'default_scopes',
    title: 'default scopes',
    kind: 'list',
    option: { name: 'default-scope', value: 'scope', words: 'a scope that a request gets when it names none' },
    items: 'scope',
    itemsMax: SCOPES_PER_REQUEST_MAX,
  },
  audiences: {
    wire: 'audiences',
    title: 'audiences',
    kind: 'list',
    option: { name: 'audience', value: 'uri', words: 'an API that tokens may be for; the first is the default' },
    items: 'audience',
    itemsMax: LIST_ITEMS_MAX,
  },
  resourceServerFor: {
    wire: 'resource_server_for',
    title: 'resource server for',
    kind: 'list',
    option: {
      name: 'resource-server',
      value: 'audience',
      words: "for an API's own key: it may introspect tokens for this audience and follow the revocation feed",
    },
    items: 'audience',
    itemsMax: LIST_ITEMS_MAX,
  },
  origins: {
    wire: 'origins',
    title: 'origins',
    kind: 'list',
    option: {
      name: 'origin',
      value: 'origin',
      words: 'a web page origin that may use the key, such as https://app.example.com',
    },
    items: 'origin',
    itemsMax: LIST_ITEMS_MAX,
  },
  requireOrigin: {
    wire: 'require_origin',
    title: 'requires an origin',
    kind: 'switch',
    option: {
      name: 'require-origin',
      on: { value: true, words: 'refuse requests that come from no web page' },
      off: { value: false, words: 'accept requests that come from no web page' },
    },
    initial: false,
  },
  refresh: {
    wire: 'refresh',
    title: 'refresh tokens',
    kind: 'switch',
    option: {
      name: 'refresh',
      on: { value: true, words: 'issue refresh tokens' },
      off: {
        value: false,
        words: 'issue no refresh tokens; best for a server, which holds its secret and can ask for a token at any time',
      },
    },
    initial: true,
  },
  authentication: {
    wire: 'authentication',
    title: 'authenticates by',
    kind: 'choice',
    option: {
      name: 'authentication',
      value: 'method',
      words:
        'the one way in which the key authenticates; client_secret, the default for a key without public keys, is by Basic or in the body',
    },
    choices: AUTHENTICATIONS,
    initial: undefined,
  },
  publicKeys: {
    wire: 'public_keys',
    title: 'public keys',
    kind: 'public_keys',
    option: {
      name: 'public-keys',
      value: 'file',
      words: 'a file with a JWK or a JWK Set: the key signs with these and has no secret (private_key_jwt)',
    },
    itemsMax: SECRETS_MAX,
  },
  requireDpop: {
    wire: 'require_dpop',
    title: 'bound tokens only',
    kind: 'switch',
    option: {
      name: 'require-dpop',
      on: { value: true, words: "issue only tokens that are bound to the caller's own key (RFC 9449)" },
      off: { value: false, words: 'issue unbound tokens too' },
    },
    initial: false,
  },
  accessTokenFormat: {
    wire: 'access_token_format',
    title: 'access tokens',
    kind: 'choice',
    option: {
      name: 'opaque',
      on: { value: 'opaque', words: 'issue access tokens that only introspection can read' },
      off: { value: 'jwt', words: 'issue signed access tokens' },
    },
    choices: ['jwt', 'opaque'],
    initial: 'jwt',
  },
  accessTtlSeconds: {
    wire: 'access_ttl_seconds',
    title: 'access tokens live',
    kind: 'number',
    option: {
      name: 'access-ttl',
      value: 'duration',
      words: 'how long an access token lives, such as 5m; never longer than the server allows',
    },
    unit: 'seconds',
    min: 1,
    max: ACCESS_TOKEN_SECONDS_MAX,
  },
  refreshTtlSeconds: {
    wire: 'refresh_ttl_seconds',
    title: 'grants end unused after',
    kind: 'number',
    option: {
      name: 'refresh-ttl',
      value: 'duration',
      words: 'how long a grant lives after its last refresh, such as 12h',
    },
    unit: 'seconds',
    min: 1,
    max: REFRESH_TOKEN_SECONDS_MAX,
  },
  refreshMaxTtlSeconds: {
    wire: 'refresh_max_ttl_seconds',
    title: 'grants live at most',
    kind: 'number',
    option: {
      name: 'refresh-max-ttl',
      value: 'duration',
      words: 'how long a grant lives at most, however often it is refreshed, such as 90d',
    },
    unit: 'seconds',
    min: 1,
    max: GRANT_SECONDS_MAX,
  },
  refreshGraceSeconds: {
    wire: 'refresh_grace_seconds',
    title: 'refresh grace',
    kind: 'number',
    option: {
      name: 'refresh-grace',
      value: 'duration',
      words: 'how long after a rotation the previous refresh token still returns the newest one',
    },
    unit: 'seconds',
    min: 0,
    max: REFRESH_TOKEN_SECONDS_MAX,
  },
  requestsPerSecond: {
    wire: 'requests_per_second',
    title: 'requests a second',
    kind: 'number',
    option: { name: 'requests-per-second', value: 'count', words: 'how many requests a second the key may make' },
    unit: 'requests',
    min: 1,
    max: 1_000_000,
  },
};

/** The fields with their names, in the order of the table. */
export const KEY_FIELD_ROWS: readonly (readonly [name: KeyFieldName, field: KeyField])[] = listRows(KEY_FIELDS);

function listRows(fields: object): readonly (readonly [name: KeyFieldName, field: KeyField])[];
function listRows(fields: object): readonly (readonly [name: string, field: unknown])[] {
  return Object.entries(fields);
}

/** Values for fields of a key. One that is undefined, or left out where a key is made, gets its default. */
export type KeyFieldValues = {
  readonly [Name in Exclude<KeyFieldName, 'publicKeys'>]?: Client[Name] | undefined;
} & {
  /** JWKs that are not checked yet. */
  readonly publicKeys?: readonly unknown[] | undefined;
};

/** The default of a field, where there is one. */
export function initialOf(field: KeyField): unknown {
  if (field.kind === 'switch' || field.kind === 'choice') return field.initial;
  return field.kind === 'list' || field.kind === 'public_keys' ? [] : undefined;
}

/** What a field is for, in words that could end a sentence. */
export function wordsOf({ option }: KeyField): string {
  return 'words' in option ? option.words : option.on.words;
}

/** What a value of a field has to be, to end the sentence `scopes must be ...`. */
export function mustBe(field: KeyField): string {
  switch (field.kind) {
    case 'text':
      return 'a string';
    case 'list':
      return 'a list of strings';
    case 'switch':
      return 'true or false';
    case 'choice':
      return `${field.choices.slice(0, -1).join(', ')} or ${field.choices.at(-1)}`;
    case 'number':
      return `a whole number${field.unit === 'seconds' ? ' of seconds' : ''} from ${field.min} to ${field.max}`;
    case 'public_keys':
      return 'a list of JWKs';
  }
}

/** Whether a value has the type of a field. Bounds are `checkPolicy`'s, except that a choice has to be one there is. */
export function hasTypeOf(field: KeyField, value: unknown): boolean {
  switch (field.kind) {
    case 'text':
      return typeof value === 'string';
    case 'list':
      return Array.isArray(value) && value.every((item) => typeof item === 'string');
    case 'switch':
      return typeof value === 'boolean';
    case 'choice':
      return typeof value === 'string' && field.choices.includes(value);
    case 'number':
      return typeof value === 'number';
    case 'public_keys':
      return Array.isArray(value);
  }
}
