/** `hallpass keys ...`: the API keys of the configured store, whether or not a server runs on it. */
import { Command } from 'commander';
import { numericDate } from '@hallpass/protocol';
import { manageApiKeys, type ApiKeys } from '../../operator/api_keys.ts';
import { KEY_FIELDS, wordsOf } from '../../operator/key_fields.ts';
import { shellWord } from '../shell_word.ts';
import { clockOption, warnIfAhead, type Clocked } from '../clock_option.ts';
import { countOf, given, parseDuration } from '../command_values.ts';
import { confirm, yesOption, type Confirmed } from '../confirmation.ts';
import { addImportCommand } from './import.ts';
import type { WithInstance } from '../with_instance.ts';
import { deliverMade, lastUse, printKey, printRefreshAdvice, shownDocument } from '../key_output.ts';
import { CommandRefusal } from '../command_refusal.ts';
import { keyFieldsOf, readJwks, withKeyOptions, type KeyOptions } from '../key_options.ts';
import { good, printJson, printLine, printMoment, printTable, printWarning, strong, warn } from '../output.ts';
import { readStandardInput } from '../standard_input.ts';
import { namingTyped, rememberTyped } from '../refused_options.ts';

interface Json {
  readonly json?: boolean;
}

interface CreateOptions extends Json {
  readonly clientId?: string;
  readonly clientSecret?: string;
  readonly allowWeakSecret?: boolean;
}

/** The command `keys`. */
export function keysCommand(withInstance: WithInstance): Command {
  const withKeys = <Result>(work: (keys: ApiKeys) => Promise<Result>): Promise<Result> =>
    withInstance((instance) => work(manageApiKeys(instance)));
  const keys = new Command('keys').description('create, show, change and delete API keys');

  withKeyOptions(
    keys
      .command('create')
      .description('create an API key and show its secret, once')
      .argument('<name>', wordsOf(KEY_FIELDS.name)),
    { except: ['name'] },
  )
    .option('--client-id <id>', 'import existing credentials: the id')
    .option('--client-secret <secret>', 'import existing credentials: the secret, or - to read it from standard input')
    .option('--allow-weak-secret', 'import a secret that could be guessed')
    .option('--json', 'print JSON')
    .action(async (name: string, options: CreateOptions & KeyOptions, command: Command) => {
      const fields = keyFieldsOf(options);
      const imported = await readImported(options);
      await withInstance(async (instance) => {
        const wanted = { ...fields, name, ...given({ imported }) };
        const pending = await namingTyped(command, () => manageApiKeys(instance).prepare(wanted));
        await deliverMade(pending, options, () => {
          printLine(`${good('Made')} the API key ${strong(pending.client.name)}.`);
          printRefreshAdvice(pending);
        });
      });
    });

  addImportCommand(keys, withInstance);

  keys
    .command('list')
    .description('list the API keys')
    .option('--json', 'print JSON')
    .action(async ({ json }: Json) => {
      const all = await withKeys((api) => api.list());
      if (json === true) return printJson(all.map(shownDocument));
      if (all.length === 0)
        return printLine('There are no API keys yet. Create one: hallpass keys create NAME --scope SCOPE');
      printTable(
        ['client_id', 'name', 'mode', 'state', 'last used', 'scopes'],
        all.map((key) => [
          key.clientId,
          key.name,
          key.mode,
          key.disabled ? 'disabled' : 'enabled',
          lastUse(key) ?? 'never',
          key.resourceServerFor.length > 0
            ? `resource server for ${key.resourceServerFor.join(' ')}`
            : key.scopes.join(' '),
        ]),
      );
    });

  keys
    .command('show')
    .description('show one API key')
    .argument('<client_id>')
    .option('--json', 'print JSON')
    .action(async (clientId: string, { json }: Json) => {
      const key = await withKeys((api) => api.show(clientId));
      if (json === true) printJson(shownDocument(key));
      else printKey(key);
    });

  keys
    .command('disable')
    .description('disable an API key and revoke every token issued to it, at once')
    .argument('<client_id>')
    .addOption(clockOption())
    .option('--json', 'print JSON')
    .action(async (clientId: string, { clock, json }: Json & Clocked) => {
      const key = await withKeys((api) => api.disable(clientId, clock));
      if (json === true) printJson(shownDocument(key));
      else printLine(`${good('Disabled')} ${strong(key.name)} (${clientId}).`);
    });

  keys
    .command('enable')
    .description('let a disabled API key request tokens again; its old tokens stay revoked')
    .argument('<client_id>')
    .option('--json', 'print JSON')
    .action(async (clientId: string, { json }: Json) => {
      const key = await withKeys((api) => api.enable(clientId));
      if (json === true) printJson(shownDocument(key));
      else printLine(`${good('Enabled')} ${strong(key.name)} (${clientId}).`);
    });

  withKeyOptions(
    keys
      .command('update')
      .description('change fields of an API key; the others stay as they are, and a list is replaced as a whole')
      .argument('<client_id>'),
    { except: ['publicKeys'] },
  )
    .option('--json', 'print JSON')
    .action(async (clientId: string, { json, ...options }: Json & KeyOptions, command: Command) => {
      const changes = keyFieldsOf(options);
      if (Object.keys(changes).length === 0)
        throw new CommandRefusal('Name at least one field to change. See: hallpass keys update --help');
      const key = await withKeys((api) => namingTyped(command, () => api.update(clientId, changes)));
      if (json === true) return printJson(shownDocument(key));
      printLine(
        `${good('Changed')} ${strong(key.name)} (${clientId}). Tokens already issued stay valid until they expire. To revoke them: hallpass keys revoke-tokens ${shellWord(clientId)}`,
      );
      printKey(key);
    });

  keys
    .command('revoke-tokens')
    .description('revoke every token issued to an API key up to now; the key itself stays valid')
    .argument('<client_id>')
    .addOption(clockOption())
    .option('--json', 'print JSON')
    .action(async (clientId: string, { clock, json }: Json & Clocked) => {
      warnIfAhead(await withKeys((api) => api.revokeTokens(clientId, clock)));
      if (json === true) printJson({ client_id: clientId, tokens_revoked: true });
      else printLine(`${good('Ended')} every token of ${clientId}.`);
    });

  keys
    .command('set-public-keys')
    .description(
      'replace the public keys of an API key that signs: the new one, and the old one for as long as it is in use',
    )
    .argument('<client_id>')
    .argument('<file>', 'a file with a JWK or a JWK Set')
    .option('--json', 'print JSON')
    .action(async (clientId: string, file: string, { json }: Json) => {
      const key = await withKeys((api) => api.setPublicKeys(clientId, readJwks(file)));
      if (json === true) printJson(shownDocument(key));
      else printLine(`${good('Changed')} the public keys of ${strong(key.name)} (${clientId}).`);
    });

  keys
    .command('delete')
    .description('delete an API key and revoke every token issued to it, at once')
    .argument('<client_id>')
    .option('--dry-run', 'say what would be deleted, and change nothing')
    .addOption(yesOption())
    .addOption(clockOption())
    .option('--json', 'print JSON')
    .action(async (clientId: string, options: Json & Clocked & Confirmed & { readonly dryRun?: boolean }) => {
      await withInstance(async (instance) => {
        const api = manageApiKeys(instance);
        const key = await api.show(clientId);
        const grants = await instance.store.countGrants(numericDate(instance.clock.now()), clientId);
        const document = { ...shownDocument(key), refreshed_grants: grants };
        const costs = [
          `Every token issued to it ends, including ${countOf(grants, 'refreshed grant')}.`,
          `It cannot be restored. (To stop it for a while instead: hallpass keys disable ${shellWord(clientId)})`,
        ];
        if (options.dryRun === true) {
          if (options.json === true) return printJson({ ...document, deleted: false });
          printLine(`${warn('Would delete')} this key. ${costs.join(' ')}`);
          return printKey(key);
        }
        const does = `deletes the API key ${key.name} (${clientId})`;
        await confirm(async () => ({ does, costs }), options, instance.settings);
        await api.delete(clientId, options.clock);
        if (options.json === true) return printJson({ ...document, deleted: true });
        printLine(`${good('Deleted')} ${strong(key.name)} (${clientId}).`);
      });
    });

  keys
    .command('rotate-secret')
    .description('give an API key a new secret; the old one keeps working for a while')
    .argument('<client_id>')
    .option(
      '--overlap <duration>',
      'how long the old secret keeps working, such as 90s, 15m, 24h or 7d; 0s ends it now',
      parseDuration,
      86_400_000,
    )
    .option('--json', 'print JSON')
    .action(async (clientId: string, options: Json & { readonly overlap: number }) => {
      await withInstance(async (instance) => {
        const pending = await manageApiKeys(instance).prepareSecret(clientId, options.overlap);
        const [, old] = pending.client.secrets;
        await deliverMade(pending, options, () => {
          printLine(`${good('Made')} a new secret for ${strong(pending.client.name)}.`);
          printLine(
            old?.expiresAt === undefined
              ? 'The old secret has ended.'
              : `The old secret works until ${printMoment(old.expiresAt)}.`,
          );
        });
      });
    });

  for (const command of keys.commands) rememberTyped(command);
  return keys;
}

async function readImported({
  clientId,
  clientSecret,
  allowWeakSecret = false,
}: CreateOptions): Promise<
  { readonly clientId: string; readonly clientSecret: string; readonly allowWeak: boolean } | undefined
> {
  if (clientId === undefined && clientSecret === undefined) return undefined;
  if (clientId === undefined || clientSecret === undefined) {
    throw new CommandRefusal('To import credentials, give both --client-id and --client-secret.');
  }
  if (clientSecret === '-') {
    return { clientId, clientSecret: withoutLineEnd(await readStandardInput()), allowWeak: allowWeakSecret };
  }
  printWarning(
    'Every user of this machine can read a command line. To keep the secret off it, use --client-secret - and give the secret on standard input.',
  );
  return { clientId, clientSecret, allowWeak: allowWeakSecret };
}

/** Drops the end of the line. A secret may itself begin and end with spaces. */
function withoutLineEnd(text: string): string {
  return text.replace(/[\r\n]+$/, '');
}
