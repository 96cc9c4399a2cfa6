/**
 * `hallpass signing-keys`, `refresh-keys`, `secret-keys`, `opaque-keys`: the issuer's own keys, with the same commands for
 * each use.
 */
import { Command } from 'commander';
import type { ListedKey } from '../../oauth/keys/key_ring.ts';
import { KEY_USES, USES } from '../../oauth/keys/key_uses.ts';
import {
  listIssuerKeys,
  priceIssuerKey,
  removeIssuerKey,
  rotateIssuerKey,
  showIssuerKey,
} from '../../operator/issuer_keys.ts';
import type { KeyPrice } from '../../operator/key_price.ts';
import type { KeyUse } from '../../store/store.ts';
import { clockOption, type Clocked } from '../clock_option.ts';
import { countOf } from '../command_values.ts';
import { confirm, yesOption, type Confirmed, type Question } from '../confirmation.ts';
import type { WithInstance } from '../with_instance.ts';
import { good, printFields, printJson, printLine, printMoment, printTable, strong, warn } from '../output.ts';
import { shellWord } from '../shell_word.ts';

interface Json {
  readonly json?: boolean;
}

interface Words {
  /** What the keys do, to end `show and replace the keys that ...`. */
  readonly work: string;
  /** What removing one ends, for `--help`. */
  readonly ends: string;
  /** What a new key begins to do, and a key is shown to do, at a moment. */
  readonly begins: string;
  /** What removing a key costs, in sentences that are true before it and after it. */
  readonly price: (price: KeyPrice) => readonly string[];
  readonly document: (price: KeyPrice) => object;
}

/** What ends when everything is revoked, as far as it has rows to count. */
const everythingOf = ({ apiKeys, grants }: KeyPrice): string =>
  `Every token from before is dead, of ${countOf(apiKeys, 'API key')} and ${countOf(grants, 'refreshed grant')}; clients get new ones as usual.`;
const everythingDocument = ({ apiKeys, grants }: KeyPrice): object => ({
  api_keys: apiKeys,
  refreshed_grants: grants,
});

const WORDS: Readonly<Record<KeyUse, Words>> = {
  sign: {
    work: 'tokens are signed with',
    ends: 'EVERY token ends',
    begins: 'signs',
    price: (price) => [everythingOf(price)],
    document: everythingDocument,
  },
  refresh_mac: {
    work: 'refresh tokens are sealed with',
    ends: 'every refresh token sealed with it ends',
    begins: 'seals',
    price: ({ grants }) => [
      `Every refresh token sealed with it is dead: ${countOf(grants, 'refreshed grant')} at least, and those that were never refreshed.`,
      'Access tokens stay valid. Clients request a new token with their own key (client_credentials), as usual.',
    ],
    document: ({ grants }) => ({ refreshed_grants: grants }),
  },
  secret_mac: {
    work: 'the secrets of API keys are hashed with',
    ends: 'every secret that is still hashed with it ends',
    begins: 'hashes',
    price: ({ secrets }) =>
      secrets.length === 0
        ? ['No secret is hashed with it.']
        : [
            `${countOf(secrets.length, 'secret')} hashed with it can no longer be used. Tokens stay valid. Make new secrets:`,
            ...secretsOf(secrets),
          ],
    document: ({ secrets }) => ({
      secrets: secrets.map(({ clientId, secretId }) => ({ client_id: clientId, secret_id: secretId })),
    }),
  },
  access_seal: {
    work: 'opaque access tokens are sealed with',
    ends: 'every opaque token sealed with it ends, and with them EVERY other token',
    begins: 'seals',
    price: (price) =>
      price.everything
        ? [everythingOf(price)]
        : ['No API key uses opaque tokens, so no valid token is sealed with it.'],
    document: (price) => ({ every_token: price.everything, ...(price.everything ? everythingDocument(price) : {}) }),
  },
};

/** The commands of all uses. */
export function issuerKeysCommands(withInstance: WithInstance): readonly Command[] {
  return USES.map((use) => commandOf(use, withInstance));
}

function commandOf(use: KeyUse, withInstance: WithInstance): Command {
  const { name } = KEY_USES[use];
  const { work, ends, begins, price, document } = WORDS[use];
  const command = new Command(`${name}-keys`).description(`show and replace the keys that ${work}`);

  command
    .command('list')
    .description(`list the ${name} keys, in the order in which they are used`)
    .option('--json', 'print JSON')
    .action(async ({ json }: Json) => {
      const keys = await withInstance((instance) => listIssuerKeys(instance, use));
      if (json === true) return printJson(keys.map(documentOf));
      printTable(
        ['kid', 'alg', 'state', 'made', `${begins} from`],
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
    .command('show')
    .description(`show one ${name} key, and what removing it would end`)
    .argument('<kid>')
    .option('--json', 'print JSON')
    .action(async (keyId: string, { json }: Json) => {
      const [key, found] = await withInstance(
        async (instance) =>
          [await showIssuerKey(instance, use, keyId), await priceIssuerKey(instance, use, keyId)] as const,
      );
      if (json === true) return printJson({ ...documentOf(key), ...document(found) });
      printFields([
        ['kid', key.keyId],
        ['alg', key.algorithm],
        ['state', key.state],
        ['made', printMoment(key.createdAt)],
        [`${begins} from`, printMoment(key.activeFrom)],
      ]);
      printPrice('If you remove it:', price(found));
    });

  command
    .command('rotate')
    .description(`add a new ${name} key now; it ${begins} ten minutes later, when every instance knows it`)
    .option('--json', 'print JSON')
    .action(async ({ json }: Json) => {
      const key = await withInstance((instance) => rotateIssuerKey(instance, use));
      if (json === true) return printJson(documentOf(key));
      const made = use === 'sign' ? 'Published' : 'Added';
      printLine(
        `${good(made)} the ${name} key ${strong(key.keyId)}. It ${begins} from ${printMoment(key.activeFrom)}.`,
      );
    });

  command
    .command('remove')
    .description(`remove a ${name} key at once, if someone else may have it: ${ends}`)
    .argument('<kid>')
    .option('--dry-run', 'say what it would cost, and change nothing')
    .addOption(yesOption())
    .addOption(clockOption())
    .option('--json', 'print JSON')
    .action(async (keyId: string, options: Json & Clocked & Confirmed & { readonly dryRun?: boolean }) => {
      await withInstance(async (instance) => {
        if (options.dryRun === true) {
          const found = await priceIssuerKey(instance, use, keyId);
          if (options.json === true) return printJson({ kid: keyId, removed: false, ...document(found) });
          return printPrice(`${warn('Would remove')} the ${name} key ${strong(keyId)}. Then:`, price(found));
        }
        const question = async (): Promise<Question> => ({
          does: `removes the ${name} key ${keyId}`,
          costs: price(await priceIssuerKey(instance, use, keyId)),
        });
        await confirm(question, options, instance.settings);
        const paid = await removeIssuerKey(instance, use, keyId, options.clock);
        if (options.json === true) return printJson({ kid: keyId, removed: true, ...document(paid) });
        printPrice(`${good('Removed')} the ${name} key ${strong(keyId)}.`, price(paid));
      });
    });

  return command;
}

function printPrice(head: string, sentences: readonly string[]): void {
  printLine(head);
  for (const sentence of sentences) printLine(`  ${sentence}`);
}

/** How many API keys are named one by one; `--json` has them all. */
const NAMED_MAX = 20;

function secretsOf(secrets: KeyPrice['secrets']): readonly string[] {
  const clients = [...new Set(secrets.map(({ clientId }) => clientId))];
  const named = clients.slice(0, NAMED_MAX).map((clientId) => `hallpass keys rotate-secret ${shellWord(clientId)}`);
  return clients.length > NAMED_MAX ? [...named, `and ${clients.length - NAMED_MAX} more (--json names all)`] : named;
}

function documentOf({ keyId, algorithm, state, createdAt, activeFrom }: ListedKey): object {
  const times = { created_at: new Date(createdAt).toISOString(), active_from: new Date(activeFrom).toISOString() };
  return { kid: keyId, alg: algorithm, state, ...times };
}
