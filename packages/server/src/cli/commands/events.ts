/** `hallpass events`: what happened to keys and grants. */
import { Command, InvalidArgumentError } from 'commander';
import type { WithInstance } from '../with_instance.ts';
import { printJson, printLine, printMoment, printTable } from '../output.ts';

/** The command `events`. */
export function eventsCommand(withInstance: WithInstance): Command {
  return new Command('events')
    .description('list what happened to keys and grants, newest first; events are kept for 90 days')
    .option('--limit <count>', 'how many to list at most', parseCount, 50)
    .option('--json', 'print JSON')
    .action(async ({ limit, json }: { readonly limit: number; readonly json?: boolean }) => {
      const events = await withInstance(({ store }) => store.listEvents({ limit }));
      if (json === true) {
        return printJson(
          events.map(({ at, kind, clientId, grantId, detail }) => ({
            at: new Date(at).toISOString(),
            kind,
            client_id: clientId ?? null,
            grant_id: grantId ?? null,
            detail: detail ?? null,
          })),
        );
      }
      if (events.length === 0) return printLine('Nothing has happened yet.');
      printTable(
        ['at', 'event', 'client_id', 'grant_id', 'detail'],
        events.map(({ at, kind, clientId, grantId, detail }) => [
          printMoment(at),
          kind,
          clientId ?? '',
          grantId ?? '',
          detail ?? '',
        ]),
      );
    });
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 10_000)
    throw new InvalidArgumentError('A count is a whole number from 1 to 10000.');
  return count;
}
