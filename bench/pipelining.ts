/**
 * What one connection costs everybody else: one client sends a burst of `GET /openapi.json` without waiting for responses,
 * while another requests `/health/live` again and again. Prints the other client's longest wait, and the server's peak memory.
 *
 *   npm run bench:pipelining -- --bytes 240000
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { connect } from 'node:net';
import { RIG, startHallpass } from '../testing/process/process.ts';
import { numberOption, printFigures } from './bench.ts';
import { median, rounded } from '../testing/statistics.ts';

const REQUEST = 'GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n';
/** How long the burst may take to be answered, in milliseconds. */
const TIMEOUT_MS = 60_000;
/** Questions of the other client before the burst, so that the figures are of code that is warm. */
const WARM_UP = 500;

const bytes = numberOption('bytes', { otherwise: 240_000, min: REQUEST.length, max: 2_000_000 });
const requests = Math.floor(bytes / REQUEST.length);

await printFigures('pipelining', async (dataDir) => {
  const server = await startHallpass(dataDir, { ...RIG, HALLPASS_LOG_LEVEL: 'silent' });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (): Promise<number> => timeOne(`${server.url}/health/live`, agent);
  try {
    const before: number[] = [];
    for (let at = 0; at < WARM_UP; at++) before.push(await ask());
    const memoryBefore = peakBytes(server.pid);
    const startedAt = performance.now();
    const meanwhile: number[] = [];
    let answering = true;
    const answered = answerBurst(server.url).finally(() => (answering = false));
    do meanwhile.push(await ask());
    // oxlint-disable-next-line no-unmodified-loop-condition -- it is, when the last answer comes
    while (answering);
    return {
      requests,
      answered: await answered,
      burstSeconds: rounded((performance.now() - startedAt) / 1000),
      otherClientMedianMs: rounded(median(meanwhile)),
      otherClientLongestMs: rounded(Math.max(...meanwhile)),
      otherClientAloneMedianMs: rounded(median(before)),
      memoryGrewMiB: Math.round((peakBytes(server.pid) - memoryBefore) / 2 ** 20),
    };
  } finally {
    agent.destroy();
    await server.stop();
  }
});

function timeOne(url: string, agent: Agent): Promise<number> {
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.resume().once('end', () => resolve(performance.now() - startedAt));
    }).on('error', reject);
  });
}

/** Sends all requests at once; gives how many were answered before all were, or the connection ended. */
async function answerBurst(url: string): Promise<number> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  let answers = 0;
  let tail = '';
  socket.on('data', (chunk: Buffer) => {
    const text = tail + chunk.toString('latin1');
    const parts = text.split('HTTP/1.1 200 OK\r\n');
    answers += parts.length - 1;
    tail = (parts.at(-1) ?? '').slice(-'HTTP/1.1 200 OK\r\n'.length + 1);
    // The last answer's head is there; its body follows with it.
    if (answers === requests) socket.end();
  });
  const ended = once(socket, 'close');
  const timer = setTimeout(() => socket.destroy(), TIMEOUT_MS);
  socket.on('error', () => undefined).write(REQUEST.repeat(requests));
  await ended;
  clearTimeout(timer);
  return answers;
}

/** The most memory that a process has held so far (`VmHWM`, Linux alone). */
function peakBytes(pid: number): number {
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kibibytes) * 1024;
}
