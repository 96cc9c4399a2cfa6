/** `hallpass serve`: the server, until a signal stops it. */
import { Command, InvalidArgumentError } from 'commander';
import type { PendingApiKey } from '../../operator/api_keys.ts';
import { isRefusedFor, OperatorRefusal } from '../../operator/operator_refusal.ts';
import { StoreUnavailable } from '../../store/store.ts';
import { prepareFirstKey } from '../../serving/first_key.ts';
import type { Instance } from '../../serving/instance.ts';
import { endUnread, good, printFields, printLine, printWarning, strong, warn } from '../output.ts';
import { CommandRefusal } from '../command_refusal.ts';
import { deliver } from '../secret_delivery.ts';
import { startServer, type Server } from '../../serving/server.ts';
import { isDevelopmentIssuer } from '../../serving/settings/settings.ts';
import { describeStore } from '../../serving/stores.ts';
import { systemClock } from '../../serving/system.ts';
import { watchStopSignals } from '../../serving/stop_signals.ts';
import { isWorker, releaseChannel, startAsWorker, startWorkers, untilOrphaned } from '../../serving/workers.ts';

/** The command `serve`. `open` gives the instance to serve. */
export function serveCommand(open: () => Promise<Instance>): Command {
  return new Command('serve')
    .description('serve token requests until SIGTERM, SIGINT or SIGHUP')
    .option('--workers <count>', 'how many processes serve, to use several cores of one machine', parseCount, 1)
    .action(async ({ workers }: { readonly workers: number }) => {
      const instance = await open();
      try {
        await (isWorker ? work(instance) : serve(instance, workers));
      } catch (error) {
        await instance.store.close();
        throw error;
      } finally {
        releaseChannel();
      }
    });
}

/** The most workers. More than a machine has cores are no use. */
const WORKERS_MAX = 64;

function parseCount(text: string): number {
  const count = /^[0-9]{1,3}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= WORKERS_MAX) return count;
  throw new InvalidArgumentError(`The count of workers is a whole number from 1 to ${WORKERS_MAX}.`);
}

async function serve(instance: Instance, workers: number): Promise<void> {
  // Before anything is printed: a reader may send a signal as soon as the server says that it is ready.
  const watch = watchStopSignals();
  try {
    await serveUntil(watch.stopped, instance, workers);
  } finally {
    watch.release();
  }
}

async function serveUntil(stopped: Promise<void>, instance: Instance, workers: number): Promise<void> {
  const server = await (workers === 1 ? startServer(instance) : startWorkers(instance, workers));
  printLine(`${good('Hallpass is ready:')} ${strong(server.issuer)}`);
  if (server.issuer !== server.url) printLine(`  listening on ${server.url}`);
  if (workers > 1) printLine(`  with ${workers} workers`);
  printLine(`  on the store ${describeStore(instance.settings)}`);
  printLine(`  for operators on ${server.operatorUrl}/metrics`);
  try {
    // A reader that has stopped reading must not keep the server from stopping.
    if (isDevelopmentIssuer(instance.settings.issuer)) await Promise.race([welcome(instance, server), stopped]);
  } catch (error) {
    // Otherwise it would keep listening on a closed store, deaf to signals.
    await server.close();
    throw error;
  }
  await stopped;
  await server.drain();
  await server.close();
  endUnread();
}

/** What a worker does: it serves and prints nothing. */
async function work(instance: Instance): Promise<void> {
  const alone = untilOrphaned().then(() => 'alone' as const);
  const ended = Promise.race([watchStopSignals().stopped.then(() => 'stopped' as const), alone]);
  const side = await startAsWorker(instance);
  // Without the process that started it there is no operators' side, so nobody can see that this one drains.
  if ((await ended) === 'stopped') await Promise.race([side.drain(), alone]);
  await side.close();
  await instance.store.close();
}

/** On a development server with an empty store: a first key, printed once, with a command that works when pasted. */
async function welcome(instance: Instance, server: Server): Promise<void> {
  try {
    const first = await prepareFirstKey(instance);
    if (first === undefined) return printLine(KEYS_LINE);
    await showFirstKey(first, server);
  } catch (error) {
    // Another server was first, nobody reads the output, or the store is away: no reason not to serve.
    if (error instanceof StoreUnavailable) {
      return printWarning(`${error.message} So the first API key may not have been made. Make one: ${ANOTHER_KEY}`);
    }
    if (isRefusedFor(error, 'key_exists')) return printLine(KEYS_LINE);
    if (!(error instanceof OperatorRefusal) && !(error instanceof CommandRefusal)) throw error;
    printWarning('Nobody has read the secret of the first API key, so it was not made. Make one: ' + ANOTHER_KEY);
  }
}

const ANOTHER_KEY = 'npx hallpass keys create NAME --scope /accounts.write';
const KEYS_LINE = `  keys: npx hallpass keys list; another one: ${ANOTHER_KEY}`;

async function showFirstKey(first: PendingApiKey, { url }: Server): Promise<void> {
  const { client, clientSecret } = first;
  await deliver(
    first,
    {
      secret: () => {
        printLine();
        printLine(`Your first API key. ${warn('Its secret is shown this once.')}`);
        printFields([
          ['client_id', client.clientId],
          ['client_secret', clientSecret],
          ['scopes', client.scopes.join(' ')],
        ]);
      },
      more: () => printLine(`If you lose it: ${ANOTHER_KEY}`),
      end: () => {
        printLine();
        printLine('Ask for a token:');
        printLine(
          `  curl -s ${url}/oauth2/token -u ${client.clientId}:${clientSecret} -d grant_type=client_credentials -d scope=/accounts.write`,
        );
        printLine();
        printLine(
          'This is a development server, since its issuer is on this machine. To run it for others: docs/operating.md.',
        );
      },
    },
    systemClock,
  );
}
