/**
 * The rig of interrupted commands: a first start, a backup, a restore, a copy to another store, a rewrap of keys, or a
 * rotation or removal of one of the issuer's keys is killed (`kill -9`) at a random moment, and run again. The second run
 * completes the work of the first, and nothing is lost. A restore may be refused instead, but then half a store must not be
 * served.
 *
 *   node --conditions=hallpass-source rigs/commands.ts [--rounds 12] [--engine sqlite|postgres] [--seed N] [--json]
 *        [--planted-defect] [--command each|start|backup|restore|copy|rewrap|rotate|remove]
 *
 * `--rounds`: how many commands to kill. `--planted-defect` removes a row from the result of the second run.
 */
import { once } from 'node:events';
import { globSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createKey,
  spawnHallpass,
  startHallpass,
  type Credentials,
  type Environment,
} from '../testing/process/process.ts';
import { startPostgres, type PostgresCluster } from '../testing/postgres/cluster.ts';
import { chanceOf } from '../testing/chance.ts';
import { Client, tokensOf } from '../testing/client/client.ts';
import { openRigStore, type RigStore } from './parts/engine.ts';
import { SCOPE } from './parts/load.ts';
import { endRig, printProgress, rigOptions } from './parts/rig.ts';

/** Rows behind, so that whatever reads or writes them all takes its time. */
const ROWS = 2_000;
/** How long after its start a command is killed, as a share of how long it takes: the first part is that of the runtime. */
const MOMENT_MIN = 0.3;
const MOMENT_MAX = 1.05;
const COMMANDS = ['start', 'backup', 'restore', 'copy', 'rewrap', 'rotate', 'remove'] as const;
type Command = (typeof COMMANDS)[number];

/** What is killed, and what must hold once it was run again. */
interface Interrupted {
  readonly words: readonly string[];
  readonly environment: Environment;
  readonly dataDir: string;
  /** What does not hold, in a sentence. */
  readonly judge: (again: Ran) => Promise<string | undefined>;
  /** What follows from a run that was left alone, where `judge` is not called. */
  readonly settle?: () => Promise<unknown> | void;
  readonly remove?: () => Promise<void> | void;
}

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
}

const options = rigOptions({ rounds: 12, roundsMax: 10_000 });
const engine = options.choose('engine', ['sqlite', 'postgres']);
const chosen = options.choose('command', ['each', ...COMMANDS]);
const chance = chanceOf(options.seed);
const findings: string[] = [];
const durations = new Map<Command, number>();
const killed: Record<Command, number> = { start: 0, backup: 0, restore: 0, copy: 0, rewrap: 0, rotate: 0, remove: 0 };
let tooLate = 0;
let masterKey = newMasterKey();
let credentials: Credentials = { clientId: '', clientSecret: '' };

let cluster: PostgresCluster | undefined;
const store = await openRigStore(engine);

interface Setting {
  readonly round: number;
  readonly key: Credentials;
  readonly settings: () => Environment;
}

async function interrupt(command: Command, setting: Setting): Promise<void> {
  if (!durations.has(command)) await learnDuration(command, setting);
  const duration = durations.get(command) ?? 0;
  await attempt(command, setting, chance.between(MOMENT_MIN, MOMENT_MAX) * duration);
}

/** How long a command takes when nobody kills it. */
async function learnDuration(command: Command, setting: Setting): Promise<void> {
  const prepared = await PREPARE[command](setting);
  try {
    const { code, milliseconds, stderr } = await run(prepared, { isServer: command === 'start' });
    if (code !== 0) findings.push(`${command}, left alone, ended with ${code}: ${stderr}`);
    durations.set(command, milliseconds);
    await prepared.settle?.();
  } finally {
    await prepared.remove?.();
  }
}

async function attempt(command: Command, setting: Setting, killAfterMs: number): Promise<void> {
  const prepared = await PREPARE[command](setting);
  try {
    const first = await run(prepared, { killAfterMs, isServer: command === 'start' });
    if (first.code === null) killed[command] += 1;
    else tooLate += 1;
    const again = first.code === 0 ? first : await run(prepared, { isServer: command === 'start' });
    const moment = `${command}, killed after ${Math.round(killAfterMs)} of ${Math.round(durations.get(command) ?? 0)} ms`;
    const wrong = await prepared.judge(again);
    if (wrong !== undefined) findings.push(`${moment}: ${wrong}`);
  } finally {
    await prepared.remove?.();
  }
}

const PREPARE: Readonly<Record<Command, (setting: Setting) => Promise<Interrupted>>> = {
  /** A first start, in which the schema and the keys are made. */
  start: async () => {
    const fresh = await openEmpty();
    return {
      words: ['serve'],
      ...fresh,
      judge: async ({ code, stderr }) => {
        if (code !== 0) return `the second start ended with ${code}: ${stderr}`;
        const key = await createKey(fresh.dataDir, ['after', '--scope', SCOPE], fresh.environment);
        return await judgeServer(fresh, key);
      },
    };
  },

  backup: async ({ round, settings }) => {
    const file = join(store.dataDir, `backup-${round}`);
    return {
      words: ['store', 'backup', file, '--json'],
      environment: settings(),
      dataDir: store.dataDir,
      judge: async ({ code, stderr }) => {
        // Killed after the file was whole: then it is there, and the second run says so.
        if (code !== 0 && !/already exists/.test(stderr)) return `the second run ended with ${code}: ${stderr}`;
        const checked = await ask(['store', 'verify', file, '--json'], settings(), store.dataDir);
        return checked.code === 0 ? undefined : `the backup is not whole: ${checked.stderr}`;
      },
      remove: () => {
        for (const left of globSync(`${file}*`)) rmSync(left);
      },
    };
  },

  restore: async ({ round, settings, key }) => {
    const file = join(store.dataDir, `backup-for-${round}`);
    const made = await ask(['store', 'backup', file], settings(), store.dataDir);
    if (made.code !== 0) throw new Error(made.stderr);
    const fresh = await openEmpty();
    const environment = { ...fresh.environment, HALLPASS_MASTER_KEY: masterKey };
    return {
      words: ['store', 'restore', file],
      dataDir: fresh.dataDir,
      environment,
      judge: async ({ code, stderr }) => {
        if (code !== 0 && !/not empty|, this replaces /.test(stderr))
          return `the second run ended with ${code}: ${stderr}`;
        const restored = { dataDir: fresh.dataDir, environment };
        const original = { dataDir: store.dataDir, environment: settings() };
        // A restored store has a new feed. If the killed run had created the store, the second one records that it replaced it.
        const other =
          (await judgeAlike(original, restored, ['feed', 'events'])) ?? (await judgeEvents(original, restored));
        const served = await judgeServer(restored, key);
        if (other === undefined) return served;
        // Half of a store may be refused, and filled anew in another place; it must not serve what is revoked as good.
        return served === undefined ? `a server serves what was restored by half, ${other}` : undefined;
      },
      remove: async () => {
        rmSync(file);
        await fresh.remove();
      },
    };
  },

  copy: async ({ settings, key }) => {
    cluster ??= await startPostgres();
    const url = await cluster.createDatabase();
    const environment = { ...settings(), HALLPASS_DATABASE_URL: url };
    return {
      words: ['store', 'copy'],
      environment: { ...settings(), HALLPASS_COPY_TO: url },
      dataDir: store.dataDir,
      judge: async ({ code, stderr }) => {
        if (code !== 0) return `the second run ended with ${code}: ${stderr}`;
        if (options.plantedDefect) await cluster?.query("DELETE FROM families WHERE grant_id = 'rig-7'", { url });
        const copy = { dataDir: store.dataDir, environment };
        const same = await judgeAlike({ dataDir: store.dataDir, environment: settings() }, copy, []);
        return same ?? (await judgeServer(copy, key));
      },
      remove: async () => {
        await cluster?.query(`DROP DATABASE ${new URL(url).pathname.slice(1)} WITH (FORCE)`);
      },
    };
  },

  rewrap: async ({ settings, key }) => {
    const before = masterKey;
    const next = newMasterKey();
    const environment = { ...settings(), HALLPASS_MASTER_KEY: `${next} ${before}` };
    return {
      words: ['master-key', 'rewrap'],
      environment,
      dataDir: store.dataDir,
      settle: () => {
        masterKey = next;
      },
      judge: async ({ code, stderr }) => {
        if (code !== 0) return `the second run ended with ${code}: ${stderr}`;
        masterKey = next;
        return await judgeServer({ dataDir: store.dataDir, environment: settings() }, key);
      },
    };
  },

  /** There is one next key, whether it was the first run that made it or the second. */
  rotate: async ({ round, settings }) => {
    const { use, family, inUse } = usesOf(round);
    // As ten minutes later: what was next has taken over.
    await leaveOneKey(use);
    const key = await renewSecret(settings());
    return {
      words: [family, 'rotate'],
      environment: settings(),
      dataDir: store.dataDir,
      judge: async ({ code, stderr }) => {
        if (code !== 0 && !/There is already a next \w+ key/.test(stderr)) {
          return `the second run ended with ${code}: ${stderr}`;
        }
        const states = (await listKeys(family, settings())).map(({ state }) => state);
        if (states.toSorted().join(' ') !== ['next', inUse].toSorted().join(' ')) {
          return `the ${family} are ${states.join(', ')}`;
        }
        return await judgeServer({ dataDir: store.dataDir, environment: settings() }, key);
      },
    };
  },

  /** The key is gone, and another one is in use, whether it was the first run that made it or the second. */
  remove: async ({ round, settings }) => {
    const { use, family, inUse } = usesOf(round);
    await leaveOneKey(use);
    const [lost] = await listKeys(family, settings());
    return {
      words: [family, 'remove', lost?.kid ?? '', '--yes'],
      environment: settings(),
      dataDir: store.dataDir,
      settle: () => renewSecret(settings()),
      judge: async ({ code, stderr }) => {
        // Killed after it was done: then there is no such key, and the second run says so.
        if (code !== 0 && !/There is no \w+ key/.test(stderr)) return `the second run ended with ${code}: ${stderr}`;
        const left = await listKeys(family, settings());
        if (left.some(({ kid }) => kid === lost?.kid)) return `the ${family} still have ${lost?.kid}`;
        if (left.filter(({ state }) => state === inUse).length !== 1) return `none of the ${family} is in use`;
        // With the key that hashes secrets this one has ended, as it should; its owner gets another.
        const renewed = await renewSecret(settings());
        return await judgeServer({ dataDir: store.dataDir, environment: settings() }, renewed);
      },
    };
  },
};

/** The keys of the issuer, by their use in the store, their command, and the state of the one in use. */
const FAMILIES = [
  { use: 'sign', family: 'signing-keys', inUse: 'signing' },
  { use: 'refresh_mac', family: 'refresh-keys', inUse: 'sealing' },
  { use: 'secret_mac', family: 'secret-keys', inUse: 'hashing' },
  { use: 'access_seal', family: 'opaque-keys', inUse: 'sealing' },
] as const;

/** Each of them in turn. */
function usesOf(round: number): (typeof FAMILIES)[number] {
  const turn = chosen === 'each' ? Math.floor(round / COMMANDS.length) : round;
  return FAMILIES[turn % FAMILIES.length] ?? FAMILIES[0];
}

async function leaveOneKey(use: string): Promise<void> {
  await store.tamper('UPDATE keys SET created_at = 1, active_from = 1');
  await store.tamper(
    `DELETE FROM keys WHERE key_use = '${use}' AND key_id <> (SELECT MIN(key_id) FROM keys WHERE key_use = '${use}')`,
  );
}

/** A secret that is hashed with the key in use. */
async function renewSecret(environment: Environment): Promise<Credentials> {
  const { clientId } = credentials;
  const made = await ask(['keys', 'rotate-secret', clientId, '--json'], environment, store.dataDir);
  if (made.code !== 0) throw new Error(made.stderr);
  const { client_secret: clientSecret }: { readonly client_secret: string } = JSON.parse(made.stdout);
  credentials = { clientId, clientSecret };
  return credentials;
}

async function listKeys(
  family: string,
  environment: Environment,
): Promise<readonly { readonly kid: string; readonly state: string }[]> {
  const listed = await ask([family, 'list', '--json'], environment, store.dataDir);
  return listed.code === 0 ? JSON.parse(listed.stdout) : [];
}

interface At {
  readonly dataDir: string;
  readonly environment: Environment;
}

/** A store in which there is nothing, of the engine that is looked at. */
async function openEmpty(): Promise<At & { readonly remove: () => Promise<void> }> {
  return await openRigStore(engine);
}

/** Whether a server on this store serves this key, and what it answers lasts. */
async function judgeServer({ dataDir, environment }: At, key: Credentials): Promise<string | undefined> {
  const server = await startHallpass(dataDir, environment).catch((error: unknown) => String(error));
  if (typeof server === 'string') return server;
  const client = new Client(server.url, key, { callers: 1 });
  try {
    const issued = tokensOf(await client.issue(SCOPE));
    const rotated = tokensOf(await client.refresh(issued?.refreshToken ?? ''));
    if (rotated === undefined) return 'a server on it does not issue and refresh';
    const active = await client.isActive(rotated.accessToken);
    await client.revoke(rotated.refreshToken);
    const after = await client.isActive(rotated.accessToken);
    return active === true && after === false ? undefined : `a server on it says active=${active}, then ${after}`;
  } finally {
    client.close();
    await server.stop();
  }
}

/** Whether two stores have the same rows, but for these tables. */
async function judgeAlike(one: At, other: At, except: readonly string[]): Promise<string | undefined> {
  const [here, there] = await Promise.all(
    [one, other].map(({ dataDir, environment }) => ask(['store', 'verify', '--json'], environment, dataDir)),
  );
  const tables = [here, there].map((ran) => checksumsOf(ran, except));
  return tables[0] !== undefined && tables[0] === tables[1] ? undefined : `other rows: ${tables.join(' and ')}`;
}

/** Whether a restored store has the events of the original, and no others but those of its restore. */
async function judgeEvents(original: At, restored: At): Promise<string | undefined> {
  const [wanted, found] = await Promise.all(
    [original, restored].map(async ({ dataDir, environment }) => {
      const { stdout } = await ask(['events', '--json', '--limit', '1000'], environment, dataDir);
      const events: readonly { readonly kind: string }[] = JSON.parse(stdout);
      return JSON.stringify(events.filter(({ kind }) => kind !== 'store_restored'));
    }),
  );
  return wanted === found ? undefined : `other events: ${wanted} and ${found}`;
}

function checksumsOf(ran: Ran | undefined, except: readonly string[]): string | undefined {
  if (ran?.code !== 0) return undefined;
  const {
    tables,
  }: { readonly tables: readonly { readonly table: string; readonly rows: number; readonly checksum: string }[] } =
    JSON.parse(ran.stdout);
  return tables
    .filter(({ table }) => !except.includes(table))
    .map(({ table, rows, checksum }) => `${table} ${rows} ${checksum.slice(0, 8)}`)
    .join(', ');
}

function ask(words: readonly string[], environment: Environment, dataDir: string): Promise<Ran> {
  return run({ words, environment, dataDir }, {});
}

/**
 * Runs a command; with `killAfterMs` it is killed then, if it still runs. A server counts as ended, with code 0, once it
 * says that it is ready.
 */
async function run(
  { words, environment, dataDir }: Pick<Interrupted, 'words' | 'environment' | 'dataDir'>,
  { killAfterMs, isServer = false }: { readonly killAfterMs?: number | undefined; readonly isServer?: boolean },
): Promise<Ran> {
  const from = performance.now();
  const ports = { HALLPASS_HOST: '127.0.0.1', HALLPASS_PORT: '0', HALLPASS_OPERATOR_PORT: '0' };
  const child = spawnHallpass(words, { HALLPASS_DATA_DIR: dataDir, ...ports, ...environment });
  child.stdin.end();
  let [stdout, stderr] = ['', ''];
  let readyAt: number | undefined;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (!isServer || readyAt !== undefined || !stdout.includes('for operators on')) return;
    readyAt = performance.now();
    child.kill('SIGKILL');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const closed = once(child, 'close');
  if (killAfterMs !== undefined) {
    const over = new AbortController();
    void closed.then(() => over.abort());
    await sleep(killAfterMs, undefined, { signal: over.signal }).catch(() => undefined);
    child.kill('SIGKILL');
  }
  await closed;
  const code = readyAt === undefined ? child.exitCode : 0;
  return { code, stdout, stderr, milliseconds: (readyAt ?? performance.now()) - from };
}

/** Sessions and revocations of others, as if they had been there for long. */
async function fill({ tamper }: RigStore): Promise<void> {
  const numbers = `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${ROWS})`;
  const end = Math.floor(Date.now() / 1000) + 86_400;
  await tamper(
    `INSERT INTO families (grant_id, client_id, generation, rotated_at, key_id, expires_at)
     ${numbers} SELECT 'rig-' || n, 'rig', 1, 1, 'rig', ${end} FROM numbers`,
  );
  await tamper(
    `INSERT INTO revocations (position, kind, subject, before_date, expires_at, keep_until)
     ${numbers} SELECT 1000000 + n, 'token', 'rig-' || n, NULL, ${end}, ${end} FROM numbers`,
  );
  await tamper(`UPDATE feed SET last_position = ${1_000_000 + ROWS}`);
}

function newMasterKey(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url');
}

const startedAt = performance.now();
try {
  const settings = (): Environment => ({ ...store.environment, HALLPASS_MASTER_KEY: masterKey });
  credentials = await createKey(store.dataDir, ['rig', '--scope', SCOPE], settings());
  await fill(store);
  for (let round = 1; round <= options.rounds; round++) {
    const command = chosen === 'each' ? (COMMANDS[round % COMMANDS.length] ?? 'start') : chosen;
    await interrupt(command, { round, key: credentials, settings });
    printProgress(`round ${round} of ${options.rounds}: ${findings.length} findings`);
  }
  endRig(
    {
      engine,
      rounds: options.rounds,
      seed: options.seed,
      ...killed,
      endedBeforeTheKill: tooLate,
      findings: findings.length,
      seconds: Math.round((performance.now() - startedAt) / 100) / 10,
    },
    { findings, json: options.json },
  );
} finally {
  await cluster?.remove();
  await store.remove();
}
