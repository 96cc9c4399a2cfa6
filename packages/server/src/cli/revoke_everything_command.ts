/** `hallpass revoke-everything`: for the day that something has leaked. */
import { Command } from 'commander';
import { revocationOfEverything } from '../oauth/revocation.ts';
import { revokeUntilAcknowledged } from '../operator/revocation_moment.ts';
import { clockOption, warnIfAhead, type Clocked } from './clock_option.ts';
import type { WithInstance } from './keys_commands.ts';
import { good, printJson, printLine, printMoment } from './output.ts';

interface Json {
  readonly json?: boolean;
}

export function revokeEverythingCommand(withInstance: WithInstance): Command {
  return new Command('revoke-everything')
    .description('end every token of every key that was issued up to now')
    .option('--dry-run', 'say what would happen, and do nothing')
    .addOption(clockOption())
    .option('--json', 'print JSON')
    .action(async ({ dryRun, clock, json }: Json & Clocked & { readonly dryRun?: boolean }) => {
      if (dryRun === true) {
        if (json === true) return printJson({ revoked: false });
        return printLine('Would end every token of every key. API keys stay as they are, and get new tokens at once.');
      }
      const before = await withInstance(async (instance) => {
        const event = { at: instance.clock.now(), kind: 'everything_revoked' };
        const { revocation } = await revokeUntilAcknowledged(instance, clock, {
          revocationAt: revocationOfEverything,
          write: (everything) => instance.store.revoke([everything], event),
        });
        return revocation.before ?? 0;
      });
      warnIfAhead({ before });
      if (json === true) printJson({ revoked: true, before });
      else printLine(`${good('Ended')} every token that was issued before ${printMoment(before * 1000)}.`);
    });
}
