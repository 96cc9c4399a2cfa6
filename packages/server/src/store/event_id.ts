/**
 * Makes ids of events: microseconds, growing with each, for which nothing has to be read. They order the events of one
 * millisecond. The clock is the monotonic one, so that the ids of a process grow whatever is done to its time of day;
 * should two processes meet in a microsecond, the primary key tells, and the later of them tries again.
 */
export function eventIds(): () => number {
  let last = 0;
  return () => {
    last = Math.max(last + 1, Math.floor((performance.timeOrigin + performance.now()) * 1_000));
    return last;
  };
}
