/** What a Prometheus server may know of this process. No label holds anything that a caller has sent. */
import { AggregatorRegistry, collectDefaultMetrics, Histogram } from '@prometheus-io/client';
import type { Endpoint } from '../oauth/wire.ts';

export interface Metrics {
  readonly answered: (route: string, status: number, seconds: number) => void;
  readonly endpoint: Endpoint;
}

/** The metrics of this process. In a worker they are also told to the process that it works for, when that one asks. */
export function openMetrics(): Metrics {
  const registry = new AggregatorRegistry();
  collectDefaultMetrics({ register: registry });
  AggregatorRegistry.setRegistries(registry);
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

/** The metrics of all workers of this process together. */
export function workersMetricsEndpoint(): Endpoint {
  const registry = new AggregatorRegistry();
  return async () => ({
    status: 200,
    headers: { 'content-type': registry.contentType, 'cache-control': 'no-store' },
    body: await registry.clusterMetrics(),
  });
}
