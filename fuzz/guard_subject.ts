/** What the fuzz of the guard tests: the reading of paths and scopes, as functions that a planted defect can replace. */
import { covers, fillScope, opens, parseScope, ScopeSet, type Scope } from '@hallpass/protocol';
import { parsePath } from '../packages/guard/src/policy/path.ts';
import { compilePolicy } from '../packages/guard/src/policy/policy.ts';
import type { Routes } from './guard_oracle.ts';

/** The functions under test. A planted defect replaces one of them by a wrong one. */
export interface Subject {
  readonly parsePath: (url: string) => readonly string[] | undefined;
  readonly match: (routes: Routes) => ReturnType<typeof compilePolicy>['match'];
  readonly parseScope: typeof parseScope;
  readonly fillScope: typeof fillScope;
  readonly covers: typeof covers;
  readonly opens: (claim: string, required: Scope) => boolean;
  readonly opensOne: (words: readonly string[], required: Scope) => boolean;
  readonly contains: (granted: readonly Scope[], requested: Scope) => boolean;
  readonly containsAll: (granted: readonly Scope[], requested: readonly Scope[]) => boolean;
}

/** The guard's own functions. */
export const GENUINE: Subject = {
  parsePath,
  match: (routes) => compilePolicy<Routes>(routes).match,
  parseScope,
  fillScope,
  covers,
  opens,
  opensOne: opens,
  contains: (granted, requested) => new ScopeSet(granted).contains(requested),
  containsAll: (granted, requested) => new ScopeSet(granted).containsAll(requested),
};
