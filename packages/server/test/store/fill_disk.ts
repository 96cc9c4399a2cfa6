/** Writes revocations to a store until a write rejects, and prints what was acknowledged and the error's name. */
import { openSqliteStore } from '../../src/store/sqlite/sqlite.ts';
import { readFeed, revocationRecord } from '../../../../testing/store_contract/records.ts';

/** More than fits below the file size limit of any test. */
const REVOCATIONS_MAX = 20_000;
const [file = ''] = process.argv.slice(2);

const store = await openSqliteStore({ file });
const acknowledged: string[] = [];
const refused = await writeUntilRefused();
const readable = await readFeed(store, { limit: 1_000 }).then(
  ({ ids }) => ids.length >= acknowledged.length,
  () => false,
);
process.stdout.write(JSON.stringify({ acknowledged, refused, readable }));
await store.close();

/** Returns the name of the error. */
async function writeUntilRefused(): Promise<string> {
  for (let at = 0; at < REVOCATIONS_MAX; at++) {
    try {
      await store.revoke([revocationRecord('token', `jti-${at}`)]);
    } catch (error) {
      return error instanceof Error ? error.name : String(error);
    }
    acknowledged.push(`jti-${at}`);
  }
  return 'nothing';
}
