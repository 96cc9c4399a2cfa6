/** The modules that mutation testing covers: the files to mutate, the tests that must notice, and the score to reach. */

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
  mint: server('mint', '{access_token,opaque_policy,outage,token_endpoint,token_exchange}'),
  lifetimes: server('{lifetimes,grant_expiry}', 'grant_lifetimes'),
  revocations: server('{revocations,security_events}', 'revocation_bounds'),
  liveness: server('liveness', '{opaque_policy,opaque}'),
  open: server('{open,opaque_token}', '{opaque,opaque_policy}'),
  path: guard('policy/path', 'policy/{path,policy}'),
  policy: guard('policy/policy', 'policy/{policy,policy_*,route_truth_table,scopes}'),
  request: guard('request', '{ambiguous_request,attacks,credentials/credentials,possession/*}'),
  decision: guard('decision', '{guard,credentials/credentials,possession/*}'),
  possession: guard('possession/possession', 'possession/*'),
  verification: guard('credentials/verification', '{attacks,credentials/*}'),
  check: guard(
    '{check,possession/binding}',
    '{ambiguous_request,guard,metrics,misconfiguration,credentials/{credentials,remembered},possession/*,testing/*}',
  ),
  freshness: guard('freshness', '{guard,misconfiguration,revocations/{clock*,feed},possession/*}'),
  denials: guard('denials', '{guard,metrics,possession/*,revocations/clock*}'),
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

function server(source: string, tests: string): MutatedModule {
  return {
    sources: [`packages/server/src/oauth/tokens/${source}.ts`],
    tests: [`packages/server/test/oauth/${tests}.test.ts`],
    scoreMin: 85,
  };
}
