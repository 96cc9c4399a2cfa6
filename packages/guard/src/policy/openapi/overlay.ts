/**
 * Applies overlays (OpenAPI Overlay Specification 1.0, 1.1): documents that change other documents. Only targets that name
 * a single place are supported.
 */
import { isObject } from '@hallpass/protocol';
import { faultAt, inside, own, quote, rootOf, type Place, type PolicyFault, type Source } from './faults.ts';

/** The deepest nesting of an update. */
const DEPTH_MAX = 64;
/** The most members of an update that are merged with the document's. With aliases, a few lines can hold any number. */
const MEMBERS_MAX = 100_000;

/** The members of an overlay. An unknown one is refused, because it may be a misspelt `actions`. */
const MEMBERS: ReadonlySet<string> = new Set(['overlay', 'info', 'extends', 'actions']);

/** Applies the actions of an overlay in order. Returns the changed document, and a fault for each action that failed. */
export function applyOverlay(
  document: unknown,
  overlay: Source,
): { readonly document: unknown; readonly faults: readonly PolicyFault[] } {
  const root = rootOf(overlay);
  const refuse = (name: string, sentence: string): { document: unknown; faults: readonly PolicyFault[] } => ({
    document,
    faults: [faultAt('bad_overlay', inside(root, name), sentence)],
  });
  const version = inside(root, 'overlay').value;
  if (!isObject(root.value) || typeof version !== 'string' || !/^1\.[01]\./.test(version)) {
    return refuse('overlay', `An overlay says overlay: '1.0.0', as a string. Is this the right file?`);
  }
  const stranger = Object.keys(root.value).find((name) => !MEMBERS.has(name) && !name.startsWith('x-'));
  if (stranger !== undefined) return refuse(stranger, `${quote(stranger)} is not a member of an overlay.`);
  const actions = inside(root, 'actions');
  if (!Array.isArray(actions.value)) return refuse('actions', 'actions must be a list of objects.');
  const faults: PolicyFault[] = [];
  let result = document;
  for (const [index, action] of (actions.value as readonly unknown[]).entries()) {
    const applied = applyAction(result, action);
    if (typeof applied === 'string') faults.push(faultAt('bad_overlay', inside(actions, String(index)), applied));
    else result = applied.document;
  }
  return { document: result, faults };
}

/** The document after an action, or a sentence that says why it failed. */
function applyAction(document: unknown, action: unknown): { readonly document: unknown } | string {
  const target = isObject(action) ? own(action, 'target') : undefined;
  if (!isObject(action) || typeof target !== 'string') return 'An action must be an object with a target.';
  const place = parseTarget(target);
  if (place === undefined) {
    return `The target ${quote(target)} is not supported. Name a single place, as in $.paths['/accounts'].get`;
  }
  const known = ['target', 'description', 'update', 'remove'];
  const stranger = Object.keys(action).find((name) => !known.includes(name) && !name.startsWith('x-'));
  if (stranger !== undefined) return `${quote(stranger)} is not supported in an action. Use update or remove.`;
  const [remove = false, update] = [own(action, 'remove'), own(action, 'update')];
  if (typeof remove !== 'boolean') return 'remove must be true or false.';
  if (remove) {
    const name = place.at(-1);
    if (name === undefined) return 'The whole document cannot be removed.';
    // It may be gone already.
    return changeAt(document, place.slice(0, -1), (value) => removeMember(value, name)) ?? { document };
  }
  if (update === undefined) return 'The action has neither an update nor remove: true.';
  const changed = changeAt(document, place, (value) => merge(value, update, { left: MEMBERS_MAX }));
  return (
    changed ??
    `There is nothing at ${quote(target)}. Has the document changed? Remove the action, or correct its target.`
  );
}

type Changed = { readonly document: unknown } | string;

/** A copy of the document with the value at a place changed; undefined if nothing is there. The rest is shared. */
function changeAt(document: unknown, place: Place, change: (value: unknown) => Changed): Changed | undefined {
  const [name, ...rest] = place;
  if (name === undefined) return change(document);
  if (!isObject(document) || !Object.hasOwn(document, name)) return undefined;
  const changed = changeAt(document[name], rest, change);
  if (changed === undefined || typeof changed === 'string') return changed;
  return { document: withMember(document, name, changed.document) };
}

function removeMember(value: unknown, name: string): Changed {
  if (!isObject(value)) return 'Only members of objects can be removed.';
  return { document: Object.fromEntries(Object.entries(value).filter(([key]) => key !== name)) };
}

/** Merges as Overlay 1.1 says: objects are merged, lists are joined, and other values are replaced by their own kind. */
function merge(target: unknown, update: unknown, budget: { left: number }, depth = 0): Changed {
  budget.left -= 1;
  if (depth > DEPTH_MAX || budget.left < 0) return 'The update is too deep or too large.';
  if (isObject(target) && isObject(update)) {
    const members = new Map(Object.entries(target));
    for (const [name, value] of Object.entries(update)) {
      const inner = Object.hasOwn(target, name) ? merge(target[name], value, budget, depth + 1) : { document: value };
      if (typeof inner === 'string') return inner;
      members.set(name, inner.document);
    }
    return { document: Object.fromEntries(members) };
  }
  if (Array.isArray(target) && (Array.isArray(update) || depth === 0)) {
    return { document: [...(target as readonly unknown[]), ...[update].flat()] };
  }
  if (depth === 0 || [target, update].some((value) => isObject(value) || Array.isArray(value))) {
    return 'The update is of a different kind than what it is merged with.';
  }
  return { document: update };
}

/** `fromEntries` makes an own member even of `__proto__`. */
function withMember(record: Readonly<Record<string, unknown>>, name: string, value: unknown): object {
  return Object.fromEntries(new Map(Object.entries(record)).set(name, value));
}

/** The most names in a target. */
const TARGET_NAMES_MAX = 32;

/** One step of a target (RFC 9535 §2.3.1, 2.5.1): `.name`, or a quoted name in brackets. */
const STEP = /^(?:\.([A-Za-z_][A-Za-z0-9_]*)|\[(?:'(?:[^'\\]|\\['\\])*'|"(?:[^"\\]|\\["\\])*")\])/;

/** Parses a target that names a single place; undefined for any other target. */
function parseTarget(target: string): Place | undefined {
  if (!target.startsWith('$')) return undefined;
  const place: string[] = [];
  let end = 1;
  while (end < target.length) {
    const found = STEP.exec(target.slice(end));
    if (found === null || place.length >= TARGET_NAMES_MAX) return undefined;
    const [whole, plain] = found;
    place.push(plain ?? whole.slice(2, -2).replaceAll(/\\(.)/g, '$1'));
    end += whole.length;
  }
  return place;
}
