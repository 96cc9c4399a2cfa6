/** `hallpass`: this process as a command, and the only reader of its environment. */
import { ownProcess } from './command_process.ts';
import { endWithNpm } from './npm_parent.ts';
import { watchReaders } from './output.ts';
import { runCommand } from './run.ts';

watchReaders();
endWithNpm(process.env);
process.exitCode = await runCommand(process.argv.slice(2), ownProcess(process.env));
