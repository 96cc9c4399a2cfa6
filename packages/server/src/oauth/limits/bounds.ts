/**
 * The bounds on what one caller can make this server do, by their names in `docs/limits.md`. A metric counts how often each
 * was reached.
 */
export const BOUNDS = [
  'BODY_BYTES_MAX',
  'CONFIRMATIONS_PER_CLIENT_PER_SECOND_MAX',
  'FEED_STREAMS_MAX',
  'FEED_STREAMS_PER_CLIENT_MAX',
  'KEY_REUSES_PER_HOUR',
  'KEY_REVOCATIONS_PER_HOUR',
  'REQUESTS_PER_CONNECTION_MAX',
  'SECURITY_EVENTS_PER_CLIENT_HOUR_MAX',
  'SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX',
  'UNREAD_ANSWER_MS_MAX',
  'WAITS_MAX',
  'WAITS_PER_CLIENT_MAX',
] as const;

type Bound = (typeof BOUNDS)[number];

/** Called each time a bound refuses something or makes it wait. */
export type BoundReached = (bound: Bound) => void;
