/** What both listeners share: clear errors for a port that cannot be used, and regular tasks that may fail. */
import { listen, type Listener, type Routes } from '../http/listener.ts';
import type { Log } from '../http/log.ts';
import { BadSetting } from './settings/settings.ts';

/** How often we check, while the store is away, whether it is back, in milliseconds. */
export const RECOVERY_INTERVAL_MS = 1_000;

/** Listens, and turns a port or an address that cannot be used into a `BadSetting` that names the setting. */
export async function listenOrExplain(
  routes: Routes,
  at: Parameters<typeof listen>[1],
  settings: {
    readonly port: string;
    readonly host: string;
    /** The port of the other listener of this process. */
    readonly beside?: number;
  },
): Promise<Listener> {
  try {
    return await listen(routes, at);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EADDRINUSE')
      throw new BadSetting(
        settings.beside === at.port
          ? `HALLPASS_PORT and HALLPASS_OPERATOR_PORT are both ${at.port}. Set one of them to another port.`
          : `Port ${at.port} is taken. Stop what uses it, or set ${settings.port} to another port.`,
      );
    if (code === 'EACCES')
      throw new BadSetting(`Port ${at.port} may not be used by this user. Set ${settings.port} to one above 1023.`);
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      throw new BadSetting(`This machine has no address ${at.host}. Set ${settings.host} to one of its addresses.`);
    throw error;
  }
}

/** Runs a regular task. A failure is one line in the log; the task runs again at its next turn. */
export function attempt(log: Log, task: () => Promise<void>): void {
  task().catch((error: unknown) => (error instanceof Error ? log.outage(error) : log.bug(error)));
}
