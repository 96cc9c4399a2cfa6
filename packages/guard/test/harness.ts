/** A guard and its issuer for one test, on a clock that the test controls. */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import {
  createGuard,
  type Decision,
  type Denial,
  type Guard,
  type GuardEvent,
  type GuardOptions,
} from '@hallpass/guard';
import { API, CREDENTIALS, Issuer, makeKey, TestClock, type SigningKey } from './issuer.ts';

/** A guard's events, past and future. */
export class Events {
  readonly seen: GuardEvent[] = [];
  #waiting: { readonly kind: GuardEvent['kind']; readonly resolve: (event: GuardEvent) => void }[] = [];

  readonly record = (event: GuardEvent): void => {
    this.seen.push(event);
    const woken = this.#waiting.filter(({ kind }) => kind === event.kind);
    this.#waiting = this.#waiting.filter((waiting) => !woken.includes(waiting));
    for (const { resolve } of woken) resolve(event);
  };

  /** Resolves with the next event of this kind; call it before you cause the event. */
  next(kind: GuardEvent['kind']): Promise<GuardEvent> {
    return new Promise((resolve) => {
      this.#waiting.push({ kind, resolve });
    });
  }

  count(kind: GuardEvent['kind']): number {
    return this.seen.filter((event) => event.kind === kind).length;
  }
}

export interface Bench {
  readonly issuer: Issuer;
  readonly guard: Guard;
  readonly clock: TestClock;
  readonly events: Events;
  /** The guard's decision about a token and a scope without parameters. */
  readonly check: (token: string, scope?: string) => Promise<Decision>;
  readonly bearer: typeof bearer;
}

const shared = makeKey('key-1');

/** A running issuer; it stops after the tests. */
export async function openIssuer(...keys: readonly SigningKey[]): Promise<Issuer> {
  const issuer = new Issuer(keys.length > 0 ? keys : [await shared]);
  await issuer.open();
  after(() => issuer.shut());
  return issuer;
}

/** A running issuer and a guard that trusts it. */
export async function openBench(options: Partial<GuardOptions> = {}, ...keys: readonly SigningKey[]): Promise<Bench> {
  const issuer = await openIssuer(...keys);
  return guardOf(issuer, options);
}

/** A guard that trusts this issuer; it's closed after the tests. */
export function guardOf(issuer: Issuer, options: Partial<GuardOptions> = {}): Bench {
  const clock = new TestClock();
  const events = new Events();
  const settings = { issuer: issuer.url, audience: API, credentials: CREDENTIALS, clock, onEvent: events.record };
  const guard = createGuard({ ...settings, ...options });
  after(() => guard.close());
  const check = (token: string, scope = '/accounts.read'): Promise<Decision> => guard.check(bearer(token), scope);
  return { issuer, guard, clock, events, check, bearer };
}

/** A request with this token. */
export function bearer(
  token: string,
  method = 'GET',
  url = '/accounts',
): {
  readonly method: string;
  readonly url: string;
  readonly headers: { readonly authorization: string };
} {
  return { method, url, headers: { authorization: `Bearer ${token}` } };
}

/** Asserts a denial with this status, and returns it. */
export function assertDenied(decision: Decision | { readonly allowed: boolean }, status: number, hint = ''): Denial {
  assert.ok('status' in decision, `allowed: ${hint}`);
  assert.equal(decision.status, status, `${hint} (${decision.because})`);
  return decision;
}

export function assertAllowed(decision: Decision | { readonly allowed: boolean }, hint = ''): void {
  assert.ok(decision.allowed, `${hint} (${'because' in decision ? decision.because : ''})`);
}

/** The words of a text: a list that fits on a few lines. */
export function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}
