/** Health checks for whatever starts, stops and watches the server: is it alive, and can it do its work? */
import { refuse } from '@hallpass/protocol';
import type { Readiness } from './readiness.ts';
import { respondJson, respondRefusal, type Endpoint } from '../../wire.ts';

/** Alive as long as it can answer at all: restarting it does not bring the store back. */
export const liveEndpoint: Endpoint = async () => respondJson(200, { status: 'live' });

/** Ready when it can do everything, including writes to the store; not while it drains. */
export function readyEndpoint(readiness: Readiness, isDraining: () => boolean): Endpoint {
  return async () => {
    if (isDraining()) return respondRefusal(refuse('temporarily_unavailable', { because: 'draining' }));
    await readiness.check();
    return respondJson(200, { status: 'ready' });
  };
}
