/** The modules that mutation testing covers: import files to mutate, the tests that must notice, and the score to reach. */

export interface MutatedModule {
  /** The sources that Stryker changes, one place at a time. */
  readonly sources: readonly string[];
  /** The tests that it runs against each change, as globs. */
  readonly tests: readonly string[];
  /** The lowest share of changes that a test has to notice, in percent. */
  readonly scoreMin: number;
}

export const MODULES: Readonly<Record<string, MutatedModule>> = {
  scope: protocol('scope', '{scope,scope_*,reserved_scopes}'),
  access_token: protocol('access_token', 'access_token'),
  refresh_token: protocol('refresh_token', 'refresh_token'),
  jws: protocol('jws', 'jws'),
  minting: {
    sources: ['packages/server/src/oauth/tokens/*.ts'],
    tests: ['packages/server/test/oauth/{access_token,opaque,refresh_token}.test.ts'],
    scoreMin: 85,
  },
  path: guard('policy/path', 'policy/{path,policy}'),
  policy: guard('policy/policy', 'policy/{policy,policy_*,route_truth_table,scopes}'),
  request: guard('request', '{request,credentials/credentials,possession/dpop}'),
  decision: guard('decision', '{decision,guard,credentials/credentials,possession/{dpop,nonces}}'),
  possession: guard('possession/possession', 'possession/{possession,dpop}'),
  verification: guard('credentials/verification', '{attacks,credentials/verification}'),
  guard: guard('guard', '{guard,metrics,credentials/*,policy/scopes,possession/{dpop,nonces},testing/*}'),
};

function protocol(source: string, tests: string): MutatedModule {
  return {
    sources: [`packages/protocol/src/${source}.ts`],
    tests: [`packages/protocol/test/${tests}.test.ts`],
    scoreMin: 85,
  };
}

function guard(source: string, tests: string): MutatedModule {
  return {
    sources: [`packages/guard/src/${source}.ts`],
    tests: [`packages/guard/test/${tests}.test.ts`],
    scoreMin: 85,
  };
}
