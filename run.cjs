/**
 * Runs its arguments on the Node that `npm ci` has installed: `node run.cjs FILE ...`, with options of Node before the file.
 *
 * The machine's Node may be 20, which cannot run the sources. npm does link the newer one as `node_modules/.bin/node`, but
 * before 11.19 it removes that link while it discards the packages of other platforms (ADR 3). So nothing relies on the
 * link. Where no Node was installed, as on a platform that has none, the running one does it when it is new enough.
 *
 * Node 20 has to read this file.
 */
const { spawn } = require('node:child_process');
const { existsSync, statfsSync } = require('node:fs');
const { constants } = require('node:os');
const { delimiter, dirname, join } = require('node:path');

const NODE_MAJOR_MIN = 24;
/** What `ps` shows, and by which a server knows that this process only stands between it and npm (15 bytes at most). */
const TITLE = 'hallpass-node';
/** Where Linux keeps files in memory, and how much room the tests need there. */
const MEMORY_FOLDER = '/dev/shm';
const MEMORY_BYTES_MIN = 4 * 1024 ** 3;
const PASSED_ON = ['SIGTERM', 'SIGINT', 'SIGHUP'];

/** The file of the Node to run on; undefined when there is none that is new enough. */
function findNode() {
  const file = process.platform === 'win32' ? 'node.exe' : 'node';
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  for (const name of ['node', 'node-bin']) {
    const found = join(__dirname, 'node_modules', `${name}-${platform}-${process.arch}`, 'bin', file);
    if (existsSync(found)) return found;
  }
  return Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN ? undefined : process.execPath;
}

/**
 * The variable that makes tests keep their files in memory, where there is room for them: their stores and databases sync
 * every commit, and a disk takes 100 to 1,000 times as long for that. Containers often have only 64 MB there.
 */
function testFolder() {
  try {
    const { bavail, bsize } = statfsSync(MEMORY_FOLDER);
    if (process.env.TMPDIR === undefined && bavail * bsize >= MEMORY_BYTES_MIN) return { TMPDIR: MEMORY_FOLDER };
  } catch {
    // This system has no such folder.
  }
  return {};
}

/** Runs `ARGS` on that Node in place of this process, as far as the system can do that. Gives false when there is none. */
function run(args) {
  const node = findNode();
  if (node === undefined) return false;
  // Programs that it starts as `node` run on the same one. Compiled sources are kept, because stripping their types takes
  // half of the processor time of a test file.
  const env = {
    NODE_COMPILE_CACHE: join(__dirname, '.cache', 'compile'),
    ...process.env,
    ...(args.includes('--test') ? testFolder() : {}),
    PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}`,
  };
  if (process.execve !== undefined && process.platform !== 'win32') process.execve(node, [node, ...args], env);

  process.title = TITLE;
  const child = spawn(node, args, { env, stdio: 'inherit' });
  for (const signal of PASSED_ON) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`error: ${node} did not start: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    process.exit(code ?? 128 + constants.signals[signal]);
  });
  return true;
}

module.exports = { run };

if (require.main === module && !run(process.argv.slice(2))) {
  process.stderr.write(
    `error: this needs Node ${NODE_MAJOR_MIN} or later, and npm has installed none here; ${process.execPath} is Node ` +
      `${process.versions.node}: run npm ci, or install a newer Node (https://nodejs.org).\n`,
  );
  process.exitCode = 1;
}
