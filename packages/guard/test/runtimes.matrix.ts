/** The published guard on every runtime that it is for. The suite has Deno alone (`runtimes.test.ts`). */
import { test } from 'node:test';
import { installRuntimes } from '../../../testing/runtimes/installed.ts';
import { assertGuards, PATIENCE_MS, startOnBun, startOnDeno, startOnNode, startOnWorkerd } from './runtimes.ts';

const binaryOf = installRuntimes('all');
const [bun, workerd] = [binaryOf('bun'), binaryOf('workerd')];
const WORKERD = /^Cloudflare-Workers$/;

interface Place {
  readonly name: string;
  readonly userAgent: RegExp;
  /** Starts the API; resolves with its port. */
  readonly open: () => Promise<string>;
}

const PLACES: readonly Place[] = [
  { name: 'Node 20', userAgent: /^Node\.js\/20\./, open: () => startOnNode(binaryOf('node20')) },
  { name: 'Node 22', userAgent: /^Node\.js\/22\./, open: () => startOnNode(binaryOf('node22')) },
  { name: 'Node 24', userAgent: /^Node\.js\/24\./, open: () => startOnNode(binaryOf('node24')) },
  { name: 'Node 26', userAgent: /^Node\.js\/26\./, open: () => startOnNode(process.execPath) },
  { name: 'Deno', userAgent: /^Deno\/2\./, open: () => startOnDeno(binaryOf('deno')) },
  { name: 'Bun', userAgent: /^Bun\/1\./, open: () => startOnBun(bun) },
  {
    name: 'workerd, in a durable object',
    userAgent: WORKERD,
    open: () => startOnWorkerd({ file: workerd, bun, socket: 'durable' }),
  },
  {
    name: 'workerd, in a worker that introspects',
    userAgent: WORKERD,
    open: () => startOnWorkerd({ file: workerd, bun, socket: 'plain' }),
  },
];

for (const { name, userAgent, open } of PLACES) {
  test(
    `${name}: the published guard allows, refuses and learns of a revocation`,
    { timeout: PATIENCE_MS },
    async () => {
      await assertGuards(await open(), userAgent);
    },
  );
}
