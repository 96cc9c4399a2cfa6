/** `--clock`, for the commands that end tokens until a moment. */
import { Option } from 'commander';
import { CLOCKS, type ClockChoice } from '../operator/revocation_moment.ts';

export interface Clocked {
  readonly clock?: ClockChoice;
}

export function clockOption(): Option {
  return new Option(
    '--clock <which>',
    "whose time to go by when this machine's clock and the store's do not agree",
  ).choices(CLOCKS);
}
