/**
 * Callers that follow the retry contract: after a 503, or no response, they repeat the same request at another instance until
 * it is answered. Whatever fails meanwhile, each of their sessions must go on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Acknowledgements, Session } from './acknowledgements.ts';
import type { Chance } from '../../testing/chance.ts';
import { tokensOf, type Answer, type Client } from '../../testing/client/client.ts';
import { Family, WrongAnswer, type Ended } from './family.ts';
import { SCOPE } from './load.ts';

/** How long a caller repeats a request before its session counts as lost, in milliseconds. */
const PATIENCE_MS = 60_000;
const PAUSE_MS_MAX = 100;

/** The shares of what a caller does, out of 1. The rest are refreshes. */
const SHARE_NEW = 0.05;
const SHARE_REVOKE_ACCESS = 0.1;
const SHARE_END = 0.08;
const SHARE_INTROSPECT = 0.2;
const SHARE_TWICE = 0.2;

/** What the callers work with. */
export interface LoadContext {
  /** The current instances: a killed one is replaced by its successor. */
  readonly clients: readonly Client[];
  readonly log: Acknowledgements;
  readonly chance: Chance;
  /** Called for each response that is wrong in itself. */
  readonly found: (what: string) => void;
}

/** Runs the load until `over` aborts. Resolves when the last request is answered, with all families. */
export async function runPersistentLoad(
  context: LoadContext,
  { callers, over }: { readonly callers: number; readonly over: AbortSignal },
): Promise<readonly Family[]> {
  const families: Family[] = [];
  const call = async (): Promise<void> => {
    let caller: PersistentCaller | undefined;
    while (!over.aborted) {
      try {
        if (caller === undefined || caller.isOver || context.chance.next() < SHARE_NEW) {
          caller = await PersistentCaller.begin(context);
          families.push(caller.family);
        }
        await caller.step();
      } catch (error) {
        if (!(error instanceof WrongAnswer)) throw error;
        context.found(error.message);
        caller = undefined;
      }
    }
  };
  await Promise.all(Array.from({ length: callers }, call));
  return families;
}

class PersistentCaller {
  readonly family: Family;
  readonly #context: LoadContext;
  readonly #session: Session;

  static async begin(context: LoadContext): Promise<PersistentCaller> {
    const answer = await persist(context, 'issuing', async (client) => {
      const given = await client.issue(SCOPE);
      return isUnknown(given) ? undefined : given;
    });
    const tokens = tokensOf(answer);
    if (tokens === undefined) throw new WrongAnswer(`issuing was answered with ${answer.status}`);
    return new PersistentCaller(context, tokens.accessToken, tokens.refreshToken);
  }

  private constructor(context: LoadContext, accessToken: string, refreshToken: string) {
    this.#context = context;
    this.#session = context.log.begin(accessToken, refreshToken);
    this.family = new Family(accessToken, refreshToken);
  }

  get isOver(): boolean {
    return this.#session.ended;
  }

  async step(): Promise<void> {
    const choice = this.#context.chance.next();
    if (choice < SHARE_REVOKE_ACCESS) return await this.#revokeAccess();
    if (choice < SHARE_REVOKE_ACCESS + SHARE_END) return await this.#end();
    if (choice < SHARE_REVOKE_ACCESS + SHARE_END + SHARE_INTROSPECT) return await this.#introspect();
    await this.#refresh(this.#context.chance.next() < SHARE_TWICE ? 2 : 1);
  }

  /** Two refreshes at once stand for two browser tabs. Both must get the same token. */
  async #refresh(tabs: number): Promise<void> {
    const { newest } = this.family;
    const asked = Array.from({ length: tabs }, () =>
      this.#persist('a refresh', (at) => this.family.refresh(at, newest)),
    );
    for (const ended of await Promise.all(asked)) {
      if (ended.ended !== 'tokens') throw new WrongAnswer(`a living session was ${ended.ended}`);
      if (ended.refreshToken === this.#session.refreshTokens.at(-1)) this.#session.accessTokens.push(ended.accessToken);
      else this.#context.log.rotated(this.#session, ended.accessToken, ended.refreshToken);
    }
  }

  /** Once this is acknowledged, no instance may call the token active; the family goes on. */
  async #revokeAccess(): Promise<void> {
    const { accessToken } = this.family;
    await persist(this.#context, 'a revocation', async (client) => {
      const answer = await client.revoke(accessToken);
      return isUnknown(answer) ? undefined : demandGood(answer);
    });
    this.#context.log.revokedAccess(this.#session, accessToken);
    await this.#refresh(1);
    const seen = await Promise.all(this.#context.clients.map((client) => client.isActive(accessToken)));
    if (seen.includes(true)) this.#context.found('a token is active after its revocation was acknowledged');
  }

  async #end(): Promise<void> {
    await this.#persist('a revocation', (client) => this.family.revoke(client));
    this.#context.log.ended(this.#session);
    await Promise.all(this.#context.clients.map((client) => this.family.introspect(client)));
  }

  async #introspect(): Promise<void> {
    await this.#persist('an introspection', (client) => this.family.introspect(client));
  }

  #persist(what: string, ask: (client: Client) => Promise<Ended>): Promise<Ended> {
    return persist(this.#context, what, async (client) => {
      const ended = await ask(client);
      return ended.ended === 'unknown' ? undefined : ended;
    });
  }
}

/** Repeats a request until it is answered. */
async function persist<Result>(
  { clients, chance }: LoadContext,
  what: string,
  ask: (client: Client) => Promise<Result | undefined>,
): Promise<Result> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const client = clients[Math.floor(chance.next() * clients.length)];
    const result = client === undefined ? undefined : await ask(client);
    if (result !== undefined) return result;
    if (performance.now() > end) throw new WrongAnswer(`${what} was not answered within ${PATIENCE_MS} ms`);
    await sleep(chance.between(0, PAUSE_MS_MAX));
  }
}

function isUnknown(answer: Answer | undefined): answer is undefined {
  return answer === undefined || answer.status === 503;
}

function demandGood(answer: Answer): Answer {
  if (answer.status === 200) return answer;
  throw new WrongAnswer(`a revocation was answered with ${answer.status}`);
}
