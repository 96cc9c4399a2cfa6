/** The running server: the public listener and the operator listener in one process. */
import { watchDescriptors } from '../http/descriptors.ts';
import { openLog, type Log } from '../http/log.ts';
import { openMetrics } from '../http/metrics.ts';
import { withOutageLog, type OutageLog } from '../http/outage_log.ts';
import { Readiness } from '../oauth/endpoints/readiness.ts';
import type { Instance } from './instance.ts';
import { readVersion } from './version.ts';
import { startOperatorSide } from './operator_side.ts';
import { startPublicSide } from './public_side.ts';

/** A server that accepts requests. */
export interface Server {
  readonly issuer: string;
  /** Where the public listener really listens. */
  readonly url: string;
  readonly operatorUrl: string;
  /** Reports that it is not ready, and keeps serving until load balancers have had time to notice. */
  readonly drain: () => Promise<void>;
  /** Answers the requests that have begun, writes what is pending, and closes everything, the store included. */
  readonly close: () => Promise<void>;
}

/** Starts both listeners in this process. Rejects with `BadSetting` if a port is taken. */
export async function startServer(instance: Instance): Promise<Server> {
  const readiness = new Readiness(instance.store, instance.clock);
  const metrics = openMetrics(readVersion());
  const log = openServerLog(instance, { readiness, lineDropped: metrics.logLineDropped });
  const publicSide = await startPublicSide(instance, {
    log,
    metrics,
    readiness,
    shared: instance.settings.databaseUrl !== undefined,
  });
  const { endpoint, boundReached } = metrics;
  const operatorSide = await startOperatorSide(instance, { log, readiness, metrics: endpoint, boundReached }).catch(
    async (error: unknown) => {
      await publicSide.close();
      throw error;
    },
  );
  const stopWatching = watchDescriptorsOf(instance, log);
  return {
    issuer: publicSide.issuer,
    url: publicSide.url,
    operatorUrl: operatorSide.url,
    drain: async () => {
      operatorSide.startDraining();
      await publicSide.drain();
    },
    close: async () => {
      stopWatching();
      await Promise.all([publicSide.close(), operatorSide.close()]);
      await instance.store.close();
    },
  };
}

/** Opens the log of a server, in which a store outage is one line instead of one per request. */
export function openServerLog(
  { settings, clock }: Instance,
  { readiness, lineDropped = () => undefined }: { readonly readiness: Readiness; readonly lineDropped?: () => void },
): OutageLog {
  const log = openLog(settings.logLevel, { format: settings.logFormat, lineDropped });
  return withOutageLog(log, { elapsed: clock.elapsed, check: () => readiness.check() });
}

/** Logs when no file descriptor is left for another connection. Returns a function that stops watching. */
export function watchDescriptorsOf({ clock }: Instance, log: Log): () => void {
  return watchDescriptors({ report: (message) => log.outage(new Error(message)), elapsed: () => clock.elapsed() });
}
