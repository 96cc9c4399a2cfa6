/**
 * The race rig: several callers present one refresh token at once, to several processes on one store. There must be one
 * successor, everybody must get the same bytes, and the answers must be explainable by some sequential order.
 *
 *   node --conditions=hallpass-source rigs/races.ts [--rounds 1000] [--engine sqlite|postgres] [--seed N] [--json]
 *        [--planted-defect]
 *
 * `--rounds`: how many races to run. In some, the predecessor is presented too, or the family is revoked at that moment.
 * `--planted-defect` changes committed rotations behind the servers' back, to show that the rig notices.
 */
import { createKey, startHallpass } from '../testing/process/process.ts';
import { chanceOf, type Chance } from '../testing/chance.ts';
import { Client, tokensOf } from '../testing/client/client.ts';
import { openRigStore } from './parts/engine.ts';
import { Family, WrongAnswer } from './parts/family.ts';
import { SCOPE } from './parts/load.ts';
import { endRig, printProgress, rigOptions } from './parts/rig.ts';

const PROCESSES = 3;
/** How many families race side by side, and how many callers each race has. */
const LANES = 4;
const CALLERS_MIN = 3;
const CALLERS_MAX = 9;
/** How many races a family has before it is revoked. */
const RACES_OF_FAMILY = 20;
const SHARE_WITH_PREDECESSOR = 0.3;

const options = rigOptions({ rounds: 1_000, roundsMax: 10_000_000 });
const engine = options.choose('engine', ['sqlite', 'postgres']);
const chance = chanceOf(options.seed);
const findings: string[] = [];
let races = 0;
let callers = 0;
let families = 0;

const startedAt = performance.now();
const store = await openRigStore(engine);
try {
  const key = await createKey(store.dataDir, ['rig', '--scope', SCOPE], store.environment);
  const servers = await Promise.all(
    Array.from({ length: PROCESSES }, () => startHallpass(store.dataDir, store.environment)),
  );
  const clients = servers.map(({ url }) => new Client(url, key, { callers: LANES * CALLERS_MAX }));
  try {
    await Promise.all(Array.from({ length: LANES }, () => race(clients)));
  } finally {
    for (const client of clients) client.close();
    await Promise.all(servers.map((server) => server.stop()));
  }
} finally {
  await store.remove();
}
const seconds = (performance.now() - startedAt) / 1000;
endRig(
  {
    engine,
    processes: PROCESSES,
    races,
    callers,
    families,
    violations: findings.length,
    seed: options.seed,
    seconds: Math.round(seconds * 10) / 10,
    racesPerSecond: Math.round(races / seconds),
  },
  { findings, json: options.json },
);

/** One family after the other, until there were enough races. */
async function race(clients: readonly Client[]): Promise<void> {
  while (races < options.rounds) {
    const tokens = tokensOf(await pick(clients, chance).issue(SCOPE));
    if (tokens === undefined) throw new Error('a grant was refused');
    const family = new Family(tokens.accessToken, tokens.refreshToken);
    try {
      await raceFamily(family, clients);
    } catch (error) {
      if (!(error instanceof WrongAnswer)) throw error;
      findings.push(error.message);
    }
    const violation = family.findViolation();
    if (violation !== undefined) findings.push(violation);
    families += 1;
    printProgress(`${races} of ${options.rounds} races, ${findings.length} violations`);
  }
}

async function raceFamily(family: Family, clients: readonly Client[]): Promise<void> {
  for (let count = 1; count <= RACES_OF_FAMILY; count++) {
    const { newest, predecessor } = family;
    const size = Math.round(chance.between(CALLERS_MIN, CALLERS_MAX));
    const asked = Array.from({ length: size }, () => family.refresh(pick(clients, chance), newest));
    if (chance.next() < SHARE_WITH_PREDECESSOR) asked.push(family.refresh(pick(clients, chance), predecessor));
    if (count === RACES_OF_FAMILY) asked.push(family.revoke(pick(clients, chance), newest));
    await Promise.all(asked);
    races += 1;
    callers += asked.length;
    if (options.plantedDefect) await changeRotations(family, newest, clients);
    if (family.newest === newest && count < RACES_OF_FAMILY) {
      findings.push('a race had no successor');
      return;
    }
  }
  await Promise.all(clients.flatMap((client) => [family.introspect(client), family.refresh(client, family.newest)]));
}

function pick(clients: readonly Client[], by: Chance): Client {
  const client = clients[Math.floor(by.next() * clients.length)];
  if (client === undefined) throw new Error('there are clients');
  return client;
}

/** Acts like a store that lets a token be rotated twice: the same token, shown again, gets a successor with another date. */
async function changeRotations(family: Family, presented: string, clients: readonly Client[]): Promise<void> {
  await store.tamper('UPDATE families SET rotated_at = rotated_at + 2000');
  await family.refresh(pick(clients, chance), presented);
}
