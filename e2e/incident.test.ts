/**
 * The worst day: somebody has a whole copy of the store and its master key. The steps of `docs/incidents.md` are read from
 * the page and run as they stand there; then nothing of the copy works, and the partners get going again.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { compilePolicy } from '@hallpass/guard';
import { makeIdentifier, printBase64url, printSigningInput, sealRefreshToken } from '@hallpass/protocol';
import { openInstance, type Instance } from '../packages/server/src/serving/instance.ts';
import { readSettings } from '../packages/server/src/serving/settings/settings.ts';
import { systemClock, systemRandom } from '../packages/server/src/serving/system.ts';
import { sealAccessToken } from '../packages/server/src/oauth/tokens/opaque_token.ts';
import { freePort } from '../testing/process/free_port.ts';
import { openApi, type GuardedApi } from '../testing/server/guarded_api.ts';
import {
  createKey,
  makeDataDir,
  RIG,
  mustRun,
  startHallpass,
  type Credentials,
  type Environment,
  type HallpassProcess,
} from '../testing/process/process.ts';

const PAGE = new URL('../docs/incidents.md', import.meta.url);
const CASE = '## The database and the master key';
/** How soon every instance and every guard has heard of a command, in milliseconds; where all is idle, a second. */
const HEARD_MS_MAX = 30_000;
const SCOPE = '/accounts.read';
const newMasterKey = (): string => randomBytes(32).toString('base64url');

const [OLD, NEW] = [newMasterKey(), newMasterKey()];
const ours = makeDataDir();
const theirs = makeDataDir();
let issuer: string;
let environment: Environment;
let api: GuardedApi;
let hallpass: HallpassProcess;
let thief: Instance;
let partner: Credentials;
let opaque: Credentials;
/** Its secret could be guessed from the hash in the copy. */
let guessable: Credentials;
let guardKey: Credentials;

const command = (...words: readonly string[]): Promise<string> => mustRun(ours.dataDir, words, environment);

/** The commands of the page for this case, one a line. */
function readSteps(): readonly string[] {
  const page = readFileSync(PAGE, 'utf8');
  const section = page.slice(page.indexOf(`${CASE}\n`));
  const [, block = ''] = /```sh\n([^]*?)```/.exec(section) ?? [];
  const lines = block.split('\n').map((line) => line.replace(/(?:^|\s+)#.*$/, '').trim());
  return lines.filter((line) => line !== '');
}

/** Runs a step as it stands on the page, with our values in place of the words in capitals. */
async function run(step: string, copied: Readonly<Record<string, readonly string[]>>): Promise<void> {
  const [, masterKeys] = /^export HALLPASS_MASTER_KEY="([A-Z ]+)"$/.exec(step) ?? [];
  if (masterKeys !== undefined) {
    environment = { ...environment, HALLPASS_MASTER_KEY: masterKeys.replace('OLD', OLD).replace('NEW', NEW) };
    await restart();
    return;
  }
  const [hallpassWord, ...words] = step.split(' ');
  assert.equal(hallpassWord, 'hallpass', step);
  const [family = ''] = words;
  const places: Readonly<Record<string, readonly string[]>> = {
    KID: copied[family] ?? [],
    CLIENT_ID: [guardKey, partner, opaque, guessable].map(({ clientId }) => clientId),
    BACKUP: [join(ours.dataDir, 'after')],
  };
  const place = words.find((word) => word in places);
  for (const value of place === undefined ? [''] : (places[place] ?? [])) {
    // Nobody is there to be asked.
    const yes = words.includes('remove') ? ['--yes'] : [];
    const printed = await command(...words.map((word) => (word === place ? value : word)), ...yes, '--json');
    if (words.includes('rotate-secret')) takeSecret(JSON.parse(printed));
  }
}

/** What an owner does with the new secret. */
function takeSecret({ client_id: clientId, client_secret: clientSecret }: Readonly<Record<string, string>>): void {
  assert.ok(clientId !== undefined && clientSecret !== undefined);
  const made = { clientId, clientSecret };
  if (clientId === partner.clientId) partner = made;
  if (clientId === opaque.clientId) opaque = made;
  if (clientId === guessable.clientId) guessable = made;
  if (clientId === guardKey.clientId) guardKey = made;
}

async function restart(): Promise<void> {
  await hallpass.stop();
  hallpass = await startHallpass(ours.dataDir, environment);
}

function guard(): Promise<void> {
  const policy = compilePolicy({ 'GET /accounts': SCOPE });
  const options = { issuer: issuer, audience: api.origin, credentials: guardKey };
  return api.guardBy(policy, { ...options, opaqueTokenSeconds: 60 }).ready();
}

async function post(path: string, key: Credentials, form: Readonly<Record<string, string>>): Promise<Response> {
  const authorization = `Basic ${Buffer.from(`${key.clientId}:${key.clientSecret}`).toString('base64')}`;
  return await fetch(hallpass.url + path, {
    method: 'POST',
    headers: { authorization },
    body: new URLSearchParams(form),
  });
}

async function issue(key: Credentials): Promise<{ readonly access: string; readonly refresh: string }> {
  const answer = await post('/oauth2/token', key, { grant_type: 'client_credentials', scope: SCOPE });
  const body: Readonly<Record<string, string>> = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(body));
  return { access: body['access_token'] ?? '', refresh: body['refresh_token'] ?? '' };
}

const call = async (token: string): Promise<number> =>
  (await fetch(`${api.origin}/accounts`, { headers: { authorization: `Bearer ${token}` } })).status;
const isActive = async (token: string, key: Credentials): Promise<unknown> => {
  const body: Readonly<Record<string, unknown>> = await (await post('/oauth2/introspect', key, { token })).json();
  return body['active'];
};

/** Tokens as the thief makes them from the copy, dated now and as late as a token may be. */
function forge({ clientId }: Credentials, aud: string, scope = SCOPE): readonly string[] {
  const { keys, random } = thief;
  const now = Math.floor(Date.now() / 1000);
  return [now, now + 2_700].flatMap((iat) => {
    const [jti, grant_id] = [makeIdentifier(Date.now(), random), makeIdentifier(Date.now(), random)];
    const who = { iss: issuer, sub: clientId, client_id: clientId };
    const claims = { ...who, aud, iat, exp: now + 3_600, jti, scope, grant_id };
    const input = printSigningInput(keys.signing.header, claims);
    return [`${input}.${printBase64url(keys.signing.sign(input))}`, sealAccessToken(keys, random, claims)];
  });
}

function forgeRefresh({ clientId }: Credentials): string {
  const now = Math.floor(Date.now() / 1000);
  const grantId = makeIdentifier(Date.now(), thief.random);
  const times = { issuedAt: now + 60, expiresAt: now + 10 ** 8 };
  const state = { grantId, generation: 0, clientId, ...times, scope: SCOPE, audiences: [api.origin] };
  return sealRefreshToken(state, thief.keys.refresh);
}

const refreshed = async (key: Credentials, token: string): Promise<number> =>
  (await post('/oauth2/token', key, { grant_type: 'refresh_token', refresh_token: token })).status;

async function untilRefused(token: string): Promise<void> {
  const end = performance.now() + HEARD_MS_MAX;
  while ((await call(token)) !== 401) assert.ok(performance.now() < end, 'the guard refuses it in time');
}

before(async () => {
  api = await openApi();
  // Guards find the issuer again there after its restarts.
  const port = String(await freePort());
  issuer = `http://127.0.0.1:${port}`;
  environment = { ...RIG, HALLPASS_ISSUER: issuer, HALLPASS_PORT: port, HALLPASS_MASTER_KEY: OLD };
  const forApi = ['--scope', SCOPE, '--audience', api.origin];
  partner = await createKey(ours.dataDir, ['Partner', ...forApi], environment);
  opaque = await createKey(ours.dataDir, ['Opaque', ...forApi, '--opaque'], environment);
  const old = ['--client-id', 'old-partner', '--client-secret', 'summer2019', '--allow-weak-secret'];
  guessable = await createKey(ours.dataDir, ['Imported', ...forApi, ...old], environment);
  guardKey = await createKey(ours.dataDir, ['Accounts API', '--resource-server', api.origin], environment);
  hallpass = await startHallpass(ours.dataDir, environment);
  await guard();
});
after(async () => {
  api.close();
  await hallpass.stop();
  await thief.store.close();
  ours.remove();
  theirs.remove();
});

describe('after the database and the master key have leaked', () => {
  test('the documented steps make the stolen copy useless, and partners keep working', async () => {
    const held = { partner: await issue(partner), opaque: await issue(opaque) };
    await command('refresh-keys', 'rotate');
    await command('opaque-keys', 'rotate');
    const copy = join(theirs.dataDir, 'copy');
    await command('store', 'backup', copy);
    const theirEnvironment = { HALLPASS_ISSUER: issuer, HALLPASS_MASTER_KEY: OLD };
    await mustRun(theirs.dataDir, ['store', 'restore', copy], theirEnvironment);
    thief = await openInstance(readSettings({ ...theirEnvironment, HALLPASS_DATA_DIR: theirs.dataDir }), {
      clock: systemClock,
      random: systemRandom,
    });
    const stolen = { partner, opaque, guessable, guardKey };

    // What the thief can do until the first step: that this works is what makes the rest of the test worth something.
    const forged = forge(opaque, api.origin);
    for (const token of forged.filter((_, at) => at < 2)) assert.equal(await call(token), 200, token);
    assert.equal(await refreshed(partner, forgeRefresh(partner)), 200);
    assert.equal((await issue(guessable)).access.split('.').length, 3, 'with the secret that was guessed');
    for (const token of forge(opaque, api.origin, '/accounts.write')) {
      if (token.startsWith('hpat_')) assert.equal(await isActive(token, guardKey), false, 'more than the key may have');
    }
    assert.equal(await isActive(forge(partner, api.origin)[1] ?? '', guardKey), false, 'a key with signed tokens');

    const copied = Object.fromEntries(
      await Promise.all(
        ['signing-keys', 'refresh-keys', 'secret-keys', 'opaque-keys'].map(async (family) => {
          const listed: readonly { readonly kid: string }[] = JSON.parse(await command(family, 'list', '--json'));
          return [family, listed.map(({ kid }) => kid)] as const;
        }),
      ),
    );
    assert.equal(copied['opaque-keys']?.length, 2, 'the next one is in the copy as well');

    const steps = readSteps();
    assert.ok(steps.length >= 10, steps.join('\n'));
    for (const step of steps) await run(step, copied);
    await guard();

    const tokens = [
      ...[held.partner, held.opaque].map(({ access }) => access),
      ...forged,
      ...[partner, opaque, guessable].flatMap((key) => forge(key, api.origin)),
    ];
    for (const token of tokens) {
      await untilRefused(token);
      assert.equal(await isActive(token, guardKey), false, token);
      assert.equal(await call(token), 401);
    }
    for (const [key, token] of [
      [partner, held.partner.refresh],
      [opaque, held.opaque.refresh],
      [partner, forgeRefresh(partner)],
      [opaque, forgeRefresh(opaque)],
    ] as const) {
      assert.equal(await refreshed(key, token), 400);
    }
    for (const key of Object.values(stolen)) {
      const answer = await post('/oauth2/token', key, { grant_type: 'client_credentials', scope: SCOPE });
      assert.equal(answer.status, 401, 'a secret that is in the copy as a hash');
    }
    await assert.rejects(
      mustRun(ours.dataDir, ['keys', 'list'], { ...environment, HALLPASS_MASTER_KEY: OLD }),
      /not the one that this store was set up with/,
    );

    for (const key of [partner, opaque, guessable]) {
      const fresh = await issue(key);
      assert.equal(await call(fresh.access), 200);
      assert.equal(await refreshed(key, fresh.refresh), 200);
    }
    await command('store', 'verify', join(ours.dataDir, 'after'));
  });

  test('every command in the document exists', async () => {
    const blocks = [...readFileSync(PAGE, 'utf8').matchAll(/```sh\n([^]*?)```/g)].map(([, block = '']) => block);
    const inText = [...readFileSync(PAGE, 'utf8').matchAll(/`(hallpass [^`]+)`/g)].map(([, line = '']) => line);
    const lines = [...blocks.flatMap((block) => block.split('\n')), ...inText].filter((line) =>
      line.startsWith('hallpass '),
    );
    const families = new Set(
      lines.map((line) =>
        line
          .split(' ')
          .slice(1, 3)
          .filter((word) => /^[a-z-]+$/.test(word))
          .join(' '),
      ),
    );
    assert.ok(families.size > 10);
    for (const words of families) {
      const help = await command(...words.split(' '), '--help');
      assert.match(help, new RegExp(`^Usage: hallpass ${words}\\b`), words);
    }
  });
});
