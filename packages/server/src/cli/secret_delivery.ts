/**
 * A secret is shown before it is stored. `hallpass keys create | head -1` must not make a key whose secret nobody has seen.
 * Neither must a full disk, nor a crash between the two.
 */
import { fstatSync } from 'node:fs';
import { OperatorRefusal } from '../operator/operator_refusal.ts';
import type { PendingApiKey } from '../operator/api_keys.ts';
import { CommandRefusal } from './command_refusal.ts';
import { commandProcess } from './command_process.ts';
import { printRemark, ReaderGone, written } from './output.ts';

/** How long to wait for the reader to close the pipe after the secret, in milliseconds: `head` does, once it has its lines. */
const LEAVING_MS = 100;

/** The parts of what is printed, in order. */
export interface Delivery {
  /** Prints the part with the secret. */
  readonly secret: () => void;
  /** Prints what follows before the key is stored, which shows whether the reader is still there. */
  readonly more: () => void;
  /** Prints what is true only once the key is stored. */
  readonly end: () => void;
}

/**
 * Prints a secret, then stores it, then says so. Rejects with `CommandRefusal` when the reader left before the end; then
 * nothing was stored, or what was stored has been removed again.
 */
export async function deliver(
  pending: PendingApiKey,
  { secret, more, end }: Delivery,
  { sleep, print = written }: { readonly sleep: (ms: number) => Promise<void>; readonly print?: typeof written },
): Promise<void> {
  const printOr = async (part: () => void, otherwise: () => Promise<void>): Promise<void> => {
    try {
      await print(part);
    } catch (error) {
      if (!(error instanceof ReaderGone)) throw error;
      await otherwise();
      throw new CommandRefusal(
        'Standard output was closed before all of the secret was read, so nothing was made. Run it again, and keep the whole output.',
      );
    }
  };
  await printOr(secret, async () => undefined);
  if (mayLeave()) await sleep(LEAVING_MS);
  await printOr(more, async () => undefined);
  try {
    await pending.keep();
  } catch (error) {
    printRemark(
      error instanceof OperatorRefusal
        ? 'The secret above was not stored. It opens nothing.'
        : 'The secret above may not have been stored. To see whether the key exists: hallpass keys list',
    );
    throw error;
  }
  await printOr(end, pending.takeBack);
}

/** Whether standard output goes to another process. A file or a terminal accepts all of it or fails at once. */
function mayLeave(): boolean {
  if (commandProcess().stdout !== process.stdout) return false;
  const stats = fstatSync(STANDARD_OUTPUT);
  return stats.isFIFO() || stats.isSocket();
}

const STANDARD_OUTPUT = 1;
