/** `--clock`, for commands that revoke tokens up to a moment. */
import type { Revocation } from '@hallpass/protocol';
import { Option } from 'commander';
import { CLOCKS, type ClockChoice } from '../operator/revocation_moment.ts';
import { printMoment, printWarning } from './output.ts';
import { systemClock } from '../serving/system.ts';

/** What commander makes of the option. */
export interface Clocked {
  readonly clock?: ClockChoice;
}

/** The option. */
export function clockOption(): Option {
  return new Option('--clock <which>', "which clock to trust when this machine's and the store's disagree").choices(
    CLOCKS,
  );
}

/** How far ahead of this machine's clock a revocation may lie without a warning, in seconds: enough for a slow commit. */
const AHEAD_SECONDS = 8;

/** Warns when a revocation lies ahead of this machine's clock. Until then, the keys it covers get no tokens. */
export function warnIfAhead({ before }: Pick<Revocation, 'before'>): void {
  const milliseconds = (before ?? 0) * 1000;
  const ahead = Math.round((milliseconds - systemClock.now()) / 1000);
  if (ahead <= AHEAD_SECONDS) return;
  printWarning(
    `This ends tokens up to ${printMoment(milliseconds)}, ${ahead} s ahead of this machine's clock. A server with this clock answers 503 until then. Set the clock right.`,
  );
}
