/** Closed-loop load: each caller sends its next request as soon as it has the answer to the last. */
export interface Measured {
  readonly count: number;
  readonly seconds: number;
  readonly latenciesMs: readonly number[];
}

/** Runs so many calls from so many callers; stops early at the time bound. A call that fails ends the run. */
export async function runCallers(
  call: (at: number) => Promise<void>,
  { callers, count, secondsMax }: { readonly callers: number; readonly count: number; readonly secondsMax: number },
): Promise<Measured> {
  const latenciesMs: number[] = [];
  const startedAt = performance.now();
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < count && performance.now() - startedAt < secondsMax * 1000) {
      const askedAt = performance.now();
      await call(next++);
      latenciesMs.push(performance.now() - askedAt);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { count: latenciesMs.length, seconds: (performance.now() - startedAt) / 1000, latenciesMs };
}
