/** An operator who works on the store next to the instances: changes keys, and remembers which changes were acknowledged. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Credentials, Environment } from '../../testing/process/process.ts';
import { openInstance, type Instance } from '../../packages/server/src/serving/instance.ts';
import { readSettings } from '../../packages/server/src/serving/settings/settings.ts';
import { systemClock, systemRandom } from '../../packages/server/src/serving/system.ts';
import { manageApiKeys } from '../../packages/server/src/operator/api_keys.ts';
import { OperatorRefusal } from '../../packages/server/src/operator/operator_refusal.ts';
import { rotateIssuerKey } from '../../packages/server/src/operator/issuer_keys.ts';
import { StoreUnavailable } from '../../packages/server/src/store/store.ts';
import { Client } from '../../testing/client/client.ts';
import { SCOPE } from './load.ts';

const PATIENCE_MS = 60_000;
const PAUSE_MS = 100;

/** Changes API keys and signing keys, and judges whether the acknowledged changes hold. */
export class Operator {
  readonly #instance: Instance;
  /** As acknowledged: keys that work, keys that are disabled, signing keys that are published. */
  readonly #good: Credentials[] = [];
  readonly #disabled: Credentials[] = [];
  readonly #signing: string[] = [];
  readonly #lost: string[] = [];

  static async open(dataDir: string, environment: Environment): Promise<Operator> {
    const settings = readSettings({ ...environment, HALLPASS_DATA_DIR: dataDir });
    return new Operator(await openInstance(settings, { clock: systemClock, random: systemRandom }));
  }

  private constructor(instance: Instance) {
    this.#instance = instance;
  }

  /** How many changes were acknowledged. */
  get acknowledged(): number {
    return this.#good.length + 2 * this.#disabled.length + this.#signing.length;
  }

  /** Creates a key, disables the one created before, and rotates the signing key when it is time. */
  async changeKeys(): Promise<void> {
    const keys = manageApiKeys(this.#instance);
    const { client, clientSecret = '' } = await persist(() => keys.create({ name: 'made meanwhile', scopes: [SCOPE] }));
    const [older] = this.#good;
    this.#good.push({ clientId: client.clientId, clientSecret });
    if (older !== undefined) {
      this.#good.shift();
      if ((await unlessRefused(() => keys.disable(older.clientId))) === undefined) this.#lost.push('a key');
      else this.#disabled.push(older);
    }
    // Refused while there is already a next one, which takes over at its time.
    const rotated = await unlessRefused(() => rotateIssuerKey(this.#instance, 'sign'));
    if (rotated !== undefined) this.#signing.push(rotated.keyId);
  }

  /** Which acknowledged changes do not hold at the instance with this URL, one sentence each. */
  async judge(url: string): Promise<readonly string[]> {
    const wrong = this.#lost.splice(0);
    for (const [keys, expected] of [
      [this.#good, 200],
      [this.#disabled.slice(-3), 401],
    ] as const) {
      for (const key of keys) {
        const client = new Client(url, key, { callers: 1 });
        const answer = await client.issue(SCOPE);
        if (answer?.status !== expected) wrong.push(`a key change: ${answer?.status} instead of ${expected}`);
        client.close();
      }
    }
    const published = await (await fetch(`${url}/oauth2/jwks`)).text();
    return [...wrong, ...this.#signing.filter((kid) => !published.includes(kid)).map(() => 'a signing key')];
  }

  async close(): Promise<void> {
    await this.#instance.store.close();
  }
}

async function unlessRefused<Result>(change: () => Promise<Result>): Promise<Result | undefined> {
  return await persist(change).catch((error: unknown) => {
    if (error instanceof OperatorRefusal) return undefined;
    throw error;
  });
}

/** Repeats a change while the store is unavailable. */
async function persist<Result>(change: () => Promise<Result>): Promise<Result> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await change();
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || performance.now() > end) throw error;
    }
    await sleep(PAUSE_MS);
  }
}
