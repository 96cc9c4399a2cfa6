/**
 * How many cases a property or a comparison tries: `count` in the suite, which is small so that the suite stays fast.
 * HALLPASS_TEST_RUNS_FACTOR multiplies it for a long run.
 */
export declare function runs(count: number): number;
//# sourceMappingURL=runs.d.ts.map
