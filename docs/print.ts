/** Prints the documents that come from the source, so that they cannot rot: `npm run docs`. A test compares them. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { listRefusals } from '@hallpass/protocol';
import { openapiDocument } from '../packages/server/src/oauth/openapi.ts';
import { listSettings } from '../packages/server/src/cli/settings.ts';

const FROM_SOURCE = '<!-- Printed from the source by `npm run docs`. Do not edit. -->';

/** The documents by their path from the root, printed. */
export function printDocuments(): ReadonlyMap<string, string> {
  return new Map([
    ['docs/configuration.md', printConfiguration()],
    ['docs/errors.md', printErrors()],
    ['docs/cli.md', printCommandLine()],
    ['docs/openapi.json', `${JSON.stringify(openapiDocument('http://localhost:8080'), undefined, 2)}\n`],
  ]);
}

function printConfiguration(): string {
  const rows = listSettings().map(
    ({ variable, name, otherwise, meaning, must }) =>
      `| \`${variable}\` | ${name === '' ? '' : `\`${name}\``} | ${otherwise === '' ? '' : `\`${otherwise}\``} | ${cell(meaning)} | ${cell(must)} |`,
  );
  return `${FROM_SOURCE}

# Settings

From the environment, or from a JSON file named by \`HALLPASS_CONFIG\`; the environment wins. An unknown or bad setting ends
the command with one sentence and exit code 2.

| Variable | In the file | Default | What it is | It must be |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

function printErrors(): string {
  const rows = listRefusals().map(
    ({ reason, status, error, description }) =>
      `| ${status} | \`${error}\` | ${description} | ${reason.replaceAll('_', ' ')} |`,
  );
  return `${FROM_SOURCE}

# Errors

Each has a JSON body with \`error\` and \`error_description\` (RFC 6749 §5.2), and an \`x-request-id\` header by which the
operator finds the line in the log. Where a scope is at fault, the description names it.

| Status | \`error\` | \`error_description\` | When |
| --- | --- | --- | --- |
${rows.join('\n')}

A JSON request that lacks \`scope\`, \`refresh_token\` or \`token\` where it is required gets **422** instead of 400, with one
more member, named like the parameter, whose value is the sentence.
`;
}

/** The help of every command, as it is printed on a terminal of 100 columns. */
function printCommandLine(): string {
  const commands = [
    [],
    ['serve'],
    ['keys', 'create'],
    ['keys', 'list'],
    ['keys', 'show'],
    ['keys', 'disable'],
    ['keys', 'enable'],
    ['keys', 'delete'],
    ['keys', 'rotate-secret'],
    ['keys', 'update'],
    ['keys', 'revoke-tokens'],
    ['keys', 'set-public-keys'],
    ['token', 'inspect'],
    ['signing-keys', 'list'],
    ['signing-keys', 'rotate'],
    ['signing-keys', 'remove'],
    ['revoke-everything'],
    ['events'],
  ];
  const sections = commands.map((words) => {
    const title = ['hallpass', ...words].join(' ');
    return `## ${title}\n\n\`\`\`text\n${help(words)}\n\`\`\``;
  });
  return `${FROM_SOURCE}

# The command line

Commands work on the configured store, with or without a running server beside it; a running server honours a change at
once. Exit codes: 0 done, 1 it could not be done, 2 it was not said right. Errors are a sentence on standard error.

${sections.join('\n\n')}
`;
}

function help(words: readonly string[]): string {
  const bin = fileURLToPath(new URL('../packages/server/bin/hallpass.js', import.meta.url));
  const { PATH } = process.env;
  const env = { PATH, COLUMNS: '100', NO_COLOR: '1' };
  return execFileSync(process.execPath, [bin, ...words, '--help'], { encoding: 'utf8', env }).trim();
}

if (import.meta.main) {
  for (const [path, text] of printDocuments()) writeFileSync(new URL(`../${path}`, import.meta.url), text);
}
