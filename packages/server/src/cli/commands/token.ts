/** `hallpass token inspect`: what a token says, and what this store knows about it. */
import { Command } from 'commander';
import { numericDate, openRefreshToken, parseAccessToken, type AccessTokenClaims } from '@hallpass/protocol';
import { equalBytes } from '../../oauth/keys/key_ring.ts';
import { openSealedToken } from '../../oauth/tokens/opaque_token.ts';
import { judgeGeneration } from '../../oauth/grants/generations.ts';
import type { Instance } from '../../serving/instance.ts';
import type { WithInstance } from '../with_instance.ts';
import { good, printFields, printJson, printLine, printMoment, strong, warn } from '../output.ts';
import { readStandardInput } from '../standard_input.ts';

/** What was found. Members of the token have their own names. */
interface Inspection {
  readonly kind: 'access_token' | 'refresh_token' | 'unknown';
  readonly active: boolean;
  /** Why it is active or not, in a sentence. */
  readonly state: string;
  readonly members?: Readonly<Record<string, unknown>>;
}

/** The command `token`. */
export function tokenCommand(withInstance: WithInstance): Command {
  const token = new Command('token').description('inspect tokens');
  token
    .command('inspect')
    .description('say what a token holds and whether it is active')
    .argument('<token>', 'an access or refresh token, or - to read it from standard input')
    .option('--json', 'print JSON')
    .action(async (given: string, { json }: { readonly json?: boolean }) => {
      const text = given === '-' ? (await readStandardInput()).trim() : given;
      const inspection = await withInstance((instance) => inspect(instance, text));
      if (json === true) {
        const { members = {}, ...rest } = inspection;
        return printJson({ ...rest, ...members });
      }
      const mark = inspection.active ? good('active') : warn('not active');
      printLine(`${strong(inspection.kind.replace('_', ' '))}: ${mark}. ${inspection.state}`);
      printFields(Object.entries(inspection.members ?? {}).map(([name, value]) => [name, printMember(name, value)]));
    });
  return token;
}

function printMember(name: string, value: unknown): string {
  const moment = ['iat', 'exp'].includes(name) && typeof value === 'number' ? ` (${printMoment(value * 1000)})` : '';
  return (typeof value === 'string' ? value : JSON.stringify(value)) + moment;
}

async function inspect(instance: Instance, token: string): Promise<Inspection> {
  return (
    (await inspectAccessToken(instance, token)) ??
    (await inspectRefreshToken(instance, token)) ?? {
      kind: 'unknown',
      active: false,
      state: 'No key in this store made this token.',
    }
  );
}

async function inspectAccessToken(instance: Instance, token: string): Promise<Inspection | undefined> {
  const { keys, store, clock } = instance;
  const sealed = openSealedToken(keys, token);
  if (sealed !== undefined) return await describeAccessToken(instance, sealed, { form: 'opaque' });
  const unverified = parseAccessToken(token);
  const key = unverified === undefined ? undefined : keys.findSigning(unverified.kid);
  if (unverified === undefined || key === undefined || unverified.header !== key.header) return undefined;
  if (!key.verify(unverified.signingInput, unverified.signature())) {
    return {
      kind: 'access_token',
      active: false,
      state: 'Its signature is wrong: it was changed, or this issuer never signed it.',
    };
  }
  const claims = unverified.claims();
  if (claims === undefined) return undefined;
  return await describeAccessToken({ store, clock }, claims, { alg: key.algorithm, kid: key.keyId });
}

async function describeAccessToken(
  { store, clock }: Pick<Instance, 'store' | 'clock'>,
  claims: AccessTokenClaims,
  header: Readonly<Record<string, string>>,
): Promise<Inspection> {
  const { jti, grant_id: grantId, client_id: clientId, iat: issuedAt, exp } = claims;
  const found = (active: boolean, state: string): Inspection => {
    const members = { ...header, ...claims };
    return { kind: 'access_token', active, state, members };
  };
  if (numericDate(clock.now()) >= exp) return found(false, `It expired at ${printMoment(exp * 1000)}.`);
  if (await store.isRevoked({ jti, grantId, clientId, issuedAt })) return found(false, 'It is revoked.');
  const client = await store.findClient(clientId);
  if (client === undefined || client.disabled) return found(false, 'Its API key is disabled or deleted.');
  return found(true, `It expires at ${printMoment(exp * 1000)}.`);
}

async function inspectRefreshToken(
  { keys, store, clock, settings }: Instance,
  token: string,
): Promise<Inspection | undefined> {
  const state = openRefreshToken(token, { find: keys.findRefresh, equal: equalBytes });
  if (state === undefined) return undefined;
  const { grantId, generation, clientId, scope, audiences, issuedAt, expiresAt } = state;
  const members = {
    grant_id: grantId,
    generation,
    client_id: clientId,
    scope,
    aud: audiences,
    iat: issuedAt,
    exp: expiresAt,
  };
  const found = (active: boolean, sentence: string): Inspection => ({
    kind: 'refresh_token',
    active,
    state: sentence,
    members,
  });
  const now = clock.now();
  if (numericDate(now) >= expiresAt) return found(false, `Its grant ended at ${printMoment(expiresAt * 1000)}.`);
  if (await store.isRevoked(state)) return found(false, 'Its grant is revoked.');
  const client = await store.findClient(clientId);
  if (client === undefined || client.disabled) return found(false, 'Its API key is disabled or deleted.');
  const family = await store.findFamily(grantId);
  const newest = family?.generation ?? 0;
  const standing = judgeGeneration({ presented: state, family, now, graceSeconds: settings.refreshGraceSeconds });
  if (standing === 'newest') return found(true, 'It is the newest refresh token of its grant.');
  if (standing === 'predecessor')
    return found(true, `It is the predecessor of the newest (${newest}), and still returns that one.`);
  return found(false, `It was retired: the newest of its grant is ${newest}.`);
}
