/** The operator listener, `/metrics` and `/health/...`, and the regular upkeep of the store. */
import { PATHS } from '@hallpass/protocol';
import type { OutageLog } from '../http/outage_log.ts';
import type { BoundReached } from '../oauth/limits/bounds.ts';
import { liveEndpoint, readyEndpoint } from '../oauth/endpoints/health.ts';
import type { Readiness } from '../oauth/endpoints/readiness.ts';
import type { Endpoint } from '../wire.ts';
import { forgetSecretKeys, tendIssuerKeys } from '../operator/issuer_keys.ts';
import { forgetExpired } from './forget_expired.ts';
import type { Instance } from './instance.ts';
import { readVersion } from './version.ts';
import { attempt, listenOrExplain, RECOVERY_INTERVAL_MS } from './listening.ts';

/** How often expired rows are deleted and the issuer's keys are tended, in milliseconds. */
const UPKEEP_INTERVAL_MS = 60_000;
/** How often we look for keys that no secret is hashed with any more, in milliseconds. That reads every API key. */
const SECRET_KEYS_INTERVAL_MS = 3_600_000;

/** Starts the operator listener and the regular upkeep of the store: once for all the workers of a machine. */
export async function startOperatorSide(
  instance: Instance,
  {
    log,
    metrics,
    readiness,
    boundReached = () => undefined,
  }: {
    readonly log: OutageLog;
    readonly metrics: Endpoint;
    readonly readiness: Readiness;
    readonly boundReached?: BoundReached;
  },
): Promise<{ readonly url: string; readonly startDraining: () => void; readonly close: () => Promise<void> }> {
  const { settings } = instance;
  let draining = false;
  const listener = await listenOrExplain(
    {
      '/metrics': { GET: metrics },
      [PATHS.live]: { GET: liveEndpoint },
      [PATHS.ready]: { GET: readyEndpoint(readiness, () => draining) },
    },
    {
      host: settings.operatorAddress,
      port: settings.operatorPort,
      log,
      boundReached,
      operatorHosts: settings.operatorHosts,
    },
    { port: 'HALLPASS_OPERATOR_PORT', host: 'HALLPASS_OPERATOR_ADDRESS', beside: settings.port },
  );
  log.info(`Hallpass ${readVersion()} on Node ${process.versions.node}`);
  const timers = [
    setInterval(() => attempt(log, () => forgetExpired(instance)), UPKEEP_INTERVAL_MS),
    setInterval(() => attempt(log, () => tendIssuerKeys(instance)), UPKEEP_INTERVAL_MS),
    setInterval(() => attempt(log, () => forgetSecretKeys(instance)), SECRET_KEYS_INTERVAL_MS),
    setInterval(() => attempt(log, () => log.checkForRecovery()), RECOVERY_INTERVAL_MS),
  ];
  return {
    url: listener.url,
    startDraining: () => {
      draining = true;
    },
    close: async () => {
      draining = true;
      for (const timer of timers) clearInterval(timer);
      await listener.close();
    },
  };
}
