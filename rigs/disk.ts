/**
 * The disk rig: whatever was acknowledged must hold when the disk fails under the server.
 *
 *   node --conditions=hallpass-source rigs/disk.ts --fault power-cut|full|failing-sync [--rounds 10] [--seed N] [--json]
 *        [--planted-defect]
 *
 * `power-cut`: the store is on its own file system, which is shut down under load, so that only synced data is left; needs
 * root, a loop device and ext4. `full`: such a file system is filled up, then space is freed. `failing-sync`: the n-th fsync
 * and some after it fail, then work again; needs strace. `--planted-defect` makes every fsync lie, to show that the rig
 * notices; needs strace as well. If something it needs is missing, the rig says so in one sentence and exits with 3.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { median } from '../testing/statistics.ts';
import { createKey, RIG, startHallpass, type Credentials, type HallpassProcess } from '../testing/process/process.ts';
import { Acknowledgements, judge, type Loss } from './parts/acknowledgements.ts';
import { chanceOf, type Chance } from '../testing/chance.ts';
import { Client } from '../testing/client/client.ts';
import { runLoad, SCOPE, untilWorthLosing } from './parts/load.ts';
import { demand, EXIT_NOT_HERE, NotHere, straceWith, SYNC_CALLS } from './parts/strace.ts';

const CALLERS = 16;
const LOAD_MS_MIN = 100;
const LOAD_MS_MAX = 400;
const ROUNDS_MAX = 1_000;
const IMAGE_MEGABYTES = 128;
/** How much a disk is filled by at a time; then less and less. */
const FILLER_BYTES = 1024 * 1024;
/** How long a server may take to write again once its disk does, in milliseconds. */
const RESUME_MS_MAX = 20_000;

/** A disk with a fault in it. */
interface Disk {
  readonly dataDir: string;
  /** The command that a server is run by while the disk is to fail. */
  readonly under: (chance: Chance) => readonly string[];
  /** Makes the fault happen under a loaded server, which is killed then; what that server did not do as it should. */
  readonly fail: (server: HallpassProcess, client: Client) => Promise<readonly string[]>;
  /** Makes the disk whole again, with what was on it. */
  readonly repair: () => void;
  readonly remove: () => void;
}

const { values: options } = parseArgs({
  options: {
    fault: { type: 'string', default: 'power-cut' },
    rounds: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(process.pid) },
    json: { type: 'boolean', default: false },
    'planted-defect': { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
if (!Number.isInteger(rounds) || rounds < 1 || rounds > ROUNDS_MAX)
  throw new RangeError(`--rounds is 1 to ${ROUNDS_MAX}`);

try {
  await run();
} catch (error) {
  if (!(error instanceof NotHere)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = EXIT_NOT_HERE;
}

async function run(): Promise<void> {
  const disk = openDisk();
  const chance = chanceOf(Number(options.seed));
  const log = new Acknowledgements();
  const losses: Loss[] = [];
  const readyMs: number[] = [];
  try {
    const key = await createKey(disk.dataDir, ['rig', '--scope', SCOPE]);
    for (let round = 1; round <= rounds; round++) {
      losses.push(...(await failOnce(disk, { key, log, chance })));
      readyMs.push(await judgeOnce(disk, { key, log, losses }));
      if (process.stderr.isTTY) process.stderr.write(`\rround ${round} of ${rounds}: ${losses.length} lost`);
    }
  } finally {
    disk.remove();
  }
  const summary = {
    fault: options.fault,
    rounds,
    seed: Number(options.seed),
    acknowledgedRevocations: log.revocations,
    acknowledgedRotations: log.rotations,
    lost: losses.length,
    medianReadyMs: Math.round(median(readyMs)),
  };
  const words = Object.entries(summary).map(([name, value]) => `${name} ${value}`);
  process.stdout.write(`${options.json ? JSON.stringify(summary) : words.join(', ')}\n`);
  for (const { lost, because } of losses.slice(0, 20)) process.stderr.write(`lost: ${lost}, ${because}\n`);
  if (losses.length > 0) process.exitCode = 1;
}

interface Rig {
  readonly key: Credentials;
  readonly log: Acknowledgements;
}

async function failOnce(disk: Disk, { key, log, chance }: Rig & { readonly chance: Chance }): Promise<readonly Loss[]> {
  const under = options['planted-defect'] ? straceWith(SYNC_CALLS, 'retval=0') : disk.under(chance);
  const server = await startHallpass(disk.dataDir, { ...RIG, HALLPASS_LOG_LEVEL: 'silent' }, [], under);
  const client = new Client(server.url, key, { callers: CALLERS });
  const load = runLoad(client, log, { callers: CALLERS, chance });
  // Where syncs fail, the callers stop at the first one: there the load is as much as it gets.
  if (options.fault !== 'failing-sync') await untilWorthLosing(log);
  await delay(chance.between(LOAD_MS_MIN, LOAD_MS_MAX));
  try {
    const unfit = await disk.fail(server, client);
    await server.kill();
    return [...(await load), ...unfit].map((because): Loss => ({ lost: 'session', because }));
  } finally {
    await server.kill();
    client.close();
  }
}

async function judgeOnce(disk: Disk, { key, log, losses }: Rig & { readonly losses: Loss[] }): Promise<number> {
  disk.repair();
  const server = await startHallpass(disk.dataDir, RIG);
  const client = new Client(server.url, key, { callers: CALLERS });
  losses.push(...(await judge(client, log, { sessions: log.latest, callers: CALLERS })));
  log.endRound();
  client.close();
  await server.stop();
  return server.readyMs;
}

function openDisk(): Disk {
  if (options.fault === 'power-cut') return onFileSystem(cutPower);
  if (options.fault === 'full') return onFileSystem(fillUp);
  if (options.fault === 'failing-sync') return openFailingSync();
  throw new RangeError('--fault is power-cut, full or failing-sync');
}

type Fail = (place: string, server: HallpassProcess, client: Client) => Promise<readonly string[]>;

/** An ext4 file system in a file, for the store alone. */
function onFileSystem(fail: Fail): Disk {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new NotHere('This rig mounts a file system of its own: run it as root, on Linux.');
  }
  for (const tool of ['mkfs.ext4', 'mount', 'umount', 'perl']) demand(tool);
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-power-'));
  const [image, place] = [join(folder, 'disk.img'), join(folder, 'disk')];
  mkdirSync(place);
  const mount = (): void => {
    const mounted = spawnSync('mount', ['-o', 'loop', image, place], { encoding: 'utf8' });
    if (mounted.status === 0) return;
    rmSync(folder, { recursive: true, force: true });
    throw new NotHere(`This rig could not mount a loop device: ${mounted.stderr.trim()}.`);
  };
  execFileSync('truncate', ['-s', `${IMAGE_MEGABYTES}M`, image]);
  execFileSync('mkfs.ext4', ['-q', image]);
  mount();
  return {
    dataDir: join(place, 'data'),
    under: () => [],
    fail: (server, client) => fail(place, server, client),
    repair: () => {
      execFileSync('umount', [place]);
      mount();
    },
    remove: () => {
      spawnSync('umount', [place]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Shut down without flushing its journal, it keeps what was synced, and loses whatever was only written. */
async function cutPower(place: string, server: HallpassProcess, client: Client): Promise<readonly string[]> {
  // The kernel may let an fsync that is under way when the file system is shut down return as if it had worked: in life
  // nobody would be there to hear the answer.
  client.ignoreResponses();
  shutDown(place);
  await server.kill();
  return [];
}

/** No room for one byte more, until a revocation is refused for it; then room again. */
async function fillUp(place: string, _server: HallpassProcess, client: Client): Promise<readonly string[]> {
  const filler = join(place, 'filler');
  const descriptor = openSync(filler, 'w');
  for (let bytes = FILLER_BYTES; bytes >= 1;) {
    try {
      writeSync(descriptor, Buffer.alloc(bytes));
    } catch {
      bytes = Math.floor(bytes / 2);
    }
  }
  closeSync(descriptor);
  // The log of the store has room that it uses again; sooner or later it has to grow.
  const end = performance.now() + RESUME_MS_MAX;
  let refused = false;
  while (!refused && performance.now() < end) refused = (await writeOne(client)) === 503;
  rmSync(filler);
  const unfit = await untilItWrites(client);
  return refused ? unfit : ['a full disk refused nothing: the rig has not filled it', ...unfit];
}

/** EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (linux/ext4.h). */
function shutDown(place: string): void {
  const program = 'open(my $d, "<", $ARGV[0]) or die; my $f = pack("L", 2); ioctl($d, 0x8004587D, $f) or die "$!"';
  execFileSync('perl', ['-e', program, place]);
}

/** Some fsyncs in a row fail, and then the disk works again: the server has to as well, without a restart. */
function openFailingSync(): Disk {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-sync-'));
  return {
    dataDir: join(folder, 'data'),
    under: (chance) => {
      const first = Math.round(chance.between(6, 60));
      return straceWith(SYNC_CALLS, `error=EIO:when=${first}..${first + Math.round(chance.between(0, 8))}`);
    },
    fail: (_server, client) => untilItWrites(client),
    repair: () => undefined,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** One revocation; the status that it was answered with. */
async function writeOne(client: Client): Promise<number | undefined> {
  const tokens = await client.issue(SCOPE);
  return (await client.revoke(String(tokens?.members.get('access_token'))))?.status;
}

/** Revocations until they are acknowledged for a good while, past the last fsync that fails. */
async function untilItWrites(client: Client): Promise<readonly string[]> {
  const end = performance.now() + RESUME_MS_MAX;
  for (let good = 0; good < 80;) {
    good = (await writeOne(client)) === 200 ? good + 1 : 0;
    if (performance.now() > end) return ['the server did not write again when its disk did'];
  }
  return [];
}
