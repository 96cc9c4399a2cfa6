const FACTOR = Number(process.env['HALLPASS_TEST_CASES_FACTOR'] ?? 1);

/**
 * How many cases a property or a comparison tries: `count` in the suite, which is small so that the suite stays fast.
 * HALLPASS_TEST_CASES_FACTOR multiplies it for a long run.
 */
export function caseCount(count: number): number {
  return Math.ceil(count * FACTOR);
}
