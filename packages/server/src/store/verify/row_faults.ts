/** Rules between rows that no engine can check. */
import { isObject, parseJson } from '@hallpass/protocol';
import { PLACEHOLDER_CLIENT_ID } from '../verbs/clients.ts';
import type { Checkable, Findings } from './findings.ts';
import { judgeDigest } from '../verbs/record_digest.ts';
import type { Sql } from '../sql.ts';
import { readTable, TABLES } from '../transfer/tables.ts';

/** A check per table; each adds its faults to the findings. */
const RULES: Readonly<Record<string, (sql: Sql, findings: Findings) => Promise<void>>> = {
  feed: checkFeed,
  revocations: checkRevocations,
  families: checkFamilies,
  clients: checkClients,
};

/** Runs all checks between rows and adds their faults to the findings. */
export async function findRowFaults(read: Checkable['read'], findings: Findings): Promise<void> {
  for (const [table, check] of Object.entries(RULES)) {
    await findings.attempt(`The table ${table}`, () => read((sql) => check(sql, findings)));
  }
}

/** The feed row is rewritten with each revocation and has no index to compare with, so it is compared with the newest entry. */
async function checkFeed(sql: Sql, findings: Findings): Promise<void> {
  const rows = await sql.all('SELECT one, feed_id, last_position, last_commit FROM feed');
  const [feed] = rows;
  if (feed === undefined || rows.length > 1 || feed['one'] !== 1) {
    return findings.add(`The table feed must have one row; it has ${rows.length}.`);
  }
  const { feed_id: feedId, last_position: last, last_commit: commit } = feed;
  if (typeof feedId !== 'string' || !/^[0-9a-z]+$/.test(feedId)) findings.add('The id of the feed is damaged.');
  if (typeof last !== 'number' || last < 0) return findings.add('The position of the feed is damaged.');
  const [newest] = await sql.all('SELECT position, commit_id FROM revocations ORDER BY position DESC LIMIT 1');
  const position = Number(newest?.['position'] ?? 0);
  if (position > last) findings.add(`The feed ends at ${last}, before its entry ${position}.`);
  const isOfLast = typeof commit === 'string' && commit.startsWith(`${last}-`);
  if (position === last && isOfLast && commit !== `${last}-${String(newest?.['commit_id'])}`) {
    findings.add('The end of the feed and its newest entry come from different commits.');
  }
}

async function checkRevocations(sql: Sql, findings: Findings): Promise<void> {
  await addCount(sql, findings, {
    text: `SELECT COUNT(*) AS found FROM revocations
            WHERE position < 1 OR kind NOT IN ('token', 'grant', 'client', 'before', 'place')
               OR (kind IN ('client', 'before')) <> (before_date IS NOT NULL)`,
    sentence: 'revocations are damaged: their kind, position or time is impossible.',
  });
}

async function checkFamilies(sql: Sql, findings: Findings): Promise<void> {
  await addCount(sql, findings, {
    text: `SELECT COUNT(*) AS found FROM families
            WHERE generation < 1 OR shown_generation > generation OR suspected_generation > generation`,
    sentence: 'grants are damaged: their generation is impossible.',
  });
}

async function addCount(
  sql: Sql,
  findings: Findings,
  { text, sentence }: { readonly text: string; readonly sentence: string },
): Promise<void> {
  const [row] = await sql.all(text);
  const found = Number(row?.['found'] ?? 0);
  if (found > 0) findings.add(`${found} ${sentence}`);
}

async function checkClients(sql: Sql, findings: Findings): Promise<void> {
  const clients = TABLES.find(({ name }) => name === 'clients');
  let undigested = 0;
  let hasPlaceholder = false;
  for await (const row of readTable(sql, {
    name: 'clients',
    key: clients?.key ?? [],
    values: ['version', 'record', 'digest'],
  })) {
    const clientId = String(row['client_id']);
    const isWhole = isRecordOf(clientId, String(row['record']));
    if (clientId === PLACEHOLDER_CLIENT_ID) {
      // Some older version may have written it. Its content does not matter as long as it can be read.
      hasPlaceholder = isWhole;
      continue;
    }
    const judged = judgeDigest(row);
    if (judged === 'none') undigested += 1;
    if (judged === 'differs' || !isWhole) findings.add(`The record of the API key ${clientId} is damaged.`);
  }
  if (!hasPlaceholder) findings.add('The row that stands in for unknown API keys is missing or damaged.');
  if (undigested > 0) {
    findings.skip(
      `${undigested} API keys have no digest yet, because an older version wrote them last. Their records were only parsed.`,
    );
  }
}

function isRecordOf(clientId: string, record: string): boolean {
  const client = parseJson(record);
  return isObject(client) && client['clientId'] === clientId;
}
