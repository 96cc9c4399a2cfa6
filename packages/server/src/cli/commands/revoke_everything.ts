/** `hallpass revoke-everything`: for an emergency, such as a leak. */
import { Command } from 'commander';
import { revocationOfEverything } from '../../oauth/tokens/revocations.ts';
import { findPriceOfEverything, type KeyPrice } from '../../operator/key_price.ts';
import { revokeUntilAcknowledged } from '../../operator/revocation_moment.ts';
import { clockOption, warnIfAhead, type Clocked } from '../clock_option.ts';
import { countOf } from '../command_values.ts';
import { confirm, yesOption, type Confirmed, type Question } from '../confirmation.ts';
import type { WithInstance } from '../with_instance.ts';
import { good, printJson, printLine, printMoment, warn } from '../output.ts';

interface Json {
  readonly json?: boolean;
}

/** The command `revoke-everything`. */
export function revokeEverythingCommand(withInstance: WithInstance): Command {
  return new Command('revoke-everything')
    .description('revoke every token that was issued up to now, of every key')
    .option('--dry-run', 'say what would end, and change nothing')
    .addOption(yesOption())
    .addOption(clockOption())
    .option('--json', 'print JSON')
    .action(async (options: Json & Clocked & Confirmed & { readonly dryRun?: boolean }) => {
      await withInstance(async (instance) => {
        const rest = 'API keys stay as they are, and get new tokens at once.';
        if (options.dryRun === true) {
          const { apiKeys, grants } = await findPriceOfEverything(instance);
          if (options.json === true) return printJson({ revoked: false, api_keys: apiKeys, refreshed_grants: grants });
          return printLine(`${warn('Would end')} ${everyToken({ apiKeys, grants })}. ${rest}`);
        }
        const question = async (): Promise<Question> => ({
          does: `ends ${everyToken(await findPriceOfEverything(instance))}`,
          costs: [rest],
        });
        await confirm(question, options, instance.settings);
        const event = { at: instance.clock.now(), kind: 'everything_revoked' };
        const { revocation } = await revokeUntilAcknowledged(instance, options.clock, {
          revocationAt: revocationOfEverything,
          write: (everything) => instance.store.revoke([everything], event),
        });
        const before = revocation.before ?? 0;
        warnIfAhead({ before });
        if (options.json === true) return printJson({ revoked: true, before });
        printLine(`${good('Ended')} every token that was issued before ${printMoment(before * 1000)}.`);
      });
    });
}

function everyToken({ apiKeys, grants }: Pick<KeyPrice, 'apiKeys' | 'grants'>): string {
  return `every token of ${countOf(apiKeys, 'API key')}, ${countOf(grants, 'refreshed grant')} among them`;
}
