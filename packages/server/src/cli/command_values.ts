/** How values are written on the command line. */
import { InvalidArgumentError } from 'commander';

/** A number with its noun, in the singular for one. */
export function countOf(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** A duration in seconds. Throws like `parseDuration`. */
export function parseSeconds(text: string): number {
  return parseDuration(text) / 1000;
}

/** Collects the values of an option that may repeat. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

const UNIT_MS = new Map([
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** A duration, such as 90s, 15m, 24h or 7d, in milliseconds. Throws `InvalidArgumentError` on anything else. */
export function parseDuration(text: string): number {
  const [, count, unit = ''] = /^([0-9]{1,6})([a-z])$/.exec(text) ?? [];
  const unitMs = UNIT_MS.get(unit);
  if (unitMs === undefined) throw new InvalidArgumentError('A duration is a number with a unit: 90s, 15m, 24h, 7d.');
  return Number(count) * unitMs;
}

type Given<Options> = { readonly [Name in keyof Options]?: Exclude<Options[Name], undefined> };

/** The options that were given on the command line. */
export function given<Options extends object>(options: Options): Given<Options>;
export function given(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
