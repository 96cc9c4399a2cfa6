/**
 * Cloudflare's runtime for workers. What a request has opened ends with that request there, the feed too, unless it is
 * opened inside of a durable object.
 */
import { makeHandler } from './api.mjs';

/** A guard that keeps the feed open. */
export class DurableAPI {
  #handle;

  constructor(_state, { ISSUER }) {
    this.#handle = makeHandler(ISSUER);
  }

  fetch(request) {
    return this.#handle(request);
  }
}

let handle;

// oxlint-disable-next-line import/no-default-export -- what a worker is
export default {
  fetch(request, { DURABLE, ISSUER }) {
    if (DURABLE !== undefined) return DURABLE.get(DURABLE.idFromName('api')).fetch(request);
    // A guard that asks the issuer once it has heard nothing for so long.
    handle ??= makeHandler(ISSUER, { whenStale: 'introspect', maxStalenessSeconds: 3, startWaitSeconds: 0 });
    return handle(request);
  },
};
