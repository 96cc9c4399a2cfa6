/** The log: lines on standard error, one a request; JSON, or short ones for a terminal. It is given names and reasons, never headers or bodies. */
import type { RefusalReason } from '@hallpass/protocol';
import { pino } from 'pino';
import type { FastifyReply } from 'fastify';
import type { StoreEvent } from '../store/store.ts';
import { standardError, type LogDestinationOptions } from './log_destination.ts';

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Log {
  readonly request: (entry: {
    readonly requestId: string;
    readonly method: string;
    readonly route: string;
    readonly reply: FastifyReply;
  }) => void;
  /** What was answered before it was a request. */
  readonly refusedConnection: (entry: {
    readonly requestId: string;
    readonly status: number;
    readonly method?: string | undefined;
    readonly address?: string | undefined;
    readonly refused: RefusalReason;
    readonly because?: string | undefined;
  }) => void;
  readonly info: (message: string) => void;
  /** Something an operator should change, while all works. */
  readonly warn: (message: string) => void;
  /** Something that an operator should look into; the event beside it is in the store. */
  readonly suspicion: (event: StoreEvent) => void;
  readonly outage: (error: Error) => void;
  readonly bug: (error: unknown) => void;
}

export function openLog(level: LogLevel, options: LogDestinationOptions = {}): Log {
  const log = pino({ level, base: null }, standardError(options));
  return {
    request: ({ requestId, method, route, reply }) => {
      const milliseconds = Math.round(reply.elapsedTime * 10) / 10;
      // An address is personal data: it is kept where somebody will have to find out who was refused, and why.
      const { statusCode: status, logFields, address } = reply;
      const from = logFields?.refused === undefined || address === undefined ? {} : { address };
      log.info({ requestId, method, route, status, milliseconds, ...from, ...logFields }, 'request');
    },
    refusedConnection: (entry) => log.info({ route: 'none', ...entry }, 'request'),
    info: (message) => log.info(message),
    warn: (message) => log.warn(message),
    suspicion: ({ kind, clientId, grantId, detail }) => log.warn({ clientId, grantId, detail }, kind),
    outage: (error) => log.error({ cause: causesOf(error) }, error.message),
    bug: (error) => log.error({ stack: error instanceof Error ? error.stack : String(error) }, 'a bug'),
  };
}

function causesOf(error: Error): string | undefined {
  return error.cause instanceof Error ? error.cause.message : undefined;
}
