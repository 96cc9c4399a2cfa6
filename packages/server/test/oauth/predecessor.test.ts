/** Theft that takes turns (contract §10): the predecessor of a newest refresh token, when it is shown late or again and again. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { StoreUnavailable, SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX, type Store } from '../../src/store/store.ts';
import { makeFolder, makeStore, serve } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import {
  claimOf,
  startHallpass,
  tokensOf,
  until,
  type Hallpass,
  type Key,
  type Tokens,
} from '../../../../testing/server/server.ts';

/** How often the server has asked its store to remember that a predecessor was shown. */
let remembered = 0;
let failing = false;

function watched(store: Store): Store {
  return {
    ...store,
    recordPredecessor: (shown) => {
      remembered += 1;
      return failing
        ? Promise.reject(new StoreUnavailable('The store takes no writes for this test.'))
        : store.recordPredecessor(shown);
    },
  };
}

const hallpass = await startHallpass({ faulty: watched });
const { clock } = hallpass;

/** A grant that owner and thief hold alike: its first two refresh tokens. */
async function sharedGrant(at: Hallpass = hallpass, wanted = {}): Promise<Grant> {
  const key = await at.makeKey(wanted);
  const first = await at.issue(key, '/accounts.write /accounts.read');
  return { at, key, tokens: [first.refreshToken], grantId: claimOf(first.accessToken, 'grant_id') };
}

interface Grant {
  readonly at: Hallpass;
  readonly key: Key;
  /** By generation. */
  readonly tokens: string[];
  readonly grantId: string;
}

/** Rotates, so that there is one generation more. */
async function rotate({ at, key, tokens }: Grant): Promise<void> {
  tokens.push(tokensOf(await at.refresh(key, tokens.at(-1) ?? '')).refreshToken);
}

/** Shows the predecessor of the newest; it has to get the newest to the last byte. */
async function follow({ key, tokens, at: first }: Grant, at: Hallpass = first): Promise<Tokens> {
  const got = tokensOf(await at.refresh(key, tokens.at(-2) ?? ''));
  assert.equal(got.refreshToken, tokens.at(-1));
  return got;
}

async function eventsOf({ at, grantId }: Grant): Promise<readonly string[]> {
  const events = await at.instance.store.listEvents({ limit: 1000 });
  return events
    .filter((event) => event.grantId === grantId)
    .map(({ kind, detail }) => `${kind} ${detail ?? ''}`)
    .toReversed();
}

async function markOf({ at, key }: Grant): Promise<unknown> {
  return (await at.keys.show(key.clientId)).refreshSuspicions;
}

async function metricOf(at: Hallpass, reason: string): Promise<number> {
  const text = await at.metrics();
  const [, count] =
    new RegExp(`^hallpass_refresh_suspicions_total\\{reason="${reason}"\\} (\\d+)$`, 'm').exec(text) ?? [];
  assert.ok(count !== undefined, text);
  return Number(count);
}

test('a retry within a minute is not reported, and a second one is not recorded', async () => {
  const grant = await sharedGrant();
  await rotate(grant);
  const before = remembered;
  clock.advance(60);
  await follow(grant);
  assert.equal(remembered, before + 1, 'that it was shown in this generation');
  await follow(grant);
  await follow(grant);
  assert.equal(remembered, before + 1);
  await rotate(grant);
  await rotate(grant);
  assert.equal(remembered, before + 1, 'a rotation needs no look back');
  assert.deepEqual(await eventsOf(grant), []);
  assert.equal(await markOf(grant), undefined);
});

test('a predecessor used more than a minute after its rotation returns the newest, and is reported (contract §10)', async () => {
  const grant = await sharedGrant();
  const [late, successive] = [await metricOf(hallpass, 'late'), await metricOf(hallpass, 'successive')];
  await rotate(grant);
  clock.advance(60.001);
  const got = await follow(grant);
  assert.ok(await hallpass.isActive(grant.key, got.accessToken), 'it ends nothing');
  assert.deepEqual(await eventsOf(grant), [
    'refresh_token_turns late: generation 0 of 1, 60 s after its rotation, 1 in a row',
  ]);
  assert.deepEqual(await markOf(grant), {
    count: 1,
    lastAt: clock.now(),
    lastReason: 'late',
    lastGrantId: grant.grantId,
  });
  assert.deepEqual([await metricOf(hallpass, 'late'), await metricOf(hallpass, 'successive')], [late + 1, successive]);
});

test('an owner and a thief who take turns are reported from the third generation on', async () => {
  const grant = await sharedGrant();
  const before = await metricOf(hallpass, 'successive');
  for (let generation = 1; generation <= 4; generation++) {
    await rotate(grant);
    clock.advance(2);
    await follow(grant);
    assert.equal((await eventsOf(grant)).length, Math.max(0, generation - 2));
  }
  assert.deepEqual(await eventsOf(grant), [
    'refresh_token_turns successive: generation 2 of 3, 2 s after its rotation, 3 in a row',
    'refresh_token_turns successive: generation 3 of 4, 2 s after its rotation, 4 in a row',
  ]);
  assert.equal(await metricOf(hallpass, 'successive'), before + 2);
  await rotate(grant);
  assert.equal((await hallpass.refresh(grant.key, grant.tokens.at(-1) ?? '')).status, 200, 'the grant goes on');
  // Each grant counts for itself, and each key.
  const other = await sharedGrant();
  await rotate(other);
  await follow(other);
  assert.equal(await markOf(other), undefined);
});

test('two generations in a row, and two more after a gap, are not three', async () => {
  const grant = await sharedGrant();
  for (const shown of [true, true, false, true, true, false]) {
    await rotate(grant);
    if (shown) await follow(grant);
  }
  assert.deepEqual(await eventsOf(grant), []);
});

test('turns over two instances are counted together', async () => {
  const second = await startHallpass({ folder: hallpass.folder, clock });
  const grant = await sharedGrant();
  for (const at of [hallpass, second, hallpass]) {
    await rotate(grant);
    await follow(grant, at);
  }
  assert.deepEqual(await eventsOf(grant), [
    'refresh_token_turns successive: generation 2 of 3, 0 s after its rotation, 3 in a row',
  ]);
  const before = (await metricOf(hallpass, 'late')) + (await metricOf(second, 'late'));
  await rotate(grant);
  await rotate(grant);
  clock.advance(100);
  // All at once: one generation is one event, one mark and one count, whoever was first.
  await Promise.all(Array.from({ length: 20 }, (_, at) => follow(grant, at % 2 === 0 ? hallpass : second)));
  assert.equal((await eventsOf(grant)).length, 2);
  assert.equal((await metricOf(hallpass, 'late')) + (await metricOf(second, 'late')), before + 1);
  assert.equal((await hallpass.keys.show(grant.key.clientId)).refreshSuspicions?.count, 2);
});

test('one generation makes one event, even if it is used late twice', async () => {
  const grant = await sharedGrant();
  await rotate(grant);
  await follow(grant);
  clock.advance(61);
  await follow(grant);
  clock.advance(3600);
  await follow(grant);
  assert.equal((await eventsOf(grant)).length, 1);
});

test('a client in a loop stores ten events per hour, and its mark keeps counting', async () => {
  const grant = await sharedGrant();
  const generations = SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX + 5;
  for (let generation = 0; generation < generations; generation++) {
    await rotate(grant);
    await follow(grant);
  }
  assert.equal((await eventsOf(grant)).length, SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX);
  const suspicions = async (): Promise<unknown> =>
    (await hallpass.keys.show(grant.key.clientId)).refreshSuspicions?.count;
  assert.equal(await suspicions(), generations - 2);
  const metrics = await hallpass.metrics();
  const bound = 'hallpass_bounds_reached_total{bound="SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX"}';
  assert.ok(metrics.includes(`${bound} ${generations - 2 - SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX}\n`), metrics);
  clock.advance(3600);
  await follow(grant);
  assert.equal(await suspicions(), generations - 2, 'the same generation');
  await rotate(grant);
  await follow(grant);
  assert.equal((await eventsOf(grant)).length, SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX + 1, 'another hour');
  assert.equal(await suspicions(), generations - 1);
});

test('beyond refresh_grace_seconds the grant is revoked; up to it a late predecessor is reported', async () => {
  const grant = await sharedGrant(hallpass, { refreshGraceSeconds: 90 });
  await rotate(grant);
  clock.advance(90);
  await follow(grant);
  assert.equal((await eventsOf(grant)).length, 1);
  clock.advance(1);
  assert.equal((await hallpass.refresh(grant.key, grant.tokens.at(-2) ?? '')).outcome, '400 invalid_grant');
  assert.match((await eventsOf(grant)).at(-1) ?? '', /^refresh_token_reused /);
  assert.equal((await hallpass.refresh(grant.key, grant.tokens.at(-1) ?? '')).outcome, '400 invalid_grant');
});

test('a refused request records no use: neither with a bad scope nor by another client', async () => {
  const grant = await sharedGrant();
  await rotate(grant);
  clock.advance(100);
  const before = remembered;
  const predecessor = grant.tokens.at(-2) ?? '';
  const wider = await hallpass.refresh(grant.key, predecessor, { scope: '/ping.read' });
  assert.equal(wider.outcome, '400 invalid_scope');
  assert.equal((await hallpass.refresh(await hallpass.makeKey(), predecessor)).outcome, '400 invalid_grant');
  assert.equal(remembered, before);
  const events = await eventsOf(grant);
  assert.deepEqual(
    events.map((event) => event.split(' ')[0]),
    ['refresh_token_of_another_client'],
  );
});

test('if the store cannot write, a predecessor gets a 503, and the same request works afterwards', async () => {
  const grant = await sharedGrant();
  await rotate(grant);
  failing = true;
  const answer = await hallpass.refresh(grant.key, grant.tokens.at(-2) ?? '');
  failing = false;
  assert.equal(answer.outcome, '503 temporarily_unavailable');
  await follow(grant);
});

test('the mark is deleted with its key, and a new key with the same client_id has none', async () => {
  const grant = await sharedGrant();
  await rotate(grant);
  clock.advance(61);
  await follow(grant);
  const { clientId, clientSecret } = grant.key;
  await hallpass.keys.disable(clientId);
  assert.equal((await hallpass.keys.enable(clientId)).refreshSuspicions?.count, 1, 'it outlives a change');
  await hallpass.keys.delete(clientId);
  assert.equal(await hallpass.instance.store.findRefreshSuspicions(clientId), undefined);
  await hallpass.keys.create({
    name: 'again',
    scopes: ['/a.read'],
    imported: { clientId, clientSecret, allowWeak: true },
  });
  assert.equal((await hallpass.keys.show(clientId)).refreshSuspicions, undefined);
});

test('the log and the commands show it, a backup carries it, and one from before the columns is restored', async (t) => {
  const at = await serve(t);
  const run = async (args: readonly string[], on = at.environment): Promise<string> => {
    const { code, stdout, stderr } = await runCommand(args, on);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const made: Record<string, string> = JSON.parse(
    await run(['keys', 'create', 'partner', '--scope', '/accounts.write', '--json']),
  );
  const { client_id: clientId = '', client_secret: clientSecret = '' } = made;
  const ask = async (form: Readonly<Record<string, string>>, url = at.url): Promise<Record<string, string>> => {
    const body = new URLSearchParams({ client_id: clientId, client_secret: clientSecret, ...form });
    return await (await fetch(`${url}/oauth2/token`, { method: 'POST', body })).json();
  };
  const refresh = async (token: string, url = at.url): Promise<string> =>
    (await ask({ grant_type: 'refresh_token', refresh_token: token }, url))['refresh_token'] ?? '';
  const first = await ask({ grant_type: 'client_credentials', scope: '/accounts.write' });
  const grantId = claimOf(first['access_token'] ?? '', 'grant_id');
  let newest = first['refresh_token'] ?? '';
  const takeTurns = async (url = at.url): Promise<void> => {
    const before = newest;
    newest = await refresh(before, url);
    assert.equal(await refresh(before, url), newest);
  };
  for (let generation = 1; generation <= 3; generation++) await takeTurns();

  await until(() => at.stderr().includes('refresh_token_turns'));
  const lines = at.stderr().trim().split('\n');
  assert.equal(lines.length, 1, at.stderr());
  const line: Record<string, unknown> = JSON.parse(lines[0] ?? '');
  assert.deepEqual([line['msg'], line['clientId'], line['grantId']], ['refresh_token_turns', clientId, grantId]);
  assert.match(String(line['detail']), /^successive: generation 2 of 3, /);

  assert.match(await run(['keys', 'show', clientId]), /suspicious refreshes +1, the last at .*\(successive\), grant /);
  const document: { refresh_suspicions: Record<string, unknown> } = JSON.parse(
    await run(['keys', 'show', clientId, '--json']),
  );
  const { last_at: lastAt, ...mark } = document.refresh_suspicions;
  assert.deepEqual(mark, { count: 1, last_reason: 'successive', last_grant_id: grantId });
  assert.match(String(lastAt), /^20.*Z$/);
  const listed: Record<string, unknown>[] = JSON.parse(await run(['keys', 'list', '--json']));
  const marked = listed.filter((one) => one['refresh_suspicions'] !== null);
  assert.deepEqual([listed.length, marked.map((one) => one['client_id'])], [2, [clientId]]);
  assert.match(await run(['events']), new RegExp(`refresh_token_turns +${clientId} +${grantId} +successive: `));

  // What a list prints is what an import takes.
  const carried = JSON.stringify(marked.map((one) => ({ ...one, client_secret: clientSecret })));
  const { code, stderr } = await runCommand(['keys', 'import', '-'], await makeStore(t), carried);
  assert.equal(code, 0, stderr);

  const file = join(makeFolder(t), 'backup');
  await run(['store', 'backup', file]);
  const masterKey = readFileSync(join(at.environment['HALLPASS_DATA_DIR'] ?? '', 'master.key'), 'utf8').trim();
  const elsewhere = () => ({ ...at.environment, HALLPASS_DATA_DIR: makeFolder(t), HALLPASS_MASTER_KEY: masterKey });
  const restored = elsewhere();
  await run(['store', 'restore', file], restored);
  assert.match(await run(['keys', 'show', clientId], restored), /suspicious refreshes +1, /);

  writeFileSync(`${file}.old`, asBefore(readFileSync(file, 'utf8')));
  const older = elsewhere();
  assert.match(await run(['store', 'verify', `${file}.old`], older), /Whole/);
  await run(['store', 'restore', `${file}.old`], older);
  assert.doesNotMatch(await run(['keys', 'show', clientId], older), /suspicious/);
  const { url } = await serve(t, { ...older, HALLPASS_ISSUER: 'http://localhost:8080' });
  for (let generation = 1; generation <= 2; generation++) await takeTurns(url);
  assert.doesNotMatch(await run(['events'], older), /generation [345] of/, 'its families count from the start');
  await takeTurns(url);
  assert.match(await run(['events'], older), /successive: generation 5 of 6, .* 3 in a row/);
});

/** The schema before suspicions were kept, and how many values of a family came with it and later. */
const SCHEMA_BEFORE = 7;
const LATER_VALUES = 4;

/** A backup as a version of then wrote it: without the mark, and without the last values of a family. */
function asBefore(backup: string): string {
  const rows: (readonly unknown[] | Record<string, unknown>)[] = backup
    .replace(/"schema":\d+/, `"schema":${SCHEMA_BEFORE}`)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const kept = rows.slice(0, -1).flatMap((row) => {
    if (!Array.isArray(row)) return [row];
    if (row[0] === 'refresh_suspicions') return [];
    return [row[0] === 'families' ? row.slice(0, -LATER_VALUES) : row];
  });
  const text = kept.map((row) => `${JSON.stringify(row)}\n`).join('');
  const sha256 = createHash('sha256').update(text).digest('hex');
  return `${text}${JSON.stringify({ rows: kept.length - 1, sha256 })}\n`;
}
