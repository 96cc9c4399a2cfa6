/** `hallpass policy ...`: whether a guard can use an OpenAPI file as its policy, and how to get there. */
import { existsSync, fsyncSync, closeSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { inspectPolicy, printFault, type PolicyFault, type PolicyTable } from '@hallpass/guard/openapi';
import { printBase64url } from '@hallpass/protocol';
import { CommandRefusal } from '../command_refusal.ts';
import { commandProcess } from '../command_process.ts';
import { countOf, given } from '../command_values.ts';
import {
  good,
  printDocument,
  printError,
  printJson,
  printLine,
  printRemark,
  printTable,
  printWarning,
  strong,
} from '../output.ts';
import { draftRoutes, draftScopes, printRouteMap, printScopeMapping } from '../policy_draft.ts';
import { systemRandom } from '../../serving/system.ts';

interface ReadingOptions {
  readonly overlay?: string;
  readonly scopes?: string;
  readonly basePath?: string;
}

interface CheckOptions extends ReadingOptions {
  readonly strict?: boolean;
  readonly json?: boolean;
}

interface DraftOptions extends ReadingOptions {
  readonly output?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

const FILE = 'an OpenAPI document, or routes with their scopes; YAML or JSON';

/** The command `policy`. */
export function policyCommand(): Command {
  const command = new Command('policy').description('compile and draft the policy of a guard from an OpenAPI file');

  withReading(command.command('check'))
    .description('print which scope opens which operation, and which operations are closed and why')
    .argument('<file>', FILE)
    .option('--strict', 'fail when an operation is closed because it is not understood or has no scope')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExit code 0: the guard can be pointed at this file, 1: it cannot.\n')
    .action(async (file: string, { strict = false, json, ...reading }: CheckOptions) => {
      const { table, faults, ignored } = await inspectPolicy(file, given(reading));
      const closed = faultsOf(table);
      const fit = faults.length === 0 && isFit(table) && !(strict && closed.length > 0);
      if (!fit) commandProcess().exitCode = 1;
      if (json === true) {
        const open = table.open.map(({ route }) => route);
        const shut = table.closed.map(({ route }) => route);
        printJson({
          file,
          fit,
          routes: table.routes,
          public: open,
          closed: shut,
          faults: [...faults, ...closed],
          ignored,
        });
        return;
      }
      printRoutes(table);
      for (const fault of ignored) printRemark(printFault(fault));
      refuseFaults(faults);
      if (!fit) refuseClosed(table);
      for (const fault of closed) printWarning(printFault(fault));
      printLine(`${good('Fit for a guard')}: ${summaryOf(table)}.`);
    });

  withReading(command.command('draft'))
    .description(
      'propose a scope for each operation, from its path and method, as one file of routes for you to review',
    )
    .argument('<file>', 'an OpenAPI document, YAML or JSON; it stays as it is')
    .option('--output <file>', 'where the routes go (default: standard output)')
    .option('--force', 'overwrite the file that is there')
    .option('--json', 'print JSON')
    .action(async (file: string, { output, force = false, json, ...reading }: DraftOptions) => {
      if (output !== undefined) refuseExisting(output, force);
      const { routes, faults } = await draftRoutes(file, given(reading));
      refuseFaults(faults);
      const text = printRouteMap(routes);
      if (output !== undefined) writeWhole(output, text, force);
      if (json === true) return printJson({ file, output, routes });
      if (output === undefined) return printDocument(text);
      printTable(
        ['method', 'path', 'scope'],
        routes.map(({ route, scope = '- closed' }) => [...splitRoute(route), scope]),
      );
      printLine(`${good('Wrote')} ${strong(output)}. Review each line, then: hallpass policy check ${output}`);
    });

  command
    .command('scopes')
    .description('propose a Hallpass scope for each scope of the file that is a word or a URL, such as payments:read')
    .argument('<file>', 'an OpenAPI document, YAML or JSON; it stays as it is')
    .option('--overlay <file>', OVERLAY)
    .option('--output <file>', 'where the mapping goes (default: standard output)')
    .option('--force', 'overwrite the file that is there')
    .option('--json', 'print JSON')
    .action(async (file: string, { output, force = false, json, overlay }: DraftOptions) => {
      if (output !== undefined) refuseExisting(output, force);
      const { scopes, faults } = await draftScopes(file, given({ overlay }));
      refuseFaults(faults);
      if (json === true) return printJson({ file, output, scopes });
      if (scopes.length === 0) return printRemark(`No scope of ${file} is a word or a URL. There is nothing to map.`);
      const text = printScopeMapping(scopes);
      if (output === undefined) return printDocument(text);
      writeWhole(output, text, force);
      printLine(
        `${good('Wrote')} ${strong(output)}. Review each line, then: hallpass policy check ${file} --scopes ${output}`,
      );
    });

  withReading(command.command('types'))
    .description('print the routes and scopes of a policy as TypeScript, for readPolicy(file, { routes })')
    .argument('<file>', FILE)
    .action(async (file: string, reading: ReadingOptions) => {
      const { table, faults } = await inspectPolicy(file, given(reading));
      refuseFaults(faults);
      if (!isFit(table)) refuseClosed(table);
      for (const fault of faultsOf(table)) printWarning(printFault(fault));
      printDocument(typesOf(table));
    });

  return command;
}

const OVERLAY = 'an OpenAPI overlay to apply first';

function withReading(command: Command): Command {
  return command
    .option('--overlay <file>', OVERLAY)
    .option(
      '--scopes <file>',
      'Hallpass scopes for scopes that are words or URLs, as `hallpass policy scopes` proposes',
    )
    .option('--base-path <path>', 'the prefix of the paths in the requests that the guard sees', parseBasePath);
}

/** A module with literal types. Routes and scopes need no quoting beyond that of JSON. */
function typesOf({ routes }: PolicyTable): string {
  const list = (name: string, texts: readonly string[]): string =>
    `export const ${name} = [\n${texts.map((text) => `  ${JSON.stringify(text)},\n`).join('')}] as const;\n`;
  const scopes = [...new Set(routes.map(({ scope }) => scope))].toSorted((one, other) => (one < other ? -1 : 1));
  const routed = list(
    'routes',
    routes.map(({ route }) => route),
  );
  return `// Printed by \`hallpass policy types\`. Print it again when the API changes.\n${routed}\n${list('scopes', scopes)}`;
}

function parseBasePath(text: string): string {
  if (text !== '' && !/^(?:\/[^/?#\s]+)+$/.test(text)) {
    throw new InvalidArgumentError('It is empty, or a path such as /v1, without a slash at its end.');
  }
  return text;
}

function faultsOf({ closed }: PolicyTable): readonly PolicyFault[] {
  return closed.flatMap(({ fault }) => fault ?? []);
}

function printRoutes({ routes, open, closed }: PolicyTable): void {
  const rows = [
    ...routes.map(({ method, path, scope }) => [method, path, scope]),
    ...open.map(({ route }) => [...splitRoute(route), '- public: serve it outside the guard']),
    ...closed.map(({ route }) => [...splitRoute(route), '- closed']),
  ];
  if (rows.length > 0) printTable(['method', 'path', 'scope'], rows);
}

function splitRoute(route: string): readonly [method: string, path: string] {
  const space = route.indexOf(' ');
  return [route.slice(0, space), route.slice(space + 1)];
}

function summaryOf({ routes, open, closed }: PolicyTable): string {
  const scopes = new Set(routes.map(({ scope }) => scope)).size;
  const shut = closed.length === 0 ? '' : `, ${closed.length} closed`;
  return `${countOf(routes.length, 'route')}, ${countOf(scopes, 'scope')}, ${open.length} public${shut}`;
}

/** Prints each fault on its own line, then throws `CommandRefusal`. */
function refuseFaults(faults: readonly PolicyFault[]): void {
  for (const fault of faults) printError(printFault(fault));
  if (faults.length > 0) throw new CommandRefusal(`No policy can be made of it: ${countOf(faults.length, 'fault')}.`);
}

/** Whether a guard could use it. A file that should open something and opens nothing is the wrong one, or has no scopes. */
function isFit(table: PolicyTable): boolean {
  return table.routes.length > 0 || faultsOf(table).length === 0;
}

function refuseClosed(table: PolicyTable): void {
  const closed = faultsOf(table);
  for (const fault of closed) printError(printFault(fault));
  if (isFit(table))
    throw new CommandRefusal(`${countOf(closed.length, 'operation')} closed, and --strict allows none.`);
  throw new CommandRefusal('It opens no operation. hallpass policy draft proposes scopes.');
}

function refuseExisting(file: string, force: boolean): void {
  if (!force && existsSync(file)) {
    throw new CommandRefusal(`The file ${file} already exists. Name another, or overwrite it with --force.`);
  }
}

/** Writes a file completely or not at all: someone may have edited the one that is there. */
function writeWhole(file: string, text: string, force: boolean): void {
  const partial = `${file}.${printBase64url(systemRandom(6))}.partial`;
  try {
    const descriptor = openSync(partial, 'wx');
    try {
      writeFileSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    refuseExisting(file, force);
    renameSync(partial, file);
  } catch (error) {
    if (existsSync(partial)) unlinkSync(partial);
    if (error instanceof CommandRefusal) throw error;
    throw new CommandRefusal(`The file ${file} cannot be written. Name one in a folder that you can write to.`);
  }
}
