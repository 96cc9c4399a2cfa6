/**
 * Random and mutated input for everything that reads what strangers send: no parser throws, and no request is answered
 * with a 5xx. `npm run fuzz:server -- --cases 1000000 --requests 20000 --seed 1`.
 */
import { parseArgs } from 'node:util';
import {
  parseAccessToken,
  parseAccessTokenHeader,
  parseBasic,
  parseClientAssertion,
  parseDpopProof,
  parseJws,
  parseParameters,
  parsePublicJwk,
  parseRevocationEntry,
  parseScope,
  parseScopeList,
} from '@hallpass/protocol';
import { makeDataDir, RIG, startHallpass } from '../testing/process/process.ts';
import { chanceOf, type Chance } from '../testing/chance.ts';

const FORM = 'application/x-www-form-urlencoded';

function printJws(header: object, claims: object): string {
  const segment = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
  return `${segment(header)}.${segment(claims)}.${'A'.repeat(86)}`;
}

const JWK = { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) };

/** What a stranger might begin with. */
const SEEDS: readonly string[] = [
  'grant_type=client_credentials&client_id=a&client_secret=b&scope=%2Faccounts.write&resource=https%3A%2F%2Fa.example',
  '{"grant_type":"refresh_token","client_id":"a","client_secret":"b","refresh_token":"hprt_AQ","resource":["x"]}',
  'token=eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.AAAA&token_type_hint=access_token',
  '/accounts/{accountID}/transfers.read /accounts.write',
  'Basic YTpi',
  'Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6ImEiLCJ0eXAiOiJhdCtqd3QifQ.e30.AAAA',
  '{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA","alg":"ES256","d":"x"}',
  '{"cursor":"a-1","kind":"client","id":"x","before":1,"expires_at":2}',
  printJws({ typ: 'dpop+jwt', alg: 'ES256', jwk: JWK }, { jti: 'a', htm: 'POST', htu: 'http://localhost/x', iat: 1 }),
  printJws({ alg: 'ES256', typ: 'JWT' }, { iss: 'a', sub: 'a', aud: 'http://localhost', jti: 'b', exp: 2 }),
  JSON.stringify(JWK),
  '{"__proto__":{"x":1},"constructor":null,"scope":"\\u0000"}',
];

const PARSERS: Readonly<Record<string, (text: string, bytes: Uint8Array) => unknown>> = {
  form: (_, bytes) => parseParameters(FORM, bytes),
  json: (_, bytes) => parseParameters('application/json', bytes),
  label: (text, bytes) => parseParameters(text.slice(0, 60), bytes),
  scope: (text) => parseScope(text),
  scopes: (text) => parseScopeList(text),
  basic: (text) => parseBasic(text),
  header: (text) => parseAccessTokenHeader(text),
  accessToken: (text) => parseAccessToken(text)?.claims(),
  jws: (text) => parseJws(text)?.claims(),
  assertion: (text) => parseClientAssertion(text),
  proof: (text) => parseDpopProof(text),
  jwk: (text) => parsePublicJwk(parseJson(text)),
  entry: (text) => parseRevocationEntry(parseJson(text)),
};

export interface Fuzzed {
  readonly cases: number;
  readonly requests: number;
  /** What went wrong, with the input that did it as JSON; empty when all went well. */
  readonly findings: readonly string[];
}

export async function fuzz(options: {
  readonly cases: number;
  readonly requests: number;
  readonly seed: number;
}): Promise<Fuzzed> {
  const chance = chanceOf(options.seed);
  const findings = [...fuzzParsers(chance, options.cases), ...(await fuzzServer(chance, options.requests))];
  return { cases: options.cases, requests: options.requests, findings };
}

function fuzzParsers(chance: Chance, cases: number): readonly string[] {
  const findings: string[] = [];
  const names = Object.keys(PARSERS);
  for (let at = 0; at < cases; at++) {
    const bytes = mutate(chance);
    const text = Buffer.from(bytes).toString('latin1');
    const name = names[at % names.length] ?? '';
    try {
      PARSERS[name]?.(text, bytes);
    } catch (error) {
      findings.push(`${name} threw ${String(error)} for ${JSON.stringify(text)}`);
    }
  }
  return findings;
}

async function fuzzServer(chance: Chance, requests: number): Promise<readonly string[]> {
  const { dataDir, remove } = makeDataDir();
  const server = await startHallpass(dataDir, { ...RIG, HALLPASS_LOG_LEVEL: 'silent' });
  const findings: string[] = [];
  try {
    for (let at = 0; at < requests; at++) {
      const path = ['/oauth2/token', '/oauth2/revoke', '/oauth2/introspect'][at % 3] ?? '';
      const body = Buffer.from(mutate(chance));
      const type = chance.next() < 0.8 ? [FORM, 'application/json'][at % 2] : 'multipart/form-data';
      const authorization = chance.next() < 0.3 ? { authorization: headerText(mutate(chance)) } : {};
      const headers = { 'content-type': type ?? FORM, ...authorization };
      const answer = await fetch(server.url + path, { method: 'POST', headers, body });
      await answer.arrayBuffer();
      if (answer.status >= 500)
        findings.push(`${path} answered ${answer.status} to ${JSON.stringify(body.toString('latin1'))}`);
    }
  } finally {
    await server.stop();
    remove();
  }
  return findings;
}

/** A seed with a few of its bytes changed, cut, doubled or made up; or bytes alone. */
function mutate(chance: Chance): Uint8Array {
  const below = (bound: number): number => Math.floor(chance.next() * bound);
  if (chance.next() < 0.1) return Uint8Array.from({ length: below(200) }, () => below(256));
  let bytes = [...Buffer.from(SEEDS[below(SEEDS.length)] ?? '')];
  for (let times = below(6); times > 0; times--) {
    const at = below(bytes.length + 1);
    const kind = below(4);
    if (kind === 0) bytes[at] = below(256);
    else if (kind === 1) bytes.splice(at, 1 + below(8));
    else if (kind === 2) bytes.splice(at, 0, ...bytes.slice(at, at + below(20)));
    else bytes = bytes.slice(0, at);
  }
  return Uint8Array.from(bytes);
}

/** What can be sent as a header at all. */
function headerText(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('latin1')
    .replaceAll(/[^\x20-\x7e]/g, '')
    .trim();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '1000000' },
      requests: { type: 'string', default: '20000' },
      seed: { type: 'string', default: '1' },
    },
  });
  const [cases, requests, seed] = [Number(values.cases), Number(values.requests), Number(values.seed)];
  const fuzzed = await fuzz({ cases, requests, seed });
  process.stdout.write(`${JSON.stringify({ ...fuzzed, seed })}\n`);
  process.exitCode = fuzzed.findings.length === 0 ? 0 : 1;
}
