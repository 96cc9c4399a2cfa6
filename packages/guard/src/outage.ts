/** What we depend on is away: thrown inside the guard, a 503 to whoever asked. */
export class Outage extends Error {
  override readonly name = 'Outage';
}

/**
 * What went wrong, for a log. Of errors that are not ours only the code or the name is told: a runtime's message may
 * quote the header that it choked on.
 */
export function nameOf(error: unknown): string {
  if (error instanceof Outage) return error.message;
  if (!(error instanceof Error)) return 'unknown';
  const { cause } = error;
  if (typeof cause === 'object' && cause !== null && 'code' in cause && typeof cause.code === 'string') {
    return cause.code;
  }
  return error.name;
}
