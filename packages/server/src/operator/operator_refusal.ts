/**
 * Why something that an operator asked for is not done: a reason out of a closed set, with its data. A reason says nothing
 * about options or commands. Whoever shows it, such as the command line, has a sentence for each.
 */
import type { JwkFault, ScopeFault } from '@hallpass/protocol';
import type { ForeignHashFault } from '../oauth/imported_secrets/foreign_hash.ts';
import type { ClockDifference } from '../oauth/trusted_time.ts';
import type { KeyFieldName } from './key_fields.ts';

/** A field that a refusal is about: one of the table, or a credential that is taken over. */
export type RefusedField = KeyFieldName | 'clientId' | 'clientSecret' | 'clientSecretHash';

interface About {
  readonly field: RefusedField;
}

/** A text as it was given. It may be a secret that stands in the wrong place: an import hides it. */
interface Quoting extends About {
  readonly value: string;
}

interface OfKey {
  readonly clientId: string;
}

interface Bounded {
  readonly max: number;
}

/** No data. */
// oxlint-disable-next-line no-generated-empty-object-type -- a reason without data has an empty object for it
type Nothing = Readonly<Record<never, never>>;

/** The reasons, each with its data. */
export interface RefusalReasons {
  // The fields of a key.
  readonly name_malformed: About & Bounded;
  readonly number_out_of_bounds: About;
  readonly too_many_items: About & Bounded;
  readonly default_scopes_too_long: About & Bounded;
  readonly scope_needed: Nothing;
  readonly scope_malformed: Quoting & { readonly fault: ScopeFault };
  /** A template that begins with a reserved segment would grant nothing (contract §10). */
  readonly scope_reserved: Quoting;
  readonly default_scope_has_parameters: Quoting;
  readonly default_scope_not_granted: Quoting;
  readonly audience_malformed: Quoting;
  readonly audience_too_long: About & Bounded;
  readonly origin_malformed: Quoting;
  readonly origins_needed: Nothing;
  readonly public_key_unusable: About & { readonly fault: JwkFault };
  readonly public_keys_needed: Nothing;
  readonly authentication_needs_public_keys: Nothing;
  readonly authentication_needs_secret: { readonly authentication: string };
  readonly resource_server_with_colon: Nothing;

  // Credentials that are taken over.
  readonly client_id_malformed: About & Bounded;
  readonly client_secret_malformed: About & Bounded;
  readonly client_secret_guessable: About;
  readonly client_secret_hash_unusable: About & { readonly fault: ForeignHashFault };
  readonly secret_beside_hash: Nothing;
  readonly secret_beside_public_keys: Nothing;
  readonly credential_missing: Nothing;

  // API keys in the store.
  readonly key_unknown: OfKey;
  readonly key_exists: OfKey;
  readonly key_changed: OfKey;
  readonly key_signs: OfKey;
  readonly key_has_secret: OfKey;
  readonly too_many_keys: Bounded;

  // The issuer's own keys. `keys` is the word for their use, such as `signing`.
  readonly issuer_key_unknown: { readonly keys: string; readonly keyId: string };
  readonly issuer_key_waiting: { readonly keys: string; readonly keyId: string };
  readonly issuer_key_not_added: { readonly keys: string };

  // Revocations.
  readonly clocks_differ: { readonly difference: ClockDifference };

  // A file of keys, as a whole.
  readonly file_too_large: Bounded;
  readonly file_not_utf8: Nothing;
  readonly file_not_csv: { readonly line: number; readonly fault: CsvFault };
  readonly file_not_json: { readonly line: number | undefined };
  readonly file_not_array: Nothing;
  readonly file_with_too_many_keys: Bounded;
  readonly file_without_header: { readonly columns: readonly string[] };
  /** `name` is undefined where it could be a secret. `at` counts from 1. */
  readonly column_unknown: {
    readonly name: string | undefined;
    readonly at: number;
    readonly columns: readonly string[];
  };
  readonly column_repeated: { readonly name: string };
  readonly too_many_new_keys: Bounded & { readonly room: number; readonly wanted: number };

  // One row of a file.
  readonly row_not_an_object: Nothing;
  readonly row_with_other_columns: {
    readonly fields: number;
    readonly columns: number;
    readonly separators: string;
  };
  readonly member_unknown: {
    readonly name: string | undefined;
    readonly at: number;
    readonly members: readonly string[];
  };
  readonly member_malformed: { readonly member: string; readonly must: string };
  readonly row_without_client_id: Nothing;
  readonly row_without_credential: Nothing;
  readonly row_repeats_client_id: { readonly of: string };
  readonly row_of_existing_key: OfKey;

  // One client of Ory Hydra's export.
  readonly hydra_other_grant: Nothing;
  readonly hydra_without_scope: Nothing;
  readonly hydra_scopes_are_words: { readonly scopes: readonly string[] };
  readonly hydra_without_jwks: Nothing;
  readonly hydra_public_client: Nothing;
  readonly hydra_other_authentication: Nothing;
  readonly hydra_without_secret: Nothing;
  readonly hydra_lifespan_malformed: Nothing;
}

/** What is wrong with a CSV file. No word of the file itself: it may hold secrets. */
export type CsvFault =
  | 'quote_inside'
  | 'text_after_quote'
  | 'quote_not_closed'
  | 'record_too_long'
  | 'too_many_fields'
  | 'malformed';

/** The code of a reason. */
export type RefusalCode = keyof RefusalReasons;

/** Thrown where an operator's request is refused. Nothing was changed. */
export class OperatorRefusal extends Error {
  override readonly name = 'OperatorRefusal';
  readonly code: RefusalCode;
  readonly data: RefusalReasons[RefusalCode];

  constructor(code: RefusalCode, data: RefusalReasons[RefusalCode]) {
    // The code alone: the data may hold what was given, and a stack may be logged.
    super(code);
    this.code = code;
    this.data = data;
  }
}

/** A refusal whose data belong to its code. */
export function operatorRefusal<Code extends RefusalCode>(code: Code, data: RefusalReasons[Code]): OperatorRefusal {
  return new OperatorRefusal(code, data);
}

/** Whether an error is the refusal with this code. */
export function isRefusedFor(error: unknown, code: RefusalCode): boolean {
  return error instanceof OperatorRefusal && error.code === code;
}
