/** An error that an adapter did not expect: the client sees a bare `server_error`, and the operator the whole of it. */
import { inspect } from 'node:util';
import { escapeControlsInLines } from '@hallpass/protocol';

/** Prints it with its stack and causes. A message may hold what a request has sent, and must not reach a terminal raw. */
export function reportFailure(error: unknown): void {
  console.error(escapeControlsInLines(inspect(error)));
}
