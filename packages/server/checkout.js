// Only a checkout has this file. It runs the command on the Node that `npm ci` has installed; gives false when there is none.
import { fileURLToPath } from 'node:url';
import { run } from '../../run.cjs';

const command = fileURLToPath(new URL('bin/hallpass.js', import.meta.url));
export const isRunning = run([command, ...process.argv.slice(2)]);
