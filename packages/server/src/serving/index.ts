/** The door of the `hallpass` package: a Hallpass server inside your own process, for an application or a test. */
import { manageApiKeys } from '../operator/api_keys.ts';
import { openInstanceToServe, type Instance } from './instance.ts';
import { startServer } from './server.ts';
import { settingsOf, type SomeSettings } from './settings/settings.ts';
import { systemClock, systemRandom } from './system.ts';

export { BadSetting } from './settings/bad_setting.ts';
export type { SomeSettings } from './settings/settings.ts';

/** A server that runs in this process. */
export interface RunningHallpass {
  /** The `iss` of its tokens. */
  readonly issuer: string;
  /** Where it answers token requests. */
  readonly url: string;
  /** Where it answers `/metrics` and `/health/...`. */
  readonly operatorUrl: string;
  /** Creates an API key with these scopes. Rejects with an `OperatorRefusal` whose `code` and `data` say what is wrong. */
  readonly createKey: (name: string, scopes: readonly string[]) => Promise<ApiKeyCredentials>;
  /** Answers the requests that have begun, writes what is pending, and closes the listeners and the store. */
  readonly close: () => Promise<void>;
}

/** What a client authenticates with. */
export interface ApiKeyCredentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

/**
 * Starts a server with these settings (docs/configuration.md); the environment is not read. Without an `issuer` it is a development server, which creates its store in `dataDir`. Port 0 takes any
 * free port. Rejects with `BadSetting` if a setting is wrong or a port is taken, and with `StoreUnusable` if the store
 * cannot be opened.
 */
export async function startHallpass(settings: SomeSettings = {}): Promise<RunningHallpass> {
  const system = {
    clock: systemClock,
    random: systemRandom,
    warn: (sentence: string) => process.emitWarning(sentence),
  };
  const instance = await openInstanceToServe(settingsOf(settings), system);
  const { issuer, url, operatorUrl, close } = await startServer(instance).catch(async (error: unknown) => {
    await instance.store.close();
    throw error;
  });
  return {
    issuer,
    url,
    operatorUrl,
    createKey: (name, scopes) => createKey(instance, name, scopes),
    close,
  };
}

async function createKey(instance: Instance, name: string, scopes: readonly string[]): Promise<ApiKeyCredentials> {
  const { client, clientSecret = '' } = await manageApiKeys(instance).create({ name, scopes });
  return { clientId: client.clientId, clientSecret };
}
