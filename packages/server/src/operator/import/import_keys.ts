/** Import: every row is checked before the first is kept; then each is kept by itself, durably, in the order of the file. */
import { CLIENTS_MAX, type Store } from '../../store/store.ts';
import { type ApiKeys, type MadeApiKey } from '../api_keys.ts';
import { KeyExists, OperatorRefusal } from '../operator_refusal.ts';
import type { ImportedKey, ImportRow } from './rows.ts';

/** A row that cannot be imported, and what to do, in a sentence. */
interface BadRow {
  readonly at: string;
  readonly fault: string;
}

/** A row that can. */
export interface PlannedKey {
  readonly at: string;
  readonly wanted: ImportedKey;
  /** As it would be made. */
  readonly drafted: MadeApiKey['client'];
  readonly exists: boolean;
}

export interface ImportPlan {
  readonly planned: readonly PlannedKey[];
  readonly bad: readonly BadRow[];
}

export interface ImportCounts {
  readonly made: number;
  /** There was a key with the same `client_id` already, which stays as it is. */
  readonly skipped: number;
}

/** What becomes of a row whose `client_id` a key has already. */
export const ON_CONFLICT = ['refuse', 'skip'] as const;
export type OnConflict = (typeof ON_CONFLICT)[number];

/** How many clients are read at once. */
const PAGE_CLIENTS = 200;

/** What an import would do. Keeps nothing. */
export async function planImport(
  { store, api }: { readonly store: Store; readonly api: ApiKeys },
  rows: readonly ImportRow[],
  onConflict: OnConflict,
): Promise<ImportPlan> {
  const existing = await readClientIds(store);
  const planned: PlannedKey[] = [];
  const bad: BadRow[] = [];
  const seen = new Map<string, string>();
  for (const row of rows) {
    const { at } = row;
    if ('fault' in row) {
      bad.push({ at, fault: row.fault });
      continue;
    }
    const { clientId } = row.wanted.imported;
    const before = seen.get(clientId);
    seen.set(clientId, before ?? at);
    const drafted = draft(api, row.wanted);
    const exists = existing.has(clientId);
    if (typeof drafted === 'string') bad.push({ at, fault: drafted });
    else if (before !== undefined) bad.push({ at, fault: `It has the client_id of ${before}. Leave one of them out.` });
    else if (exists && onConflict === 'refuse') {
      bad.push({
        at,
        fault: `There is an API key with the client_id ${clientId} already. Leave this one out, delete that one, or let it be with --on-conflict skip.`,
      });
    } else planned.push({ at, wanted: row.wanted, drafted: drafted.client, exists });
  }
  const room = CLIENTS_MAX - existing.size;
  const fresh = planned.filter(({ exists }) => !exists);
  if (fresh.length > room)
    throw new OperatorRefusal(
      `There is room for ${room} more API keys (a store keeps ${CLIENTS_MAX}), and the file has ${fresh.length} new ones. Delete those that are not used.`,
    );
  return { planned, bad };
}

/** A key as it would be made, or what is wrong with it. */
function draft(api: ApiKeys, wanted: ImportedKey): MadeApiKey | string {
  try {
    return api.draft(wanted);
  } catch (refusal) {
    if (!(refusal instanceof OperatorRefusal)) throw refusal;
    const { message, quoted } = refusal;
    // A secret may stand in the wrong column: a value is repeated only where it looks like what it should be.
    return quoted === undefined || quoted === '' || isShowable(quoted)
      ? message
      : message.replaceAll(quoted, '(not shown)');
  }
}

function isShowable(value: string): boolean {
  return /^\/|:\/\/|^[a-z][a-z._:-]{0,30}$/.test(value);
}

async function readClientIds(store: Store): Promise<ReadonlySet<string>> {
  const ids = new Set<string>();
  let after: string | undefined;
  for (;;) {
    const page = await store.listClients({ limit: PAGE_CLIENTS, ...(after === undefined ? {} : { after }) });
    for (const { clientId } of page) ids.add(clientId);
    after = page.at(-1)?.clientId;
    if (page.length < PAGE_CLIENTS) return ids;
  }
}

/**
 * Makes the keys of a plan that had nothing bad. What `done` was told of is kept, whatever happens then; it may answer
 * that no more are wanted. A key that someone else made meanwhile is skipped or refused as if it had been there before.
 */
export async function keepImport(
  api: ApiKeys,
  planned: readonly PlannedKey[],
  { onConflict, done }: { readonly onConflict: OnConflict; readonly done: (counts: ImportCounts) => 'go_on' | 'stop' },
): Promise<ImportCounts> {
  let [made, skipped] = [0, 0];
  for (const { wanted, exists } of planned) {
    if (exists || (await create(api, wanted, onConflict)) === 'exists') skipped += 1;
    else made += 1;
    if (done({ made, skipped }) === 'stop') break;
  }
  return { made, skipped };
}

async function create(api: ApiKeys, wanted: ImportedKey, onConflict: OnConflict): Promise<'made' | 'exists'> {
  try {
    await api.create(wanted);
    return 'made';
  } catch (refusal) {
    if (refusal instanceof KeyExists && onConflict === 'skip') return 'exists';
    throw refusal;
  }
}
