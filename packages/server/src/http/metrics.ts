/** What a Prometheus server may know of this process. No label holds anything that a caller has sent. */
import { collectDefaultMetrics, Histogram, Registry } from '@prometheus-io/client';
import type { Endpoint } from '../oauth/wire.ts';

export interface Metrics {
  readonly answered: (route: string, status: number, seconds: number) => void;
  readonly endpoint: Endpoint;
}

export function openMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: 'hallpass_request_seconds',
    help: 'Time from a request to its answer, by route and status.',
    labelNames: ['route', 'status'] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 10],
    registers: [registry],
  });
  return {
    answered: (route, status, seconds) => requests.observe({ route, status: String(status) }, seconds),
    endpoint: async () => ({
      status: 200,
      headers: { 'content-type': registry.contentType, 'cache-control': 'no-store' },
      body: await registry.metrics(),
    }),
  };
}
