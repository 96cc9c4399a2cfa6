/**
 * A client of a server process, over real keep-alive sockets. Only a response that arrived completely counts as an
 * acknowledgement.
 */
import { Agent, request } from 'node:http';
import type { Credentials } from '../process/process.ts';

/** A response that arrived completely. */
export interface Answer {
  readonly status: number;
  readonly members: ReadonlyMap<string, unknown>;
}

/** The tokens of one response. */
export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
}

/** The fields of a form. */
export type Fields = Readonly<Record<string, string>>;

/** A client with one API key. */
export class Client {
  readonly #url: string;
  readonly #authorization: string;
  readonly #agent: Agent;
  #ignoring = false;

  /** `callers` is how many requests may be in flight at once. */
  constructor(url: string, { clientId, clientSecret }: Credentials, { callers }: { readonly callers: number }) {
    this.#url = url;
    this.#authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`;
    this.#agent = new Agent({ keepAlive: true, maxSockets: callers });
  }

  /** Returns the response once its last byte has arrived, or undefined if it never did. */
  post(path: string, fields: Fields): Promise<Answer | undefined> {
    const body = new URLSearchParams(fields).toString();
    const headers = {
      authorization: this.#authorization,
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(body),
    };
    return new Promise((resolve) => {
      const asked = request(this.#url + path, { method: 'POST', agent: this.#agent, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', () => resolve(undefined));
        response.on('close', () => {
          const status = response.statusCode ?? 0;
          const heard = response.complete && !this.#ignoring;
          resolve(heard ? { status, members: parseMembers(Buffer.concat(chunks)) } : undefined);
        });
      });
      asked.on('error', () => resolve(undefined));
      asked.end(body);
    });
  }

  /** Ignores every further response: in a power cut, the client would not hear them either. */
  ignoreResponses(): void {
    this.#ignoring = true;
  }

  issue(scope: string): Promise<Answer | undefined> {
    return this.post('/oauth2/token', { grant_type: 'client_credentials', scope });
  }

  refresh(refreshToken: string): Promise<Answer | undefined> {
    return this.post('/oauth2/token', { grant_type: 'refresh_token', refresh_token: refreshToken });
  }

  revoke(token: string): Promise<Answer | undefined> {
    return this.post('/oauth2/revoke', { token });
  }

  /** Whether a token is active; undefined if the server did not answer. */
  async isActive(token: string): Promise<boolean | undefined> {
    const answer = await this.post('/oauth2/introspect', { token });
    return answer?.status === 200 ? answer.members.get('active') === true : undefined;
  }

  /** Closes its sockets. */
  close(): void {
    this.#agent.destroy();
  }
}

/** The tokens of a successful response of the token endpoint; undefined for any other. */
export function tokensOf(answer: Answer | undefined): Tokens | undefined {
  if (answer?.status !== 200) return undefined;
  const accessToken = answer.members.get('access_token');
  const refreshToken = answer.members.get('refresh_token');
  return typeof accessToken === 'string' && typeof refreshToken === 'string'
    ? { accessToken, refreshToken }
    : undefined;
}

/** Whether a refresh was refused for good, with 400 `invalid_grant`. */
export function isInvalidGrant(answer: Answer | undefined): boolean {
  return answer?.status === 400 && answer.members.get('error') === 'invalid_grant';
}

function parseMembers(bytes: Buffer): ReadonlyMap<string, unknown> {
  const document: unknown = bytes.length === 0 ? {} : JSON.parse(bytes.toString());
  return new Map(Object.entries(document ?? {}));
}
