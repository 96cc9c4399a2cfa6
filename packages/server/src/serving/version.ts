/** The version of this Hallpass. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

/** The package's own; in a checkout, whose packages have no version until they are packed, the workspace's. */
const MANIFESTS = ['../../package.json', '../../../../package.json'];

/** Reads the version, such as `1.2.3`, from package.json. */
export function readVersion(): string {
  for (const path of MANIFESTS) {
    const manifest: unknown = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
    if (typeof manifest !== 'object' || manifest === null || !('version' in manifest)) continue;
    if (typeof manifest.version === 'string') return manifest.version;
  }
  return assert.fail('a package.json states the version');
}
