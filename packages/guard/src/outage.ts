/** Something that the guard depends on is unreachable. Thrown inside the guard; the caller gets a 503. */
export class Outage extends Error {
  override readonly name = 'Outage';
}

/** The issuer refuses the guard's credentials (401 or 403). Only an operator can fix that. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly status: number;

  constructor(status: number) {
    super('The issuer refused the credentials.');
    this.status = status;
  }
}

/**
 * A description of an error, for a log. Of other people's errors it gives only the code or the name: a runtime's
 * message may quote the header that it couldn't parse.
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
