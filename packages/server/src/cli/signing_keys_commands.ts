/** `hallpass signing-keys ...` and `hallpass revoke-everything`: for the schedule, and for the day that a key is lost. */
import { Command } from 'commander';
import type { ListedSigningKey } from '../oauth/key_ring.ts';
import { revocationOfEverything } from '../oauth/revocation.ts';
import { revokeUntilAcknowledged } from '../operator/revocation_moment.ts';
import { listSigningKeys, removeSigningKey, rotateSigningKey, showSigningKey } from '../operator/signing_keys.ts';
import { clockOption, type Clocked } from './clock_option.ts';
import type { WithInstance } from './keys_commands.ts';
import { good, printJson, printLine, printMoment, printTable, strong } from './output.ts';

interface Json {
  readonly json?: boolean;
}

export function signingKeysCommand(withInstance: WithInstance): Command {
  const command = new Command('signing-keys').description('show and replace the keys that tokens are signed with');

  command
    .command('list')
    .description('list the signing keys, in the order in which they sign')
    .option('--json', 'print JSON')
    .action(async ({ json }: Json) => {
      const keys = await withInstance(listSigningKeys);
      if (json === true) return printJson(keys.map(documentOf));
      printTable(
        ['kid', 'alg', 'state', 'made', 'signs from'],
        keys.map(({ keyId, algorithm, state, createdAt, activeFrom }) => [
          keyId,
          algorithm,
          state,
          printMoment(createdAt),
          printMoment(activeFrom),
        ]),
      );
    });

  command
    .command('rotate')
    .description('publish a new signing key now; it signs ten minutes later, when everyone has heard of it')
    .option('--json', 'print JSON')
    .action(async ({ json }: Json) => {
      const key = await withInstance(rotateSigningKey);
      if (json === true) return printJson(documentOf(key));
      printLine(
        `${good('Published')} the signing key ${strong(key.keyId)}. It signs from ${printMoment(key.activeFrom)}.`,
      );
    });

  command
    .command('remove')
    .description('take a signing key out at once, for one that someone else may have: EVERY token there is ends')
    .argument('<kid>')
    .option('--dry-run', 'say what would happen, and do nothing')
    .addOption(clockOption())
    .option('--json', 'print JSON')
    .action(async (keyId: string, { dryRun, clock, json }: Json & Clocked & { readonly dryRun?: boolean }) => {
      if (dryRun === true) {
        await withInstance((instance) => showSigningKey(instance, keyId));
        if (json === true) return printJson({ kid: keyId, removed: false });
        return printLine(`Would take out ${keyId}, sign with another from now on, and end every token there is.`);
      }
      await withInstance((instance) => removeSigningKey(instance, keyId, clock));
      if (json === true) printJson({ kid: keyId, removed: true });
      else
        printLine(
          `${good('Took out')} ${strong(keyId)}. Every token from before is dead; clients get new ones as usual.`,
        );
    });

  return command;
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
      if (json === true) printJson({ revoked: true, before });
      else printLine(`${good('Ended')} every token that was issued before ${printMoment(before * 1000)}.`);
    });
}

function documentOf({ keyId, algorithm, state, createdAt, activeFrom }: ListedSigningKey): object {
  const times = { created_at: new Date(createdAt).toISOString(), active_from: new Date(activeFrom).toISOString() };
  return { kid: keyId, alg: algorithm, state, ...times };
}
