/** The log on standard error, one line per request. It receives names and reasons, never headers or bodies. */
import type { RefusalReason } from '@hallpass/protocol';
import { pino } from 'pino';
import type { FastifyReply } from 'fastify';
import type { StoreEvent } from '../store/store.ts';
import { standardError, type LogDestinationOptions, type LogLevel } from './log_destination.ts';

/** What a server logs. */
export interface Log {
  readonly request: (entry: {
    readonly requestId: string;
    readonly method: string;
    readonly route: string;
    readonly reply: FastifyReply;
  }) => void;
  /** A connection that was refused before it sent a valid request. */
  readonly refusedConnection: (entry: {
    readonly requestId: string;
    readonly status: number;
    readonly method?: string | undefined;
    readonly address?: string | undefined;
    readonly refused: RefusalReason;
    readonly because?: string | undefined;
  }) => void;
  readonly info: (message: string) => void;
  /** Something that works, and that the operator should change. */
  readonly warn: (message: string) => void;
  /** Something the operator should investigate; the same event is in the store. */
  readonly suspicion: (event: StoreEvent) => void;
  readonly outage: (error: Error) => void;
  readonly bug: (error: unknown) => void;
}

/** Opens the log of a process. */
export function openLog(level: LogLevel, options: LogDestinationOptions = {}): Log {
  const log = pino({ level, base: null }, standardError(options));
  return {
    request: ({ requestId, method, route, reply }) => {
      const milliseconds = Math.round(reply.elapsedTime * 10) / 10;
      // An address is personal data. We log it only for refusals, where somebody may have to find out who was refused.
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
