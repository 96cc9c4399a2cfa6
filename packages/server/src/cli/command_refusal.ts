/** Thrown where a command cannot do what it was asked to do. The message is a sentence for the operator. Exit code 1. */
export class CommandRefusal extends Error {
  override readonly name = 'CommandRefusal';
}
