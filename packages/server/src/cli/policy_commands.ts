/** `hallpass policy ...`: whether the guard can be pointed at an OpenAPI file, and how to get there. */
import { existsSync, fsyncSync, closeSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import {
  draftPolicy,
  inspectPolicy,
  printFault,
  printOverlay,
  type Overlay,
  type PolicyFault,
  type PolicyTable,
  type Proposal,
} from '@hallpass/guard/openapi';
import { printBase64url } from '@hallpass/protocol';
import { OperatorRefusal } from '../operator/operator_refusal.ts';
import { given } from './command_values.ts';
import {
  good,
  printDocument,
  printError,
  printJson,
  printLine,
  printRemark,
  printTable,
  strong,
  warn,
} from './output.ts';
import { systemRandom } from './system.ts';

interface CheckOptions {
  readonly overlay?: string;
  readonly basePath?: string;
  readonly json?: boolean;
}

interface DraftCommandOptions {
  readonly output?: string;
  readonly force?: boolean;
  readonly tokenUrl?: string;
  readonly json?: boolean;
}

export function policyCommand(): Command {
  const command = new Command('policy').description('compile and draft the policy of a guard from an OpenAPI file');

  command
    .command('check')
    .description('print which scope opens which operation; fail when the guard could not be pointed at this file')
    .argument('<file>', 'an OpenAPI document, or routes with their scopes; YAML or JSON')
    .option('--overlay <file>', 'an OpenAPI overlay that is applied first, such as `hallpass policy draft` writes')
    .option('--base-path <path>', 'what stands before the paths in the requests that the guard sees', parseBasePath)
    .option('--json', 'print JSON')
    .action(async (file: string, { overlay, basePath, json }: CheckOptions) => {
      const { table, faults } = await inspectPolicy(file, given({ overlay, basePath }));
      if (json === true) {
        const { routes, open, unmapped } = table;
        printJson({ file, routes, public: open, unmapped, faults });
        if (faults.length > 0) process.exitCode = 1;
        return;
      }
      printRoutes(table);
      refuseFaults(faults);
      printLine(`${good('Fit for a guard')}: ${summaryOf(table)}.`);
    });

  command
    .command('draft')
    .description('propose a scope for each operation that has none, from what its description says, as an overlay')
    .argument('<file>', 'an OpenAPI document, YAML or JSON; it stays as it is')
    .option('--output <file>', 'where the overlay goes (default: standard output)')
    .option('--force', 'overwrite the file that is there')
    .option('--token-url <url>', 'where clients get their tokens, for the security scheme', parseTokenURL)
    .option('--json', 'print JSON')
    .action(async (file: string, { output, force = false, tokenUrl, json }: DraftCommandOptions) => {
      if (output !== undefined) refuseExisting(output, force);
      const { proposals, overlay, faults } = await draftPolicy(file, given({ tokenURL: tokenUrl }));
      if (faults.length > 0 && overlay === undefined) return refuseFaults(faults);
      if (output !== undefined && overlay !== undefined) writeWhole(output, textFor(output, overlay), force);
      if (json === true) return printJson(documentOf(file, { proposals, overlay, output }));
      if (overlay === undefined)
        return printRemark(`Every operation of ${file} has its scope. There is nothing to draft.`);
      if (output === undefined) printDocument(printOverlay(overlay));
      printProposals(proposals);
      for (const fault of faults) printRemark(warn(printFault(fault)));
      if (output !== undefined) {
        printLine(`${good('Wrote')} ${strong(output)}. hallpass policy check ${file} --overlay ${output}`);
      }
    });

  command
    .command('types')
    .description('print the routes and scopes of a policy as TypeScript, for readPolicy(file, { routes })')
    .argument('<file>', 'an OpenAPI document, or routes with their scopes; YAML or JSON')
    .option('--overlay <file>', 'an OpenAPI overlay that is applied first')
    .option('--base-path <path>', 'what stands before the paths in the requests that the guard sees', parseBasePath)
    .action(async (file: string, { overlay, basePath }: CheckOptions) => {
      const { table, faults } = await inspectPolicy(file, given({ overlay, basePath }));
      refuseFaults(faults);
      printDocument(typesOf(table));
    });

  return command;
}

/** A module whose constants the compiler takes to the letter. Routes and scopes hold no quotes but those of JSON. */
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

function parseTokenURL(text: string): string {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError('An address such as https://auth.example.com/oauth2/token.');
  }
  return text;
}

function printRoutes({ routes, open }: PolicyTable): void {
  const rows = [
    ...routes.map(({ method, path, scope }) => [method, path, scope]),
    ...open.map((route) => [...route.split(' ', 2), '- public: serve it outside the guard']),
  ];
  if (rows.length > 0) printTable(['method', 'path', 'scope'], rows);
}

function summaryOf({ routes, open }: PolicyTable): string {
  const scopes = new Set(routes.map(({ scope }) => scope)).size;
  return `${count(routes.length, 'route')}, ${count(scopes, 'scope')}, ${open.length} public`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** Each on a line of its own, and then that there are any. */
function refuseFaults(faults: readonly PolicyFault[]): void {
  for (const fault of faults) printError(printFault(fault));
  if (faults.length > 0) throw new OperatorRefusal(`No policy can be made of it: ${count(faults.length, 'fault')}.`);
}

function printProposals(proposals: readonly Proposal[]): void {
  const unsure = proposals.filter(({ sure }) => !sure);
  for (const { operation, scope, reason } of unsure)
    printRemark(`${warn('unsure')} ${operation.route}: ${scope}? ${reason}`);
  printRemark(`${count(proposals.length, 'scope')} proposed, ${unsure.length} of them unsure.`);
  if (unsure.length > 0) {
    printRemark(
      'Settle these in the overlay: correct the security, or say security: []; then take x-hallpass-unsure away.',
    );
  }
}

function documentOf(
  file: string,
  drafted: {
    readonly proposals: readonly Proposal[];
    readonly overlay: Overlay | undefined;
    readonly output: string | undefined;
  },
): object {
  const { proposals, overlay, output } = drafted;
  const operations = proposals.map(({ operation, scope, sure, reason }) => ({
    operation: operation.route,
    scope,
    confidence: sure ? 'sure' : 'unsure',
    reason,
  }));
  const unsure = proposals.filter(({ sure }) => !sure).length;
  return { file, output, proposed: proposals.length, unsure, operations, overlay };
}

function textFor(output: string, overlay: Overlay): string {
  return output.endsWith('.json') ? `${JSON.stringify(overlay, undefined, 2)}\n` : printOverlay(overlay);
}

function refuseExisting(file: string, force: boolean): void {
  if (!force && existsSync(file)) {
    throw new OperatorRefusal(`There is a file ${file} already. Name another, or overwrite it with --force.`);
  }
}

/** Whole or not at all: somebody may have settled things in the one that was there. */
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
    if (error instanceof OperatorRefusal) throw error;
    throw new OperatorRefusal(`The file ${file} cannot be written. Name one in a folder that can.`);
  }
}
