/** What we depend on is away: thrown inside the guard, a 503 to whoever asked. */
export class Outage extends Error {
  override readonly name = 'Outage';
}

/** The issuer does not let us in (401 or 403): only an operator can help. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly status: number;

  constructor(status: number) {
    super('The issuer refused the credentials.');
    this.status = status;
  }
}

/**
 * What went wrong, for a log. Of errors that are not ours only the code or the name is told: a runtime's message may
 * quote the header that it choked on.
 */
export function nameOf(error: unknown): string {
  if (error instanceof Outage || error instanceof Refused) return error.message;
  if (!(error instanceof Error)) return 'unknown';
  const { cause } = error;
  if (typeof cause === 'object' && cause !== null && 'code' in cause && typeof cause.code === 'string') {
    return cause.code;
  }
  return error.name;
}
