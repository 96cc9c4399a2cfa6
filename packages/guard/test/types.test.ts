/** What the compiler refuses. Nothing here is called: it is enough that it compiles, and would not without the errors. */
import {
  compilePolicy,
  createGuard,
  type Access,
  type Guard,
  type GuardedRequest,
  type RouteAccess,
} from '@hallpass/guard';
import { protect as protectFetch } from '@hallpass/guard/fetch';
import { protect as protectNode } from '@hallpass/guard/node';
import assert from 'node:assert/strict';
import { test } from 'node:test';

export async function checkWantsValuesWhereTheScopeIsATemplate(guard: Guard, request: GuardedRequest): Promise<void> {
  await guard.check(request, '/accounts.read');
  await guard.check(request, '/accounts/{accountID}.read', { accountID: 'a1' });
  // @ts-expect-error -- the values are missing
  await guard.check(request, '/accounts/{accountID}.read');
  // @ts-expect-error -- a value is missing
  await guard.check(request, '/accounts/{accountID}/{other}.read', { accountID: 'a1' });
  // @ts-expect-error -- the name is another
  await guard.check(request, '/accounts/{accountID}.read', { accountId: 'a1' });
  // @ts-expect-error -- the value is no text
  await guard.check(request, '/accounts/{accountID}.read', { accountID: 1 });
  // @ts-expect-error -- there is nothing to fill
  await guard.check(request, '/accounts.read', { accountID: 'a1' });
}

export function protectGivesTheValuesOfTheRoute(guard: Guard): void {
  const policy = compilePolicy({
    'GET /accounts': '/accounts.read',
    'GET /accounts/{accountID}': '/accounts/{accountID}.read',
    'GET /accounts/{accountID}/transfers/{id}': '/accounts/{accountID}/transfers.read',
  });
  const read = (access: RouteAccess<Routes>): string => {
    if (access.route === 'GET /accounts/{accountID}') {
      // @ts-expect-error -- this route has no {id}
      return access.values.accountID + access.values.id;
    }
    if (access.route === 'GET /accounts/{accountID}/transfers/{id}') return access.values.accountID + access.values.id;
    // @ts-expect-error -- this route has no parameters
    return access.values.accountID;
  };
  protectNode(guard, policy, (_request, _response, access) => void read(access));
  protectFetch(guard, policy, (_request, access) => {
    // @ts-expect-error -- no such route
    if (access.route === 'GET /transfers') return new Response();
    return new Response(read(access));
  });
}

type Routes = 'GET /accounts' | 'GET /accounts/{accountID}' | 'GET /accounts/{accountID}/transfers/{id}';

export function aPolicyNamesOnlyParametersOfItsRoutes(): void {
  compilePolicy({ 'GET /accounts/{accountID}': '/accounts/{accountID}.read' });
  // @ts-expect-error -- the route has no {id}
  compilePolicy({ 'GET /accounts/{accountID}': '/accounts/{id}.read' });
}

const SCOPES = ['/accounts.read', '/accounts/{accountID}.read'] as const;

export async function aGuardWithACatalogueTakesItsScopesAlone(request: GuardedRequest): Promise<void> {
  const guard = createGuard({
    issuer: '',
    audience: '',
    credentials: { clientId: '', clientSecret: '' },
    scopes: SCOPES,
  });
  await guard.check(request, '/accounts.read');
  await guard.check(request, '/accounts/{accountID}.read', { accountID: 'a1' });
  // @ts-expect-error -- no such scope
  await guard.check(request, '/accounts.raed');
  // @ts-expect-error -- the values are still wanted
  await guard.check(request, '/accounts/{accountID}.read');
  const policy = compilePolicy({ 'GET /accounts': '/accounts.read' }, { scopes: SCOPES });
  // @ts-expect-error -- no such scope
  compilePolicy({ 'GET /accounts': '/accounts.raed' }, { scopes: SCOPES });
  // @ts-expect-error -- a parameter that the route has not
  compilePolicy({ 'GET /accounts': '/accounts/{accountID}.read' }, { scopes: SCOPES });
  protectNode(guard, policy, () => undefined);
}

export async function aGuardWithoutOneTakesAny(guard: Guard, request: GuardedRequest): Promise<void> {
  await guard.check(request, '/anything.at-all');
}

export function aClientIsNeverAUser(access: Access): string {
  const { kind } = access.client;
  // @ts-expect-error -- there is one kind
  if (kind === 'user') return '';
  return access.client.clientId;
}

test('the compiler accepts this file with each of its expected errors', () => {
  assert.ok(checkWantsValuesWhereTheScopeIsATemplate.length > 0);
});
