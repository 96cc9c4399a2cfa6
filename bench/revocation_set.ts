/**
 * What revocations cost a guard: `npm run bench:revocations`. The memory of a million live revocations in MiB, the slowest
 * addition on the way, and the time of a look-up compared with an empty set: for a new token, and for one that was looked
 * up before.
 */
import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { makeIdentifier } from '@hallpass/protocol';
import { neverSeen, RevocationSet, type Seen } from '../packages/guard/src/revocations/revocation_set.ts';
import { numberOption, printFigures } from './bench.ts';
import { median, percentile, rounded } from '../testing/statistics.ts';

const LOOK_UPS = 200_000;
const ROUNDS = 21;
const MIB = 1024 * 1024;
const count = numberOption('revocations', { otherwise: 1_000_000, min: 1_000, max: 4_000_000 });

setFlagsFromString('--expose-gc');

/** Bytes in use, within the heap and outside of it. */
function bytesUsed(): number {
  // The function is there for a context that is made after the flag was set.
  for (let round = 0; round < 3; round++) runInNewContext('gc()');
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

await printFigures('revocation_set', async () => {
  const now = Date.now();
  const expires_at = Math.floor(now / 1000) + 3_600;
  const clock = { now: () => now };
  const random = (length: number): Uint8Array<ArrayBuffer> => Uint8Array.from(randomBytes(length));
  const makeId = (): string => makeIdentifier(now, random);
  const empty = new RevocationSet(clock, 5);
  const set = new RevocationSet(clock, 5);
  const addMs = new Float64Array(count);
  const before = bytesUsed();
  for (let at = 0; at < count; at++) {
    const id = makeId();
    const start = performance.now();
    set.add({ kind: at % 2 === 0 ? 'token' : 'grant', id, expires_at });
    addMs[at] = performance.now() - start;
  }
  const mebibytes = (bytesUsed() - before) / MIB;
  const [p99, p9999, worst] = [99, 99.99, 100].map((percent) => percentile([...addMs], percent) * 1000);
  const tokens = Array.from({ length: LOOK_UPS }, () => ({
    jti: makeId(),
    grant_id: makeId(),
    client_id: 'client-1',
    iat: expires_at - 3_600,
    seen: neverSeen(),
  }));
  // By turns, so that both see the same machine.
  const times = { empty: new Array<number>(), full: new Array<number>(), again: new Array<number>() };
  for (let round = 0; round < ROUNDS; round++) {
    times.empty.push(timeChecks(empty, tokens));
    times.full.push(timeChecks(set, tokens));
    if (round > 0) times.again.push(timeChecks(set, tokens, ({ seen }) => seen));
    else timeChecks(set, tokens, ({ seen }) => seen);
  }
  return {
    revocations: set.size,
    mebibytes: rounded(mebibytes),
    bytesEach: rounded((mebibytes * MIB) / set.size),
    addP99Microseconds: rounded(p99 ?? 0),
    addP9999Microseconds: rounded(p9999 ?? 0),
    addWorstMicroseconds: rounded(worst ?? 0),
    checkNanoseconds: rounded(median(times.full)),
    checkAgainNanoseconds: rounded(median(times.again)),
    checkOfEmptyNanoseconds: rounded(median(times.empty)),
  };
});

type Token = Parameters<RevocationSet['ends']>[0] & { readonly seen: Seen };

/** The mean time of one look-up, in nanoseconds. */
function timeChecks(
  set: RevocationSet,
  tokens: readonly Token[],
  seenOf: (token: Token) => Seen | undefined = () => undefined,
): number {
  let ended = 0;
  const start = performance.now();
  for (const token of tokens) if (set.ends(token, seenOf(token))) ended += 1;
  const elapsedMs = performance.now() - start;
  if (ended > 0) throw new Error('a token that nobody revoked was refused');
  return (elapsedMs * 1e6) / tokens.length;
}
