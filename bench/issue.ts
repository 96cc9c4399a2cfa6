/**
 * How fast a server issues tokens with each signing algorithm, and how fast it rotates and revokes durably.
 *
 *   node --conditions=hallpass-source bench/issue.ts [--count 6000] [--runs 3]
 *
 * Server and callers share the machine, so the figures are for both together.
 */
import { join } from 'node:path';
import { Client } from '../testing/client/client.ts';
import { createKey, RIG, startHallpass, type Environment } from '../testing/process/process.ts';
import { numberOption, printFigures } from './bench.ts';
import { ISSUE_CALLERS, measureIssuing, measureWriting, SCOPE, WRITE_CALLERS, type Clients } from './measuring.ts';

const count = numberOption('count', { otherwise: 6_000, min: 100, max: 1_000_000 });
const runs = numberOption('runs', { otherwise: 3, min: 1, max: 21 });

await printFigures('issue', async (folder) => {
  const issued: Record<string, unknown> = {};
  for (const algorithm of ['ES256', 'EdDSA', 'RS256']) {
    const settings: Environment = { HALLPASS_SIGNING_ALGORITHM: algorithm };
    issued[algorithm] = await withServer(join(folder, algorithm), { settings, callers: ISSUE_CALLERS }, (clients) =>
      measureIssuing(clients, { count, runs }),
    );
  }
  const writes = await withServer(join(folder, 'writes'), { settings: {}, callers: WRITE_CALLERS }, (clients) =>
    measureWriting(clients, { count, runs }),
  );
  return { count, runs, issueCallers: ISSUE_CALLERS, issued, writeCallers: WRITE_CALLERS, ...writes };
});

async function withServer<Figures>(
  dataDir: string,
  { settings, callers }: { readonly settings: Environment; readonly callers: number },
  measure: (clients: Clients) => Promise<Figures>,
): Promise<Figures> {
  const key = await createKey(dataDir, ['bench', '--scope', SCOPE]);
  const server = await startHallpass(dataDir, { ...RIG, ...settings });
  const client = new Client(server.url, key, { callers });
  try {
    return await measure([client]);
  } finally {
    client.close();
    await server.kill();
  }
}
