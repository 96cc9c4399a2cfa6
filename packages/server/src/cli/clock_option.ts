/** `--clock`, for the commands that end tokens until a moment. */
import type { Revocation } from '@hallpass/protocol';
import { Option } from 'commander';
import { CLOCKS, type ClockChoice } from '../operator/revocation_moment.ts';
import { printMoment, printWarning } from './output.ts';
import { systemClock } from '../serving/system.ts';

export interface Clocked {
  readonly clock?: ClockChoice;
}

export function clockOption(): Option {
  return new Option(
    '--clock <which>',
    "whose time to go by when this machine's clock and the store's do not agree",
  ).choices(CLOCKS);
}

/** How far ahead of this machine's clock a revocation may lie without a word, in seconds: it covers a slow commit. */
const AHEAD_SECONDS = 8;

/** Says so when a revocation lies ahead of this machine's clock: until then nobody that it is about gets a token. */
export function warnIfAhead({ before }: Pick<Revocation, 'before'>): void {
  const milliseconds = (before ?? 0) * 1000;
  const ahead = Math.round((milliseconds - systemClock.now()) / 1000);
  if (ahead <= AHEAD_SECONDS) return;
  printWarning(
    `This ends tokens up to ${printMoment(milliseconds)}, ${ahead} s ahead of this machine's clock. A server with this clock answers 503 until then. Set the clock right.`,
  );
}
