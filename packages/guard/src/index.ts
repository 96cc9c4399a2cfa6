/** Checks Hallpass access tokens inside an API. */
export { createGuard } from './create_guard.ts';
export type { Guard, GuardHealth, ValuesFor } from './guard.ts';
export type { GuardOptions, WhenStale } from './options.ts';
export { Misconfigured } from './misconfiguration.ts';
export type { GuardEvent } from './guard_event.ts';
export type { GuardMetrics } from './guard_metrics.ts';
export type { GuardedRequest } from './request.ts';
export type { Access, Decision, Denial, PathValues, RouteAccess, RouteDecision } from './decision.ts';
export { metadataPath, type ResourceMetadata } from './resource_metadata.ts';
export { compilePolicy, type Policy, type PolicyOptions, type PolicyRoutes } from './policy/policy.ts';
