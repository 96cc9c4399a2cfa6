/**
 * Problems that waiting doesn't solve: the guard and its issuer disagree, and an operator has to change one of them.
 * Different from an outage, which the guard waits out, and from a bad token, which is its sender's problem (ADR 31).
 */
import { escapeControls } from '@hallpass/protocol';
import type { GuardEvent } from './guard_event.ts';

/** `ready()` rejects with this. The message says what is wrong and what to change, and never contains a secret. */
export class Misconfigured extends Error {
  override readonly name = 'Misconfigured';
  readonly code: 'credentials_refused' | 'issuer_differs';

  constructor(event: Extract<GuardEvent, { kind: 'feed_refused' | 'issuer_differs' }>) {
    super(adviceFor(event));
    this.code = event.kind === 'feed_refused' ? 'credentials_refused' : 'issuer_differs';
  }
}

/** A sentence for the API's operator, if the event calls for a change; undefined for all other events. */
export function adviceFor(event: GuardEvent): string;
export function adviceFor(event: GuardEvent): string | undefined;
export function adviceFor(event: GuardEvent): string | undefined {
  switch (event.kind) {
    case 'feed_refused':
      return event.status === 403
        ? `The issuer doesn't allow this guard's key to read revocations (403). It must be a resource-server key: hallpass keys create "My API" --resource-server AUDIENCE`
        : `The issuer refused this guard's credentials (${event.status}). Check clientId and clientSecret, and that the key is not disabled or deleted.`;
    case 'issuer_differs':
      return (
        `The issuer calls itself ${quote(event.found)}, and this guard expects ${quote(event.expected)}. Every token names ` +
        'the former in iss, so all are refused. Set issuer to exactly that name. If you reach the issuer at another address, set issuerAddress to it.'
      );
    case 'audience_differs':
      return (
        `A token was refused because its audience is ${event.found.map(quote).join(', ')}, and this guard's is ` +
        `${quote(event.expected)}. If it was meant for this API, set audience to the token's, or have the client request this one.`
      );
    case 'feed_lost':
    case 'key_set_failed':
      return `The issuer can't be reached: ${event.because.replace(/\.$/, '')}. The guard keeps trying, and until it can decide it answers requests with 503.`;
    case 'clock_differs':
      return (
        `The clock of this machine is ${Math.abs(event.offsetSeconds)} s ${event.offsetSeconds < 0 ? 'behind' : 'ahead of'} ` +
        'the issuer’s. Valid tokens are refused until one of them is corrected.'
      );
    case 'feed_connected':
    case 'key_set_fetched':
    case 'introspection_failed':
    case 'clock_jumped':
    case 'feed_reread':
    case 'clock_agrees':
    case 'issuer_agrees':
      return undefined;
  }
}

/** The text came from the network, so control characters are escaped and the length is capped. */
function quote(text: string): string {
  return `'${escapeControls(text.slice(0, QUOTED_LENGTH_MAX))}'`;
}

const QUOTED_LENGTH_MAX = 200;

/** Outages end by themselves, so they are printed only at startup, when the cause may be a wrong address. */
const ONLY_AT_START: readonly GuardEvent['kind'][] = ['feed_lost', 'key_set_failed'];

/**
 * The default event listener. It prints one sentence for each kind of event that needs an operator, the first time it
 * occurs, so that a looping guard doesn't fill the log.
 */
export function warnOnce(): (event: GuardEvent) => void {
  const printed = new Set<string>();
  let hasStarted = false;
  return (event) => {
    if (event.kind === 'feed_connected') hasStarted = true;
    const isLate = hasStarted && ONLY_AT_START.includes(event.kind);
    const topic = ONLY_AT_START.includes(event.kind) ? 'outage' : event.kind;
    const sentence = isLate || printed.has(topic) ? undefined : adviceFor(event);
    if (sentence === undefined) return;
    printed.add(topic);
    console.warn(escapeControls(`Hallpass guard: ${sentence}`));
  };
}
