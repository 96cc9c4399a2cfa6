/** Refuses a header field that a request may hold only once. A proxy in front might read one copy, and this server the other. */
import { refuse, type Refusal } from '@hallpass/protocol';

/**
 * Of these, Node keeps the first copy of some, and joins others with a comma. `DPoP` is not listed, because RFC 9449 §4.3 has
 * its own error for two proofs. Nor are fields that may be lists (RFC 9110 §5.3).
 */
const SINGLE: ReadonlySet<string> = new Set([
  'access-control-request-method',
  'authorization',
  'content-length',
  'content-type',
  'hallpass-caller',
  'hallpass-follower',
  'hallpass-guard',
  'host',
  'last-event-id',
  'origin',
  'referer',
  'transfer-encoding',
]);

/** Finds the first such field that occurs twice. `rawHeaders` alternates names and values, as Node received them. */
export function findRepeatedField(rawHeaders: readonly string[]): Refusal | undefined {
  const seen = new Set<string>();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase() ?? '';
    if (!SINGLE.has(name)) continue;
    if (seen.has(name)) return refuse('repeated_field', { subject: name });
    seen.add(name);
  }
  return undefined;
}
