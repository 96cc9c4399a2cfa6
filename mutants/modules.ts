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
  scope: {
    sources: ['packages/protocol/src/scope.ts'],
    tests: ['packages/protocol/test/{scope,scope_*,reserved_scopes}.test.ts'],
    scoreMin: 85,
  },
  access_token: {
    sources: ['packages/protocol/src/access_token.ts'],
    tests: ['packages/protocol/test/access_token.test.ts'],
    scoreMin: 85,
  },
  refresh_token: {
    sources: ['packages/protocol/src/refresh_token.ts'],
    tests: ['packages/protocol/test/refresh_token.test.ts'],
    scoreMin: 85,
  },
  jws: {
    sources: ['packages/protocol/src/jws.ts'],
    tests: ['packages/protocol/test/jws.test.ts'],
    scoreMin: 85,
  },
};
