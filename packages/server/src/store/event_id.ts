/**
 * Returns a generator of event ids: microseconds that grow with each call, so that no read is needed. They order the
 * events within a millisecond. They follow the monotonic clock, so they grow even when the time of day is set back. If two
 * processes make the same id, the primary key rejects the second one, and its operation is retried.
 */
export function eventIds(): () => number {
  let last = 0;
  return () => {
    last = Math.max(last + 1, Math.floor((performance.timeOrigin + performance.now()) * 1_000));
    return last;
  };
}
