/** `hallpass serve`: the server, until it is told to stop. */
import { Command } from 'commander';
import { manageApiKeys } from '../operator/api_keys.ts';
import type { Instance } from './instance.ts';
import { good, printFields, printLine, strong, warn } from './output.ts';
import { startServer, type Server } from './server.ts';
import { isDevelopmentIssuer } from './settings.ts';

/** What the first key of a development server may have: enough to try everything. */
const FIRST_SCOPES = [
  '/accounts.write',
  '/accounts.read',
  '/accounts/{accountID}/transfers.read',
  '/accounts/{accountID}/transfers.write',
  '/ping.read',
];

export function serveCommand(open: () => Promise<Instance>): Command {
  return new Command('serve').description('serve token requests until SIGTERM or SIGINT').action(async () => {
    const instance = await open();
    const server = await startServer(instance).catch(async (error: unknown) => {
      await instance.store.close();
      throw error;
    });
    printLine(`${good('Hallpass is ready:')} ${strong(server.issuer)}`);
    if (server.issuer !== server.url) printLine(`  listening on ${server.url}`);
    printLine(`  for operators on ${server.operatorUrl}/metrics`);
    if (isDevelopmentIssuer(instance.settings.issuer)) await welcome(instance, server);
    await untilToldToStop();
    await server.close();
  });
}

/** On a development server's empty store: a first key, printed once, with a line that works when it is pasted. */
async function welcome(instance: Instance, { url }: Server): Promise<void> {
  const someone = await instance.store.listClients({ limit: 1 });
  if (someone.length > 0) {
    return printLine('  keys: npx hallpass keys list');
  }
  const { client, clientSecret } = await manageApiKeys(instance).create({
    name: 'first key',
    mode: 'test',
    scopes: FIRST_SCOPES,
  });
  printLine();
  printLine(`A first API key was made for you. ${warn('Its secret is shown this once.')}`);
  printFields([
    ['client_id', client.clientId],
    ['client_secret', clientSecret],
    ['scopes', client.scopes.join(' ')],
  ]);
  printLine();
  printLine('Ask for a token:');
  printLine(
    `  curl -s ${url}/oauth2/token -u ${client.clientId}:${clientSecret} -d grant_type=client_credentials -d scope=/accounts.write`,
  );
  printLine();
  printLine(
    'This is a development server, since its issuer is on this machine. To run it for others: docs/operating.md.',
  );
}

async function untilToldToStop(): Promise<void> {
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
}
