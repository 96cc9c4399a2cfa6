/**
 * A secret is shown before it is kept. `hallpass keys create | head -1` must not make a key whose secret nobody has seen, and
 * neither must a full disk, or a crash between the two.
 */
import { fstatSync } from 'node:fs';
import { OperatorRefusal } from '../operator/operator_refusal.ts';
import type { PendingApiKey } from '../operator/api_keys.ts';
import { printRemark, ReaderGone, written } from './output.ts';

/** How long a reader has to leave after the secret, in milliseconds: `head` has its lines, and closes the pipe. */
const LEAVING_MS = 100;

export interface Delivery {
  /** Prints what holds the secret. */
  readonly secret: () => void;
  /** Prints what follows before the key is kept, so that it shows whether the reader is still there. */
  readonly more: () => void;
  /** Prints what is true only once the key is kept. */
  readonly end: () => void;
}

/**
 * Prints a secret, then keeps it, then says so. Rejects with `OperatorRefusal` when the reader left before the end; then
 * nothing was kept, or what was kept has been taken back.
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
      throw new OperatorRefusal(
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
        ? 'The secret above was not kept, and opens nothing.'
        : 'The secret above may not have been kept. Does the key exist? hallpass keys list',
    );
    throw error;
  }
  await printOr(end, pending.takeBack);
}

/** Whether standard output goes to another process. A file or a terminal takes all of it or fails at once. */
function mayLeave(): boolean {
  const stats = fstatSync(STANDARD_OUTPUT);
  return stats.isFIFO() || stats.isSocket();
}

const STANDARD_OUTPUT = 1;
