/** A server on a real socket that gives scripted answers and records its requests. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import { Hallpass, type HallpassOptions } from '@hallpass/client';

type Runtime = NonNullable<ConstructorParameters<typeof Hallpass>[1]>;

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A scripted answer; a function handles the socket itself. */
export type Answer =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string | object }
  | Handler;
export type Handler = (response: ServerResponse, asked: Asked) => void;

export interface TestServer {
  readonly url: string;
  readonly asked: readonly Asked[];
  /** Replaces the answers and forgets the requests. The n-th request gets the n-th answer; later ones get the last. */
  readonly tell: (...answers: readonly Answer[]) => void;
}

/** Starts the server on a free port. It ends with the test. */
export async function startServer(t: TestContext, ...answers: readonly Answer[]): Promise<TestServer> {
  let told = answers;
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      const one: Asked = { method, path, headers, body: Buffer.concat(chunks).toString() };
      asked.push(one);
      const answer = told[Math.min(asked.length, told.length) - 1];
      if (answer === undefined) throw new Error('the test gave the server no answer');
      if (typeof answer === 'function') return answer(response, one);
      const { status, body = '' } = answer;
      response.writeHead(status, { 'content-type': 'application/json', ...answer.headers });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    asked,
    tell: (...next) => {
      told = next;
      asked.length = 0;
    },
  };
}

/** Time that passes at once and is recorded. */
export interface TestTime {
  readonly slept: readonly number[];
  readonly runtime: Runtime;
  /** Lets every running attempt time out. */
  readonly endAllTimers: () => void;
}

export const NOW = Date.UTC(2031, 4, 6, 7, 8, 9);

export function testTime(random = 0): TestTime {
  const slept: number[] = [];
  const timers = new Set<() => void>();
  return {
    slept,
    endAllTimers: () => {
      for (const onEnd of timers) onEnd();
    },
    runtime: {
      now: () => NOW,
      random: () => random,
      sleep: (milliseconds) => {
        slept.push(milliseconds);
        return Promise.resolve();
      },
      startTimer: (_milliseconds, onEnd) => {
        timers.add(onEnd);
        return () => timers.delete(onEnd);
      },
    },
  };
}

/** An SDK for a server, with a fixed clock. */
export function hallpassOf(
  server: TestServer,
  options: Omit<HallpassOptions, 'serverURL'> = {},
  time: TestTime = testTime(),
): Hallpass {
  return new Hallpass({ serverURL: server.url, ...options }, time.runtime);
}

/** The example pair of the seed page, and tokens that are easy to find if they are printed anywhere. */
export const KEY = { clientId: '5clTR_MdVrrkgxw2', clientSecret: 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-' } as const;
export const REFRESH_TOKEN = 'hprt_secret-refresh-1';
export const TOKENS = {
  access_token: 'eyJ.secret-access.1',
  token_type: 'Bearer',
  expires_in: 900,
  scope: '/accounts.write',
  refresh_token: 'hprt_secret-refresh-2',
} as const;
export const REFRESH = { ...KEY, grantType: 'refresh_token', refreshToken: REFRESH_TOKEN } as const;
export const FIRST = { ...KEY, grantType: 'client_credentials', scope: '/accounts.write' } as const;

/** Calls a method past its types, as JavaScript does (types.test.ts has what the types forbid). */
export async function callAsJavaScript(target: object, method: string, argument: unknown): Promise<unknown> {
  const called: unknown = Reflect.get(target, method);
  if (typeof called !== 'function') throw new Error(`no ${method}`);
  return await Reflect.apply(called, target, [argument]);
}
