/** A thread that checks one bcrypt hash: it says whether the secret matches, and ends. */
import { compareSync } from 'bcryptjs';
import { parentPort, workerData } from 'node:worker_threads';

/** A secret, and the bcrypt hash to check it against. */
export interface BcryptTask {
  readonly secret: string;
  readonly text: string;
}

if (parentPort !== null) parentPort.postMessage(check(workerData));

function check({ secret, text }: BcryptTask): boolean {
  return compareSync(secret, text);
}
