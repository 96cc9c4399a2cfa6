/** Serves the API's metadata (RFC 9728 §3), for the adapters. */
import type { Guard } from '../guard.ts';
import { pathOf, withoutQuery } from '../policy/path.ts';
import type { Policy } from '../policy/policy.ts';
import type { ResourceMetadata } from '../resource_metadata.ts';

/** The response with the metadata. */
export interface MetadataAnswer {
  readonly status: 200;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ResourceMetadata;
}

const HEADERS = {
  'Content-Type': 'application/json',
  'Cache-Control': 'public, max-age=300',
  // Public and the same for everyone, so scripts on any page may read it.
  'Access-Control-Allow-Origin': '*',
};

/** Undefined for any other request, and always if the guard doesn't have the option `resourceMetadata`. */
export function answerMetadata(
  guard: Guard,
  policy: Policy,
  { method, url }: { readonly method: string; readonly url: string },
): MetadataAnswer | undefined {
  if (guard.metadataPath === undefined || method !== 'GET') return undefined;
  if (withoutQuery(pathOf(url)) !== guard.metadataPath) return undefined;
  return { status: 200, headers: HEADERS, body: guard.metadata(policy) };
}
