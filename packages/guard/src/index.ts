/** Checks Hallpass access tokens inside an API. */
export {
  createGuard,
  type Access,
  type Denial,
  type Guard,
  type GuardedRequest,
  type GuardHealth,
  type RouteAccess,
} from './guard.ts';
export type { GuardEvent, GuardOptions } from './options.ts';
export { compilePolicy, type CompiledPolicy, type Policy, type RouteMatch } from './policy.ts';
