/** The credentials that a request presents (RFC 6749 §2.3, RFC 7523 §2.2): parsed, and not yet verified. */
import {
  CLIENT_ASSERTION_TYPE,
  CLIENT_ID_LENGTH_MAX,
  escapeControls,
  parseBasicReadings,
  parsePlainBasic,
  refuse,
  type ClientCredentials,
  type Parameters,
  type Refusal,
} from '@hallpass/protocol';
import type { Client } from '../../store/store.ts';
import { couldBeGuessed } from '../keys/secret_hash.ts';

/** A client's id and secret, and where they came from. */
export interface PresentedSecret {
  readonly method: 'client_secret';
  /** `both`: in the header, and the same in the body. */
  readonly from: 'header' | 'body' | 'both';
  /** One, or two if a Basic header can be read in two ways. The likelier one is first. */
  readonly readings: readonly ClientCredentials[];
}

/** A signed assertion, and the `client_id` beside it. */
export interface PresentedAssertion {
  readonly method: 'private_key_jwt';
  readonly assertion: string;
  readonly clientId: string | undefined;
}

/**
 * The credentials in a request, or a refusal. `parameters` are those of an OAuth endpoint, where Basic is form-encoded (RFC
 * 6749 §2.3.1), though an imported secret may come unencoded. Without parameters the request is for a protected resource,
 * where Basic is plain (RFC 7617).
 */
export function readCredentials(
  header: string | undefined,
  parameters: Parameters | undefined,
): PresentedSecret | PresentedAssertion | Refusal {
  const values = parameters?.values;
  const assertion = values?.get('client_assertion');
  const type = values?.get('client_assertion_type');
  const clientId = values?.get('client_id');
  const clientSecret = values?.get('client_secret');
  if (assertion === undefined && type === undefined) {
    if (header === undefined) return inBody(clientId, clientSecret);
    const basic = parameters === undefined ? readPlain(header) : parseBasicReadings(header);
    return inHeader(basic, { clientId, clientSecret });
  }
  // One way to authenticate at a time (RFC 6749 §2.3).
  const alone = header === undefined && clientSecret === undefined;
  if (assertion === undefined || type !== CLIENT_ASSERTION_TYPE || !alone) return refuse('malformed_assertion');
  return { method: 'private_key_jwt', assertion, clientId };
}

function inBody(clientId: string | undefined, clientSecret: string | undefined): PresentedSecret | Refusal {
  if (clientId === undefined || clientSecret === undefined) {
    return refuse('authentication_failed', { because: 'no credentials' });
  }
  return { method: 'client_secret', from: 'body', readings: [{ clientId, clientSecret }] };
}

function readPlain(header: string): readonly ClientCredentials[] {
  const basic = parsePlainBasic(header);
  return basic === undefined ? [] : [basic];
}

/** What the body repeats must be the same as the header, in at least one reading of it. */
function inHeader(
  basic: readonly ClientCredentials[],
  body: { readonly [Half in keyof ClientCredentials]: string | undefined },
): PresentedSecret | Refusal {
  if (basic.length === 0) {
    return refuse('authentication_failed', { because: 'Authorization is not well-formed Basic' });
  }
  const readings = basic.filter(
    ({ clientId, clientSecret }) =>
      (body.clientId ?? clientId) === clientId && (body.clientSecret ?? clientSecret) === clientSecret,
  );
  if (readings.length === 0) return refuse('conflicting_credentials');
  return { method: 'client_secret', from: body.clientSecret === undefined ? 'header' : 'both', readings };
}

/** Where a key's secret may come from, by its method. The registered method is the only one (ADR 40). */
const PLACES: Record<Client['authentication'], readonly PresentedSecret['from'][]> = {
  client_secret: ['header', 'body', 'both'],
  client_secret_basic: ['header'],
  client_secret_post: ['body'],
  private_key_jwt: [],
};

/** Whether a key accepts its secret from this place. */
export function takesSecretFrom({ authentication }: Client, from: PresentedSecret['from']): boolean {
  return PLACES[authentication].includes(from);
}

/** How much of an id that may be a secret is logged, in characters. */
const CLAIM_SHOWN_LENGTH = 6;

/**
 * The id that an unknown caller claims, as far as the log may hold it. A secret may be in its place, by mistake or because
 * the two were swapped. So only the beginning of an unguessable text is kept, and nothing of one that was also sent as the
 * secret.
 */
export function screenClaim(clientId: string | undefined, clientSecret?: string): string | undefined {
  if (clientId === undefined || clientId === '' || clientId === clientSecret) return undefined;
  const isShort = clientId.length <= CLIENT_ID_LENGTH_MAX && couldBeGuessed(clientId);
  return escapeControls(isShort ? clientId : `${clientId.slice(0, CLAIM_SHOWN_LENGTH)}...`);
}
