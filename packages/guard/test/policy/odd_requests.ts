/** Requests for the routes of a policy, good ones and all kinds of odd ones; the same every time. */
import { array, constantFrom, nat, oneof, sample, string, tuple } from 'fast-check';

export interface Asked {
  readonly method: string;
  /** As it goes into the request line. */
  readonly path: string;
}

/** Whoever sees it fail sees it fail again. */
const SEED = 20_260_711;

/** Segments that a value may be: unreserved, reserved, escaped; some look like patterns or like other routes. */
const VALUES = [
  'a1 7 mine transfers latest accounts v1.0 A1 Mine min minee transfer ... .a - _ ~ + a+b undefined',
  "! $& ' (a) * , = : :id :accountID @me a:b ** .* __proto__ constructor toString",
  '%20 mine%20 %C3%A9 e%CC%81 %E2%82%AC %F0%9F%94%91 %23 %3F %26 %40 %3A %28 %5B %7Bid%7D %22 %3C %2B %2b %7C %5E %60',
].flatMap((line) => line.split(' '));

/** Segments on which readers differ. */
const TRAPS = [
  ' . .. %2e %2E%2E .%2e ... a%2fb %2F a%5cb a\\b \\ a;b ; ;v=1 %3b {id} a|b a^b " < ` [a] a#b # a?b',
  '%25 %2541 %252e %252f %00 %0a %7f %c2%85 % %4 %zz %ff %c0%ae %ed%a0%80',
  '%6dine mi%6Ee %61ccounts MINE Accounts TRANSFERS Latest \u00e9 \u00c3\u00a9 \u00a0',
].flatMap((line) => line.split(' '));

const ORIGINS = 'http://evil.example HTTP://EVIL.example http://a@b https://evil.example:1 / //evil.example'.split(' ');
const ENDS = '/ // ? ?x=/accounts/mine ?/../mine #x ;x ;x=1?y %20 /. /.. %3fx %00'.split(' ');

const value = constantFrom(...VALUES);
const trap = constantFrom(...TRAPS);
const random = string({ unit: constantFrom(...Array.from("aZ09-._~!$&'()*+,;=:@%/\\?#2eEfF5cC")), maxLength: 8 });

/** So many requests for these routes. */
export function oddRequests(routes: readonly string[], count: number): readonly Asked[] {
  /** A route with values in the place of its parameters. */
  const filled = tuple(constantFrom(...routes), array(value, { minLength: 4, maxLength: 4 })).map(
    ([route, values]): Asked => {
      const [method = '', pattern = ''] = route.split(' ');
      let at = 0;
      return { method, path: pattern.replaceAll(/\{\w+\}/g, () => values[at++] ?? '') };
    },
  );

  /** Segments in no order at all. */
  const shuffled = tuple(
    constantFrom('GET', 'GET', 'GET', 'POST', 'DELETE'),
    array(oneof(value, value, value, trap, random), { minLength: 1, maxLength: 6 }),
  ).map(([method, segments]): Asked => ({ method, path: `/${segments.join('/')}` }));

  /** A good path to which one thing was done: a segment replaced, put in, lengthened or in capitals, an origin, an end. */
  const disturbed = tuple(
    filled,
    nat(),
    oneof(trap, random, value),
    constantFrom('replace', 'insert', 'append', 'capitals', 'origin', 'end'),
    constantFrom(...ORIGINS),
    constantFrom(...ENDS),
  ).map(([{ method, path }, place, other, what, origin, end]): Asked => {
    const segments = path.split('/');
    const at = 1 + (place % (segments.length - 1));
    const segment = segments[at] ?? '';
    if (what === 'replace') segments[at] = other;
    if (what === 'insert') segments.splice(at, 0, other);
    if (what === 'append') segments[at] = segment + other;
    if (what === 'capitals') segments[at] = segment.toUpperCase();
    const changed = segments.join('/');
    return { method, path: `${what === 'origin' ? origin : ''}${changed}${what === 'end' ? end : ''}` };
  });

  return sample(oneof(filled, disturbed, disturbed, shuffled), { seed: SEED, numRuns: count });
}
