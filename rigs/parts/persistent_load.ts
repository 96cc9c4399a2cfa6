/**
 * Callers that do as the retry contract says: after a 503, or no answer, the same request again, at whichever instance
 * is next, until there is an answer. Whatever fails meanwhile, each of their sessions has to go on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Acknowledgements, Session } from './acknowledgements.ts';
import type { Chance } from '../../testing/chance.ts';
import { tokensOf, type Answer, type Client } from '../../testing/client.ts';
import { Family, Unfit, type Ended } from './family.ts';
import { SCOPE } from './load.ts';

/** How long a caller asks for the same thing before its session counts as lost, in milliseconds. */
const PATIENCE_MS = 60_000;
const PAUSE_MS_MAX = 100;

/** How often a caller does what: shares of 1, the rest refreshes. */
const SHARE_NEW = 0.05;
const SHARE_REVOKE_ACCESS = 0.1;
const SHARE_END = 0.08;
const SHARE_INTROSPECT = 0.2;
const SHARE_TWICE = 0.2;

export interface Surroundings {
  /** The instances as they are now: one that was killed is replaced by the one that was started in its place. */
  readonly clients: readonly Client[];
  readonly log: Acknowledgements;
  readonly chance: Chance;
  /** Told of each answer that is wrong by itself. */
  readonly found: (what: string) => void;
}

/** Load until it is told that it is over; resolves when the last request was answered, with all families there were. */
export async function runPersistentLoad(
  around: Surroundings,
  { callers, over }: { readonly callers: number; readonly over: AbortSignal },
): Promise<readonly Family[]> {
  const families: Family[] = [];
  const call = async (): Promise<void> => {
    let caller: PersistentCaller | undefined;
    while (!over.aborted) {
      try {
        if (caller === undefined || caller.hasEnded || around.chance.next() < SHARE_NEW) {
          caller = await PersistentCaller.begin(around);
          families.push(caller.family);
        }
        await caller.step();
      } catch (error) {
        if (!(error instanceof Unfit)) throw error;
        around.found(error.message);
        caller = undefined;
      }
    }
  };
  await Promise.all(Array.from({ length: callers }, call));
  return families;
}

class PersistentCaller {
  readonly family: Family;
  readonly #around: Surroundings;
  readonly #session: Session;

  static async begin(around: Surroundings): Promise<PersistentCaller> {
    const answer = await persist(around, 'issuing', async (client) => {
      const given = await client.issue(SCOPE);
      return isUnknown(given) ? undefined : given;
    });
    const tokens = tokensOf(answer);
    if (tokens === undefined) throw new Unfit(`issuing was answered with ${answer.status}`);
    return new PersistentCaller(around, tokens.accessToken, tokens.refreshToken);
  }

  private constructor(around: Surroundings, accessToken: string, refreshToken: string) {
    this.#around = around;
    this.#session = around.log.begin(accessToken, refreshToken);
    this.family = new Family(accessToken, refreshToken);
  }

  get hasEnded(): boolean {
    return this.#session.ended;
  }

  async step(): Promise<void> {
    const choice = this.#around.chance.next();
    if (choice < SHARE_REVOKE_ACCESS) return await this.#revokeAccess();
    if (choice < SHARE_REVOKE_ACCESS + SHARE_END) return await this.#end();
    if (choice < SHARE_REVOKE_ACCESS + SHARE_END + SHARE_INTROSPECT) return await this.#introspect();
    await this.#refresh(this.#around.chance.next() < SHARE_TWICE ? 2 : 1);
  }

  /** Two at once are two tabs: both get the same. */
  async #refresh(tabs: number): Promise<void> {
    const { newest } = this.family;
    const asked = Array.from({ length: tabs }, () =>
      this.#persist('a refresh', (at) => this.family.refresh(at, newest)),
    );
    for (const ended of await Promise.all(asked)) {
      if (ended.ended !== 'tokens') throw new Unfit(`a living session was ${ended.ended}`);
      if (ended.refreshToken === this.#session.refreshTokens.at(-1)) this.#session.accessTokens.push(ended.accessToken);
      else this.#around.log.rotated(this.#session, ended.accessToken, ended.refreshToken);
    }
  }

  /** From the acknowledgement on, no instance says that the token is active; the family goes on. */
  async #revokeAccess(): Promise<void> {
    const { accessToken } = this.family;
    await persist(this.#around, 'a revocation', async (client) => {
      const answer = await client.revoke(accessToken);
      return isUnknown(answer) ? undefined : demandGood(answer);
    });
    this.#around.log.revokedAccess(this.#session, accessToken);
    await this.#refresh(1);
    const seen = await Promise.all(this.#around.clients.map((client) => client.isActive(accessToken)));
    if (seen.includes(true)) this.#around.found('a token is active after its revocation was acknowledged');
  }

  async #end(): Promise<void> {
    await this.#persist('a revocation', (client) => this.family.revoke(client));
    this.#around.log.ended(this.#session);
    await Promise.all(this.#around.clients.map((client) => this.family.introspect(client)));
  }

  async #introspect(): Promise<void> {
    await this.#persist('an introspection', (client) => this.family.introspect(client));
  }

  #persist(what: string, ask: (client: Client) => Promise<Ended>): Promise<Ended> {
    return persist(this.#around, what, async (client) => {
      const ended = await ask(client);
      return ended.ended === 'unknown' ? undefined : ended;
    });
  }
}

/** Asks until there is an answer. */
async function persist<Result>(
  { clients, chance }: Surroundings,
  what: string,
  ask: (client: Client) => Promise<Result | undefined>,
): Promise<Result> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const client = clients[Math.floor(chance.next() * clients.length)];
    const result = client === undefined ? undefined : await ask(client);
    if (result !== undefined) return result;
    if (performance.now() > end) throw new Unfit(`${what} was not answered within ${PATIENCE_MS} ms`);
    await sleep(chance.between(0, PAUSE_MS_MAX));
  }
}

function isUnknown(answer: Answer | undefined): answer is undefined {
  return answer === undefined || answer.status === 503;
}

function demandGood(answer: Answer): Answer {
  if (answer.status === 200) return answer;
  throw new Unfit(`a revocation was answered with ${answer.status}`);
}
