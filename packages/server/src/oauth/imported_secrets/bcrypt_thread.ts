/** A thread for one check of a bcrypt hash: it says whether the secret has it, and ends. */
import { compareSync } from 'bcryptjs';
import { parentPort, workerData } from 'node:worker_threads';

export interface BcryptTask {
  readonly secret: string;
  readonly text: string;
}

if (parentPort !== null) parentPort.postMessage(check(workerData));

function check({ secret, text }: BcryptTask): boolean {
  return compareSync(secret, text);
}
