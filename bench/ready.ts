/**
 * How long a server takes from its start to its first 200 from /health/ready, on a fresh store and on an existing one.
 *
 *   node --conditions=hallpass-source bench/ready.ts [--starts 11]
 */
import { get } from 'node:http';
import { join } from 'node:path';
import { RIG, startHallpass } from '../testing/process/process.ts';
import { numberOption, printFigures } from './bench.ts';
import { median } from '../testing/statistics.ts';

const starts = numberOption('starts', { otherwise: 11, min: 1, max: 101 });

await printFigures('ready', async (folder) => {
  const fresh: number[] = [];
  const existing: number[] = [];
  for (let at = 0; at < starts; at++) {
    fresh.push(await timeStart(join(folder, `fresh-${at}`)));
    // The store that the first start has made.
    existing.push(await timeStart(join(folder, 'fresh-0')));
  }
  return {
    starts,
    freshStoreMedianMs: Math.round(median(fresh)),
    existingStoreMedianMs: Math.round(median(existing)),
  };
});

async function timeStart(dataDir: string): Promise<number> {
  const startedAt = performance.now();
  const server = await startHallpass(dataDir, RIG);
  const status = await statusOf(`${server.url}/health/ready`);
  const ms = performance.now() - startedAt;
  await server.stop();
  if (status !== 200) throw new Error(`/health/ready was answered with ${status}`);
  return ms;
}

function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', reject);
  });
}
