/** `hallpass keys ...`: API keys on the configured store, with or without a running server beside it. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { numericDate } from '@hallpass/protocol';
import { manageApiKeys, type ApiKeys } from '../../operator/api_keys.ts';
import { OperatorRefusal } from '../../operator/operator_refusal.ts';
import { shellWord } from '../../operator/shell_word.ts';
import { clockOption, warnIfAhead, type Clocked } from '../clock_option.ts';
import { countOf, given, parseDuration } from '../command_values.ts';
import { confirm, yesOption, type Confirmed } from '../confirmation.ts';
import { addImportCommand } from './import.ts';
import type { Instance } from '../../serving/instance.ts';
import { deliverMade, lastUse, printKey, printRefreshAdvice, shownDocument } from '../key_output.ts';
import { policyOf, withPolicy, type PolicyOptions } from '../key_policy_options.ts';
import { good, printJson, printLine, printMoment, printTable, printWarning, strong, warn } from '../output.ts';
import { readStandardInput } from '../standard_input.ts';
import { namingTyped, rememberTyped } from '../typed_options.ts';

/** Runs something on an opened instance and closes it. */
export type WithInstance = <Result>(work: (instance: Instance) => Promise<Result>) => Promise<Result>;

interface Json {
  readonly json?: boolean;
}

interface UpdateOptions extends PolicyOptions, Json {
  readonly name?: string;
}

interface CreateOptions extends PolicyOptions, Json {
  readonly clientId?: string;
  readonly clientSecret?: string;
  readonly allowWeakSecret?: boolean;
  readonly publicKeys?: string;
}

export function keysCommand(withInstance: WithInstance): Command {
  const withKeys = <Result>(work: (keys: ApiKeys) => Promise<Result>): Promise<Result> =>
    withInstance((instance) => work(manageApiKeys(instance)));
  const keys = new Command('keys').description('make, show, change and end API keys');

  withPolicy(
    keys
      .command('create')
      .description('make an API key, and show its secret this once')
      .argument('<name>', 'what the key is called, for people'),
  )
    .option('--client-id <id>', 'import existing credentials: the id')
    .option('--client-secret <secret>', 'import existing credentials: the secret, or - to read it from standard input')
    .option('--allow-weak-secret', 'import a secret that could be guessed')
    .option(
      '--public-keys <file>',
      'a file with a JWK or a JWK Set: the key signs with these, and has no secret (private_key_jwt)',
    )
    .option('--json', 'print JSON')
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const publicKeys = options.publicKeys === undefined ? undefined : readJwks(options.publicKeys);
      const imported = await readImported(options);
      await withInstance(async (instance) => {
        const wanted = { name, ...policyOf(options), ...given({ imported, publicKeys }) };
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
        return printLine('There are no API keys yet. Make one with: hallpass keys create NAME --scope SCOPE');
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
    .description('refuse an API key and end every token it was given, at once')
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
    .description('let a disabled API key ask for tokens again; its old tokens stay dead')
    .argument('<client_id>')
    .option('--json', 'print JSON')
    .action(async (clientId: string, { json }: Json) => {
      const key = await withKeys((api) => api.enable(clientId));
      if (json === true) printJson(shownDocument(key));
      else printLine(`${good('Enabled')} ${strong(key.name)} (${clientId}).`);
    });

  withPolicy(
    keys
      .command('update')
      .description('change what an API key may do; what is not named stays as it is, and a list that is named is whole')
      .argument('<client_id>')
      .option('--name <name>', 'what the key is called'),
  )
    .option('--json', 'print JSON')
    .action(async (clientId: string, { json, name, ...options }: UpdateOptions, command: Command) => {
      const changes = { ...given({ name }), ...policyOf(options) };
      if (Object.keys(changes).length === 0)
        throw new OperatorRefusal('Nothing was named to change. See: hallpass keys update --help');
      const key = await withKeys((api) => namingTyped(command, () => api.update(clientId, changes)));
      if (json === true) return printJson(shownDocument(key));
      printLine(
        `${good('Changed')} ${strong(key.name)} (${clientId}). Tokens that are out live to their end; to end them: hallpass keys revoke-tokens ${shellWord(clientId)}`,
      );
      printKey(key);
    });

  keys
    .command('revoke-tokens')
    .description('end every token that an API key was given up to now; the key itself goes on')
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
    .description('delete an API key and end every token it was given, at once')
    .argument('<client_id>')
    .option('--dry-run', 'say what would be deleted, and delete nothing')
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
          `Every token it was given ends, ${countOf(grants, 'refreshed grant')} among them.`,
          `It cannot be brought back (hallpass keys disable ${shellWord(clientId)} would stop it for a while).`,
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
    .description('give an API key a new secret; the old one works on for a while')
    .argument('<client_id>')
    .option(
      '--overlap <duration>',
      'how long the old secret works on, such as 90s, 15m, 24h, 7d; 0s ends it now',
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

function readJwks(file: string): readonly unknown[] {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    throw new OperatorRefusal(`This file cannot be read, or is not JSON: ${file}. It should hold a JWK or a JWK Set.`);
  }
  if (typeof document === 'object' && document !== null && 'keys' in document && Array.isArray(document.keys)) {
    return document.keys;
  }
  return [document];
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
    throw new OperatorRefusal('To import credentials give both --client-id and --client-secret.');
  }
  if (clientSecret === '-') {
    return { clientId, clientSecret: withoutLineEnd(await readStandardInput()), allowWeak: allowWeakSecret };
  }
  printWarning(
    'Every user of this machine can read a command line. To keep a secret off it, say --client-secret - and give the secret on standard input.',
  );
  return { clientId, clientSecret, allowWeak: allowWeakSecret };
}

/** A secret may begin and end with spaces; the line that it came in ends behind it. */
function withoutLineEnd(text: string): string {
  return text.replace(/[\r\n]+$/, '');
}
