/** How long a connection may be idle between two requests. */

/**
 * In milliseconds. Longer than any proxy in front keeps one: nginx and Envoy a minute, AWS's load balancer a minute. A proxy
 * that sends a request on a connection just as we close it answers its client with 502.
 */
export const KEEP_ALIVE_MS = 72_000;
