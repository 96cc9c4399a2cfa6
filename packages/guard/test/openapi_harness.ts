/** OpenAPI documents for tests, and what becomes of them. */
import type { Policy } from '@hallpass/guard';
import { PolicyError, policyFromOpenAPI, type OpenAPIOptions } from '@hallpass/guard/openapi';
import { isRefusal } from '@hallpass/protocol';
import assert from 'node:assert/strict';

export type Members = Readonly<Record<string, unknown>>;

export const SCHEMES = {
  Hallpass: { type: 'oauth2', flows: { clientCredentials: { tokenUrl: 'https://auth.example.com', scopes: {} } } },
  OpenID: { type: 'openIdConnect', openIdConnectUrl: 'https://auth.example.com' },
  Basic: { type: 'http', scheme: 'basic' },
  Key: { type: 'apiKey', in: 'header', name: 'x-key' },
};

export function api(paths: unknown, more: Members = {}): Members {
  return { openapi: '3.1.0', paths, components: { securitySchemes: SCHEMES }, ...more };
}

export const asks = (scope: string): Members => ({ security: [{ Hallpass: [scope] }] });

/** What a policy makes of a request: its scope, or how it is refused. */
export function meets(policy: Policy, method: string, url: string): string {
  const match = policy.match(method, url);
  return isRefusal(match) ? match.refused : match.scope.text;
}

export function opened(document: unknown, url: string, options: OpenAPIOptions = {}, method = 'GET'): string {
  return meets(policyFromOpenAPI(document, options), method, url);
}

/** The faults, each as `kind pointer: sentence`. */
export function faultsOf(document: unknown, options: OpenAPIOptions = {}): readonly string[] {
  try {
    policyFromOpenAPI(document, options);
  } catch (error) {
    assert.ok(error instanceof PolicyError, String(error));
    assert.ok(error.faults.length > 0);
    assert.equal(error.message.split('\n').length, error.faults.length, error.message);
    return error.faults.map(({ kind, pointer, sentence }) => `${kind} ${pointer}: ${sentence}`);
  }
  return [];
}

export function assertFault(document: unknown, ...wanted: readonly RegExp[]): void {
  const faults = faultsOf(document);
  assert.equal(faults.length, wanted.length, faults.join('\n'));
  for (const [index, pattern] of wanted.entries()) assert.match(faults[index] ?? '', pattern);
}

/** A document with this security at one operation. */
export const securedBy = (security: unknown): Members => api({ '/a': { get: { security } } });
