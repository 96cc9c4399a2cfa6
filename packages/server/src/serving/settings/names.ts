/**
 * Which names in the environment are ours. It belongs to others as well: beside a Service called `hallpass`, Kubernetes
 * puts `HALLPASS_SERVICE_HOST`, `HALLPASS_PORT=tcp://10.0.0.1:8080` and more into every container of the namespace.
 */
import { findNearest, isLike } from '@hallpass/protocol';
import { BadSetting } from './bad_setting.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export const FILE_VARIABLE = 'HALLPASS_CONFIG';

/** What `hallpass guard` and `hallpass explain` read beside HALLPASS_ISSUER. */
export const GUARD_NAMES = ['HALLPASS_GUARD_CLIENT_ID', 'HALLPASS_GUARD_CLIENT_SECRET'] as const;

/** Of Services called `hallpass`, `hallpass-guard` and the like: their hosts and ports. */
const SERVICE =
  /^HALLPASS_(?:[A-Z0-9]+_)*(?:SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/;
/** Also such a Service's: `HALLPASS_PORT`, `HALLPASS_OPERATOR_PORT`. Only the value tells it from a setting of that name. */
const SERVICE_PORT = /^HALLPASS_(?:[A-Z0-9]+_)*PORT$/;
const SERVICE_URL = /^(?:tcp|udp|sctp):\/\/(?:[0-9.]+|\[?[0-9A-Fa-f:.]+\]?):[0-9]{1,5}$/;

function isOfService(name: string, value: string): boolean {
  return SERVICE.test(name) || (SERVICE_PORT.test(name) && SERVICE_URL.test(value));
}

/**
 * What is ours of an environment: without what Kubernetes put there, and without the line breaks at the end of a value,
 * which a file or a `kubectl create secret` leaves there. Throws `BadSetting` for a name that is neither Kubernetes's nor `known`.
 */
export function readOwnVariables(environment: Environment, known: readonly string[]): ReadonlyMap<string, string> {
  const own = new Map<string, string>();
  for (const [name, value = ''] of Object.entries(environment)) {
    if (!name.startsWith('HALLPASS_') || isOfService(name, value)) continue;
    if (!known.includes(name)) throw new BadSetting(`${name} is not a setting.${suggest(name, known)}`);
    own.set(name, withoutLineBreaks(value));
  }
  return own;
}

/** A text without the line breaks at its end, LF or CRLF. */
export function withoutLineBreaks(text: string): string {
  return text.replace(/[\r\n]+$/, '');
}

/** The end of a sentence about a name that is unknown. */
export function suggest(name: string, names: readonly string[]): string {
  const [best] = findNearest(name, names);
  return best !== undefined && isLike(ownPart(name), ownPart(best))
    ? ` Did you mean ${best}?`
    : ' hallpass --help lists those that there are.';
}

/** What a name has for itself: the beginning of all of them makes none like another. */
function ownPart(name: string): string {
  return name.replace(/^HALLPASS_/, '');
}
