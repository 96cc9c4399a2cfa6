/** The fields that a request may hold once. Of two, a proxy in front could have read the one, and this server the other. */
import { refuse, type Refusal } from '@hallpass/protocol';

/**
 * Node keeps the first of some, and joins others with a comma. `DPoP` is not among them: of two proofs each is malformed,
 * in the words of RFC 9449 §4.3. Nor is what may be a list (RFC 9110 §5.3).
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

/** `rawHeaders`: names and values in turn, as Node received them. */
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
