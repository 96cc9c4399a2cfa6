/** Import: every row is checked before the first is kept; then each is kept by itself, durably, in the order of the file. */
import { CLIENTS_MAX, type Store } from '../../store/store.ts';
import { type ApiKeys, type MadeApiKey } from '../api_keys.ts';
import { isRefusedFor, OperatorRefusal, operatorRefusal } from '../operator_refusal.ts';
import type { ImportedKey, ImportRow } from './rows.ts';

/** A row that cannot be imported, and why. */
interface BadRow {
  readonly at: string;
  readonly fault: OperatorRefusal;
}

/** A row that can be imported. */
export interface PlannedKey {
  readonly at: string;
  readonly wanted: ImportedKey;
  /** The key that would be made. */
  readonly drafted: MadeApiKey['client'];
  readonly exists: boolean;
}

/** What an import would do. Any bad row keeps all the others out. */
export interface ImportPlan {
  readonly planned: readonly PlannedKey[];
  readonly bad: readonly BadRow[];
}

/** How far an import has come. */
export interface ImportCounts {
  readonly made: number;
  /** Rows whose `client_id` another key had. That key stays unchanged. */
  readonly skipped: number;
}

/** What to do with a row whose `client_id` another key has. */
export const ON_CONFLICT = ['refuse', 'skip'] as const;
/** One of them. */
export type OnConflict = (typeof ON_CONFLICT)[number];

/** How many clients are read at a time. */
const PAGE_CLIENTS = 200;

/** Checks every row against the store, and keeps nothing. Throws when the store has no room for the new keys. */
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
    if (drafted instanceof OperatorRefusal) bad.push({ at, fault: drafted });
    else if (before !== undefined) bad.push({ at, fault: operatorRefusal('row_repeats_client_id', { of: before }) });
    else if (exists && onConflict === 'refuse')
      bad.push({ at, fault: operatorRefusal('row_of_existing_key', { clientId }) });
    else planned.push({ at, wanted: row.wanted, drafted: drafted.client, exists });
  }
  const room = CLIENTS_MAX - existing.size;
  const wanted = planned.filter(({ exists }) => !exists).length;
  if (wanted > room) throw operatorRefusal('too_many_new_keys', { room, max: CLIENTS_MAX, wanted });
  return { planned, bad };
}

/** A key as it would be made, or why it cannot be. */
function draft(api: ApiKeys, wanted: ImportedKey): MadeApiKey | OperatorRefusal {
  try {
    return api.draft(wanted);
  } catch (refusal) {
    if (refusal instanceof OperatorRefusal) return withoutSecrets(refusal);
    throw refusal;
  }
}

/** A secret may stand in the wrong column: a value is repeated only where it looks like what it should be. */
function withoutSecrets(refusal: OperatorRefusal): OperatorRefusal {
  const { code, data } = refusal;
  if (!('value' in data) || data.value === '' || isShowable(data.value)) return refusal;
  return new OperatorRefusal(code, { ...data, value: '(not shown)' });
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
 * Makes the keys of a plan without bad rows. `done` is called after each key, which is then kept whatever happens next, and
 * may stop the import. A key that someone else made in the meantime is skipped or refused as if it had been there before.
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
    if (onConflict === 'skip' && isRefusedFor(refusal, 'key_exists')) return 'exists';
    throw refusal;
  }
}
