/** The answer of the server, and the result or error that it becomes. */
import { parseErrorResponse, parseJson } from '@hallpass/protocol';
import { failed, hasAdvice, isAnswerCode, type HallpassError } from './hallpass_error.ts';

/** An answer with its whole body. Several callers can share it. */
export interface Answer {
  readonly statusCode: number;
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
  /** From `Retry-After`, counted from the arrival of the answer (RFC 9110 §10.2.3). */
  readonly retryAfterSeconds: number | undefined;
}

/** What every result of the SDK has (seed). */
export interface HTTPResponse {
  readonly statusCode: number;
  /** Empty if the answer had none. */
  readonly contentType: string;
  /** The answer as a `Response` with an unread body. Each caller has its own. */
  readonly rawResponse: Response;
}

/** Gives an answer the shape of the seed page. */
export function printResponse(answer: Answer): HTTPResponse {
  const { statusCode, headers } = answer;
  return { statusCode, contentType: headers.get('content-type') ?? '', rawResponse: rawResponseOf(answer) };
}

/** Makes a new response for each caller, because a body can be read only once. */
function rawResponseOf({ statusCode, headers, body }: Answer): Response {
  // A 204 must not have a body, not even an empty one (Fetch §2.2.3).
  return new Response(body.length === 0 ? null : body.slice(), { status: statusCode, headers });
}

/**
 * Whether a success answer could come from a Hallpass server: its body is empty or JSON. A wrong `serverURL` often leads
 * to a web site that answers everything with 200 and a page. To read that as "revoked" would leave a valid token behind.
 */
export function isEmptyOrJson(answer: Answer): boolean {
  return answer.body.length === 0 || parseJson(answer.body) !== undefined;
}

/** Turns an answer into an error. `secrets` are those of the request; they are concealed if the answer repeats them. */
export function errorOf(answer: Answer, secrets: readonly string[]): HallpassError {
  const { statusCode, retryAfterSeconds } = answer;
  // An error code with a status below 400 is a contradiction, so it is not believed.
  const members = statusCode >= 400 ? parseErrorResponse(parseJson(answer.body)) : undefined;
  const error = members?.error ?? '';
  // A known code discloses nothing, even if the secret is a placeholder such as 'client'.
  const code = hasAdvice(error) ? error : conceal(error, secrets);
  const requestId = conceal(answer.headers.get('x-request-id') ?? '', secrets);
  return failed(isAnswerCode(code) ? code : 'unexpected_answer', {
    statusCode,
    description: members?.error_description === undefined ? undefined : sentence(members.error_description, secrets),
    rawResponse: rawResponseOf(answer),
    requestId: REQUEST_ID.test(requestId) ? requestId : undefined,
    retryAfterSeconds,
  });
}

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;
/** How much of the server's description is kept, in characters. */
const DESCRIPTION_LENGTH_MAX = 600;

/** The server's description, safe to log. Secrets are concealed before it is cut, so that no half of one remains. */
function sentence(words: string, secrets: readonly string[]): string {
  return conceal(words, secrets)
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .slice(0, DESCRIPTION_LENGTH_MAX);
}

/** Replaces secrets in a text, plain or form-encoded: a server that quotes our request must not put them into logs. */
export function conceal(text: string, secrets: readonly string[]): string {
  const forms = secrets
    .flatMap((secret) => [secret, new URLSearchParams([['', secret]]).toString().slice(1)])
    .filter((form) => form !== '')
    .toSorted((a, b) => b.length - a.length);
  if (forms.length === 0) return text;
  // In one pass, because a short secret may be part of the replacement text.
  const any = forms.map((form) => form.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`)).join('|');
  return text.replaceAll(new RegExp(any, 'g'), '[concealed]');
}
