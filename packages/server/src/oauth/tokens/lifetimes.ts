/** How long tokens and grants live (contract §3 Lifetimes). All in seconds. */
import type { Client } from '../../store/store.ts';

/** The lifetimes that the server's settings allow, or those of one client. */
export interface Lifetimes {
  /** Of an access token. */
  readonly accessTokenSeconds: number;
  /** Of a grant, from its last rotation, or from its first token if it was never refreshed. */
  readonly refreshSeconds: number;
  /** Of a grant, from its first token, however often it is refreshed; undefined: no limit. */
  readonly refreshMaxSeconds: number | undefined;
  /** How long the predecessor of the newest refresh token still returns the newest one; undefined: no limit. */
  readonly refreshGraceSeconds: number | undefined;
}

/** The lifetimes of one client's tokens: the server's, except where the key has tighter ones. */
export function lifetimesOf(server: Lifetimes, client: Client): Lifetimes {
  const { accessTtlSeconds = Infinity, refreshTtlSeconds = Infinity } = client;
  return {
    accessTokenSeconds: Math.min(accessTtlSeconds, server.accessTokenSeconds),
    refreshSeconds: Math.min(refreshTtlSeconds, server.refreshSeconds),
    refreshMaxSeconds: tighterOf(client.refreshMaxTtlSeconds, server.refreshMaxSeconds),
    refreshGraceSeconds: tighterOf(client.refreshGraceSeconds, server.refreshGraceSeconds),
  };
}

/** Undefined: no limit. */
function tighterOf(one = Infinity, other = Infinity): number | undefined {
  const tighter = Math.min(one, other);
  return tighter === Infinity ? undefined : tighter;
}
