/**
 * Which variables of the environment are settings. Others may share the prefix: for a Service called `hallpass`, Kubernetes
 * puts `HALLPASS_SERVICE_HOST`, `HALLPASS_PORT=tcp://10.0.0.1:8080` and more into every container of the namespace.
 */
import { findNearest, isLike } from '@hallpass/protocol';
import { BadSetting } from './bad_setting.ts';

/** Variables by name, as Node has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The variable that names the settings file. */
export const FILE_VARIABLE = 'HALLPASS_CONFIG';

/** The variables that `hallpass guard` and `hallpass explain` read besides HALLPASS_ISSUER. */
export const GUARD_NAMES = ['HALLPASS_GUARD_CLIENT_ID', 'HALLPASS_GUARD_CLIENT_SECRET'] as const;

/** The hosts and ports of Services called `hallpass`, `hallpass-guard` and the like. */
const SERVICE =
  /^HALLPASS_(?:[A-Z0-9]+_)*(?:SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/;
/** A Service's too: `HALLPASS_PORT`, `HALLPASS_OPERATOR_PORT`. Only the value distinguishes it from the setting. */
const SERVICE_PORT = /^HALLPASS_(?:[A-Z0-9]+_)*PORT$/;
const SERVICE_URL = /^(?:tcp|udp|sctp):\/\/(?:[0-9.]+|\[?[0-9A-Fa-f:.]+\]?):[0-9]{1,5}$/;

function isOfService(name: string, value: string): boolean {
  return SERVICE.test(name) || (SERVICE_PORT.test(name) && SERVICE_URL.test(value));
}

/**
 * The settings of an environment, without the variables of Kubernetes. Line breaks at the end of a value are dropped: files
 * and `kubectl create secret` leave them there. Throws `BadSetting` for a name that is not `known`.
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

/** Ends a sentence about an unknown name with the nearest known one. */
export function suggest(name: string, names: readonly string[]): string {
  const [best] = findNearest(name, names);
  return best !== undefined && isLike(ownPart(name), ownPart(best))
    ? ` Did you mean ${best}?`
    : ' hallpass --help lists all settings.';
}

/** A name without the prefix that all names share: the prefix must not make two names look alike. */
function ownPart(name: string): string {
  return name.replace(/^HALLPASS_/, '');
}
