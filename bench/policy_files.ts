/**
 * The cost of compiling a policy from a large OpenAPI file, as JSON and as YAML. Each file is read in its own process, which
 * reports its peak memory, its processor time, and the time from the call to the policy.
 *
 *   node --conditions=hallpass-source bench/policy_files.ts [--megabytes 13,60]
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isObject } from '@hallpass/protocol';
import { readPolicy } from '../packages/guard/src/policy/openapi/openapi.ts';
import { printFigures } from './bench.ts';

const WORDS = 'Lists the things of an account, the newest of them first, a page at a time. '.repeat(4);
const PROPERTIES = Array.from({ length: 12 }, (_, at) => `property_${at}`);

const json = {
  head: '{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/": {"get":{"security":[{"o":["/root.read"]}]}}',
  operation: (at: number) =>
    `,\n"/accounts/{id}/things${at}": ${JSON.stringify({ get: { description: WORDS, operationId: `list${at}`, parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }], security: [{ o: [`/accounts/{id}/things${at}.read`] }], responses: { 200: { description: 'ok', content: { 'application/json': { schema: { $ref: `#/components/schemas/S${at}` } } } } } } }, undefined, 2)}`,
  middle: '},"components":{"securitySchemes":{"o":{"type":"oauth2","flows":{}}},"schemas":{"S":{}',
  schema: (at: number) =>
    `,\n"S${at}": ${JSON.stringify({ type: 'object', properties: Object.fromEntries(PROPERTIES.map((name) => [name, { type: 'string', description: `The ${name} of it`, nullable: true }])) }, undefined, 2)}`,
  end: '}}}\n',
};

const yaml = {
  head: "openapi: 3.0.3\ninfo: { title: t, version: '1' }\npaths:\n  /:\n    get:\n      security: [{ o: [/root.read] }]\n",
  operation: (at: number) =>
    `  /accounts/{id}/things${at}:\n    get:\n      description: >-\n        ${WORDS}\n      operationId: list${at}\n      parameters:\n        - name: id\n          in: path\n          required: true\n          schema:\n            type: string\n      security:\n        - o:\n            - /accounts/{id}/things${at}.read\n      responses:\n        '200':\n          description: ok\n          content:\n            application/json:\n              schema:\n                $ref: '#/components/schemas/S${at}'\n`,
  middle: 'components:\n  securitySchemes:\n    o:\n      type: oauth2\n      flows: {}\n  schemas:\n',
  schema: (at: number) =>
    `    S${at}:\n      type: object\n      properties:\n${PROPERTIES.map((name) => `        ${name}:\n          type: string\n          description: The ${name} of it\n          nullable: true\n`).join('')}`,
  end: '',
};

const { values } = parseArgs({
  options: { read: { type: 'string' }, megabytes: { type: 'string', default: '13,60' } },
});

if (values.read === undefined) await printFigures('policy-files', measureAll);
else await measure(values.read);

async function measure(file: string): Promise<void> {
  const startedAt = performance.now();
  const policy = await readPolicy(file);
  const seconds = (performance.now() - startedAt) / 1000;
  if (policy.closed.length > 0) throw new Error(`${policy.closed.length} operations are closed`);
  const { user, system } = process.cpuUsage();
  const cpuSeconds = Number(((user + system) / 1_000_000).toFixed(1));
  const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
  console.log(
    JSON.stringify({ seconds: Number(seconds.toFixed(1)), cpuSeconds, peakMiB, scopes: policy.scopes.length }),
  );
}

function measureAll(folder: string): Promise<Readonly<Record<string, unknown>>> {
  const figures = values.megabytes.split(',').flatMap((megabytes) =>
    (['json', 'yaml'] as const).map((format) => {
      const file = join(folder, `${megabytes}.${format}`);
      writeDescription(file, format, Number(megabytes) * 1024 * 1024);
      const script = fileURLToPath(import.meta.url);
      const printed = execFileSync(process.execPath, ['--conditions=hallpass-source', script, '--read', file], {
        encoding: 'utf8',
      });
      const read: unknown = JSON.parse(printed);
      return {
        format,
        fileMiB: Number((statSync(file).size / 1024 / 1024).toFixed(1)),
        ...(isObject(read) ? read : {}),
      };
    }),
  );
  return Promise.resolve({ figures });
}

/** An operation with its words, parameters and answers, and a schema, again and again: as large public files are. */
function writeDescription(file: string, format: 'json' | 'yaml', bytes: number): void {
  const descriptor = openSync(file, 'w');
  const print = format === 'json' ? json : yaml;
  let written = 0;
  const put = (text: string): number => (written += writeSync(descriptor, text));
  put(print.head);
  let [operations, schemas] = [0, 0];
  while (put(print.operation(operations)) < bytes * 0.6) operations += 1;
  put(print.middle);
  while (put(print.schema(schemas)) < bytes) schemas += 1;
  put(print.end);
  closeSync(descriptor);
}
