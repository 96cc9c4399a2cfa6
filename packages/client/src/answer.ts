/** What came back, whole, and what it means. */
import { parseErrorResponse, parseJson } from '@hallpass/protocol';
import { failed, hasAdvice, isAnswerCode, type HallpassError } from './hallpass_error.ts';

/** An answer that was read to its end. Plain values, so that several callers can have it. */
export interface Answer {
  readonly statusCode: number;
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
  /** From `Retry-After`, counted from when the answer came (RFC 9110 §10.2.3). */
  readonly retryAfterSeconds: number | undefined;
}

/** What every answer of the SDK has (seed). */
export interface HTTPResponse {
  readonly statusCode: number;
  /** Empty when the answer had none. */
  readonly contentType: string;
  /** The answer as `fetch` has it, its body unread, whoever else got the same answer. */
  readonly rawResponse: Response;
}

/** An answer in the shape of the seed page. */
export function printResponse(answer: Answer): HTTPResponse {
  const { statusCode, headers } = answer;
  return { statusCode, contentType: headers.get('content-type') ?? '', rawResponse: rawResponseOf(answer) };
}

/** A response of its own for each caller: a body can be read once. */
function rawResponseOf({ statusCode, headers, body }: Answer): Response {
  // An empty body is none at all: a 204 must not be given one (Fetch §2.2.3).
  return new Response(body.length === 0 ? null : body.slice(), { status: statusCode, headers });
}

/**
 * Whether an answer that needs no body has none, or a JSON one. A wrong `serverURL` often leads to a web site that answers
 * everything with 200 and a page; to take that for "the token is revoked" would leave a live token behind.
 */
export function saysNothingElse(answer: Answer): boolean {
  return answer.body.length === 0 || parseJson(answer.body) !== undefined;
}

/** The error that an answer is. `secrets` are what the request held, lest the answer repeats them. */
export function errorOf(answer: Answer, secrets: readonly string[]): HallpassError {
  const { statusCode, retryAfterSeconds } = answer;
  // An error code below 400 is a contradiction; nobody knows what such a server did.
  const members = statusCode >= 400 ? parseErrorResponse(parseJson(answer.body)) : undefined;
  const said = members?.error ?? '';
  // A known word gives nothing away, even where the secret is a placeholder such as 'client'.
  const code = hasAdvice(said) ? said : conceal(said, secrets);
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
const DESCRIPTION_LENGTH_MAX = 600;

/** The server's words, fit for a log: concealed before they are cut, so that no half of a secret is left at the end. */
function sentence(words: string, secrets: readonly string[]): string {
  return conceal(words, secrets)
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .slice(0, DESCRIPTION_LENGTH_MAX);
}

/** A text without the secrets, plain or as the form had them: a server that quotes its request must not fill our logs. */
export function conceal(text: string, secrets: readonly string[]): string {
  const forms = secrets
    .flatMap((secret) => [secret, new URLSearchParams([['', secret]]).toString().slice(1)])
    .filter((form) => form !== '')
    .toSorted((a, b) => b.length - a.length);
  if (forms.length === 0) return text;
  // In one pass: a short secret may be in the word that stands for another one.
  const any = forms.map((form) => form.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`)).join('|');
  return text.replaceAll(new RegExp(any, 'g'), '[concealed]');
}
