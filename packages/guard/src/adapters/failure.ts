/** Errors that an adapter didn't expect: the client gets a bare `server_error`, and the operator gets everything. */
import { inspect } from 'node:util';
import { escapeControlsInLines } from '@hallpass/protocol';

/**
 * Prints the error with its stack and causes. Its message may contain text from a request, so control characters are
 * escaped before they reach a terminal.
 */
export function reportFailure(error: unknown): void {
  console.error(escapeControlsInLines(inspect(error)));
}
