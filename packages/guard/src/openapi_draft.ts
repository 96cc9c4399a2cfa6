/** Scopes for operations that ask for none: proposed, never taken for granted, and written down as an overlay. */
import { escapeControls, escapeControlsInLines, isObject, isScope, parseScope } from '@hallpass/protocol';
import { Document, Scalar, visit } from 'yaml';
import { at, own } from './openapi_faults.ts';
import type { Operation } from './openapi_operations.ts';
import { printTarget } from './openapi_overlay.ts';
import { propose, type Known, type Proposal } from './openapi_prose.ts';
import { readDemand, UNSURE } from './openapi_routes.ts';

export type { Proposal } from './openapi_prose.ts';

export interface DraftOptions {
  /** Where clients get their tokens, for the security scheme. Default: that of a server on this machine. */
  readonly tokenURL?: string;
}

/** What is proposed, and the overlay that says so; undefined when there is nothing to add. */
export interface Draft {
  readonly proposals: readonly Proposal[];
  readonly overlay: Overlay | undefined;
}

/** An OpenAPI Overlay 1.0 document. */
export interface Overlay {
  readonly overlay: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly actions: readonly Action[];
}

interface Action {
  readonly target: string;
  readonly description?: string;
  readonly update?: Readonly<Record<string, unknown>>;
  readonly remove?: true;
}

const TOKEN_URL = 'http://localhost:8080/oauth2/token';

/** One scope for each operation that has none. The others stay as they are, and show how it is done. */
export function draftScopes(
  document: Readonly<Record<string, unknown>>,
  operations: readonly Operation[],
  { tokenURL = TOKEN_URL }: DraftOptions,
): Draft {
  const known: Known[] = [];
  const open: Operation[] = [];
  const seen = new Set<string>();
  for (const operation of operations) {
    const demand = readDemand(document, operation.fields);
    const unsettled = Object.hasOwn(operation.fields, UNSURE);
    if (demand.asks === 'scope' && !unsettled && isScope(parseScope(demand.scope))) {
      known.push({ operation, scope: demand.scope });
    }
    // A path item that two paths refer to is written once.
    const target = printTarget(operation.place);
    if (demand.asks === 'no_scope' && !unsettled && !seen.has(target)) open.push(operation);
    seen.add(target);
  }
  const proposals = propose(document, open, known);
  if (proposals.length === 0) return { proposals, overlay: undefined };
  const scheme = schemeFor(document, proposals, tokenURL);
  const actions = [...scheme.actions, ...proposals.flatMap((proposal) => actionsOf(proposal, scheme.name))];
  const title = own(isObject(document['info']) ? document['info'] : {}, 'title');
  const info = { title: `Scopes of ${typeof title === 'string' ? title : 'the API'}`, version: '1.0.0' };
  return { proposals, overlay: { overlay: '1.0.0', info, actions } };
}

function actionsOf({ operation, scope, sure, reason }: Proposal, scheme: string): readonly Action[] {
  const target = printTarget(operation.place);
  const security = [{ [scheme]: [scope] }];
  const action: Action = {
    target,
    description: `${operation.route}: ${sure ? reason : 'unsure'}`,
    update: sure ? { security } : { security, [UNSURE]: reason },
  };
  // Lists that meet are joined, and the operation would have both.
  if (!Object.hasOwn(operation.fields, 'security')) return [action];
  return [{ target: printTarget([...operation.place, 'security']), remove: true }, action];
}

/** A scheme for client credentials: the document's own, if it has one, with the scopes that it lacks. */
function schemeFor(
  document: Readonly<Record<string, unknown>>,
  proposals: readonly Proposal[],
  tokenUrl: string,
): { readonly name: string; readonly actions: readonly Action[] } {
  const place = ['components', 'securitySchemes'];
  const schemes = at(document, place);
  const entries = isObject(schemes) ? Object.entries(schemes) : [];
  const scopes = describeScopes(proposals);
  for (const [name] of entries) {
    const listed = [...place, name, 'flows', 'clientCredentials', 'scopes'];
    const present = at(document, listed);
    if (at(document, [...place, name, 'type']) !== 'oauth2' || !isObject(present)) continue;
    const update = Object.fromEntries(Object.entries(scopes).filter(([scope]) => !Object.hasOwn(present, scope)));
    const actions = Object.keys(update).length === 0 ? [] : [{ target: printTarget(listed), update }];
    return { name, actions };
  }
  let name = 'Hallpass';
  for (let count = 2; entries.some(([taken]) => taken === name); count++) name = `Hallpass${count}`;
  const scheme = { [name]: { type: 'oauth2', flows: { clientCredentials: { tokenUrl, scopes } } } };
  // As deep as the document goes: what merges less than it should would replace the other components.
  if (isObject(schemes)) return { name, actions: [{ target: printTarget(place), update: scheme }] };
  const update = { securitySchemes: scheme };
  if (isObject(own(document, 'components'))) return { name, actions: [{ target: '$.components', update }] };
  return { name, actions: [{ target: '$', update: { components: update } }] };
}

function describeScopes(proposals: readonly Proposal[]): Readonly<Record<string, string>> {
  const routes = new Map<string, string[]>();
  for (const { scope, operation } of proposals) {
    const those = routes.get(scope) ?? [];
    those.push(operation.route);
    routes.set(scope, those);
  }
  const described = [...routes].toSorted(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(
    described.map(([scope, [first = '', ...more]]) => [
      scope,
      more.length === 0 ? first : `${first}, and ${more.length} more`,
    ]),
  );
}

/** An overlay as YAML, each member on one line, so that it can be settled by taking lines away. */
export function printOverlay(overlay: Overlay): string {
  const document = new Document(overlay, { aliasDuplicateObjects: false });
  // Only between double quotes an escape stands for its character, and nothing else may reach a terminal.
  visit(document, {
    Scalar: (_, scalar) => {
      const { value } = scalar;
      if (typeof value === 'string' && escapeControls(value) !== value) scalar.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return escapeControlsInLines(document.toString({ lineWidth: 0, doubleQuotedMinMultiLineLength: Infinity }));
}
