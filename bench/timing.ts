/**
 * Whether the time of a refusal reveals what the response hides: that a key exists, is disabled, or has a large record. An
 * unknown key, a wrong secret, a disabled key, and a wrong secret for a key with the most and the longest scopes allowed are
 * interleaved at random over real sockets, and compared in pairs by Welch's t. `npm run bench:timing -- --samples 100000`
 * exits with 1 if |t| reaches 4.5. The slowest hundredth of each is left out, because it belongs to the machine.
 */
import { Agent, request } from 'node:http';
import { createKey, RIG, startHallpass, type Credentials } from '../testing/process/process.ts';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { SCOPE_LENGTH_MAX } from '@hallpass/protocol';
import { SCOPES_PER_KEY_MAX } from '../packages/server/src/operator/key_fields.ts';
import { numberOption, printFigures } from './bench.ts';
import { median, percentile, rounded } from '../testing/statistics.ts';

const T_MAX = 4.5;
const samples = numberOption('samples', { otherwise: 30_000, min: 300, max: 1_000_000 });

await printFigures('timing', async (dataDir) => {
  const good = await createKey(dataDir, ['good', '--scope', '/accounts.read']);
  const disabled = await createKey(dataDir, ['disabled', '--scope', '/accounts.read']);
  const large = await createKey(dataDir, ['large', ...longScopes().flatMap((scope) => ['--scope', scope])]);
  const bin = fileURLToPath(new URL('../packages/server/bin/hallpass.js', import.meta.url));
  const env = { PATH: process.env['PATH'], HALLPASS_DATA_DIR: dataDir };
  execFileSync(process.execPath, [bin, 'keys', 'disable', disabled.clientId, '--json'], { env });
  const server = await startHallpass(dataDir, { ...RIG, HALLPASS_LOG_LEVEL: 'silent' });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    // Ids and secrets of the same length, so that the requests differ in nothing that is theirs to differ in.
    const kinds: Readonly<Record<string, Credentials>> = {
      unknown: { clientId: reversed(good.clientId), clientSecret: good.clientSecret },
      wrong: { clientId: good.clientId, clientSecret: reversed(good.clientSecret) },
      disabled,
      large: { clientId: large.clientId, clientSecret: reversed(large.clientSecret) },
    };
    const times = new Map(Object.keys(kinds).map((kind) => [kind, [] as number[]]));
    const names = Object.keys(kinds);
    for (let at = -1_000; at < samples; at++) {
      const kind = names[Math.floor(Math.random() * names.length)] ?? '';
      const elapsed = await timeOne(server.url, agent, kinds[kind] ?? good);
      // The first thousand warm the server up.
      if (at >= 0) times.get(kind)?.push(elapsed);
    }
    const trimmed = new Map([...times].map(([kind, all]) => [kind, trim(all)]));
    const pairs = [
      ['unknown', 'wrong'],
      ['unknown', 'disabled'],
      ['wrong', 'disabled'],
      ['unknown', 'large'],
      ['wrong', 'large'],
    ] as const;
    const t = Object.fromEntries(
      pairs.map(([a, b]) => [`${a}/${b}`, rounded(welch(trimmed.get(a) ?? [], trimmed.get(b) ?? []))]),
    );
    if (Object.values(t).some((value) => Math.abs(value) >= T_MAX)) process.exitCode = 1;
    const mediansMicroseconds = Object.fromEntries([...trimmed].map(([kind, all]) => [kind, rounded(median(all), 4)]));
    return { samples, t, tMax: T_MAX, mediansMicroseconds };
  } finally {
    agent.destroy();
    await server.stop();
  }
});

function reversed(text: string): string {
  return text.split('').toReversed().join('');
}

function longScopes(): readonly string[] {
  return Array.from({ length: SCOPES_PER_KEY_MAX }, (_, at) => {
    const begin = `/${'a'.repeat(127)}/${'b'.repeat(127)}/${'c'.repeat(127)}/${String(at).padStart(3, '0')}`;
    return `${begin}${'d'.repeat(SCOPE_LENGTH_MAX - begin.length - '.read'.length)}.read`;
  });
}

/** One refused request, in microseconds. */
function timeOne(url: string, agent: Agent, { clientId, clientSecret }: Credentials): Promise<number> {
  const body = 'grant_type=client_credentials&scope=%2Faccounts.read';
  const headers = {
    authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`,
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': body.length,
  };
  return new Promise((resolve, reject) => {
    const start = process.hrtime.bigint();
    const asked = request(`${url}/oauth2/token`, { method: 'POST', agent, headers }, (answer) => {
      const elapsed = Number(process.hrtime.bigint() - start) / 1000;
      if (answer.statusCode !== 401) reject(new Error(`answered with ${answer.statusCode}`));
      answer.resume().once('end', () => resolve(elapsed));
    });
    asked.once('error', reject).end(body);
  });
}

function trim(times: readonly number[]): readonly number[] {
  const bound = percentile(times, 99);
  return times.filter((time) => time <= bound);
}

/** Welch's t between two samples of different variance. */
function welch(a: readonly number[], b: readonly number[]): number {
  const [meanA, meanB] = [mean(a), mean(b)];
  return (meanA - meanB) / Math.sqrt(variance(a, meanA) / a.length + variance(b, meanB) / b.length);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function variance(values: readonly number[], around: number): number {
  return values.reduce((sum, value) => sum + (value - around) ** 2, 0) / (values.length - 1);
}
