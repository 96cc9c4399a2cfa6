/** Where everything is, and the keys that were made for it: written by start.ts, read by calls.ts. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Credentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

export interface Setting {
  readonly issuer: string;
  readonly api: string;
  /** The key of the API's guard. */
  readonly guard: Credentials;
  /** The key of a partner, who calls the API. */
  readonly partner: Credentials;
}

/** Everything that this example writes is in here; delete it to start afresh. */
export const DATA_DIR = process.env['HALLPASS_DATA_DIR'] ?? fileURLToPath(new URL('.hallpass', import.meta.url));
const FILE = join(DATA_DIR, 'quickstart.json');

/** Undefined when the example was never started. */
export function readSetting(): Setting | undefined {
  return existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : undefined;
}

export function saveSetting(setting: Setting): void {
  writeFileSync(FILE, JSON.stringify(setting), { mode: 0o600 });
}
