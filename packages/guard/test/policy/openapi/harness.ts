/** OpenAPI documents for tests, and what becomes of them. */
import type { Policy } from '@hallpass/guard';
import {
  PolicyError,
  policyFromOpenAPI,
  readPolicy,
  type OpenAPIOptions,
  type PolicyFileOptions,
} from '@hallpass/guard/openapi';
import { isRefusal } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

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

/** The faults of a document that may have none, each as `kind pointer: sentence`. */
export function faultsOf(document: unknown, options: OpenAPIOptions = {}): readonly string[] {
  try {
    policyFromOpenAPI(document, { strict: true, ...options });
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

/** An OpenAPI file of three operations; one is served outside of the guard. */
export const LEDGER_FILE = `openapi: 3.0.3
info: { title: Ledger, version: 1.0.0 }
paths:
  /accounts:
    get: &list
      security:
        - Hallpass: [/accounts.read]
    post:
      security: []
  '/accounts/{accountID}':
    get:
      security:
        - Hallpass: ['/accounts/{accountID}.read']
components:
  securitySchemes:
    Hallpass:
      type: oauth2
      flows: {}
`;

interface PolicyFolder {
  readonly folder: string;
  /** A file of this text; gives its name. */
  readonly fileOf: (text: string | Uint8Array, ending?: string) => string;
  /** All faults of a file of this text, each on a line, with the file's name taken away. */
  readonly faultsIn: (text: string | Uint8Array, options?: PolicyFileOptions) => Promise<string>;
}

/** A folder for the files of one file of tests, gone with them. */
export function openFolder(): PolicyFolder {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-openapi-'));
  after(() => rmSync(folder, { recursive: true }));
  let written = 0;
  const fileOf: PolicyFolder['fileOf'] = (text, ending = 'yaml') => {
    written += 1;
    const file = join(folder, `${written}.${ending}`);
    writeFileSync(file, text);
    return file;
  };
  const faultsIn: PolicyFolder['faultsIn'] = async (text, options = {}) => {
    const file = fileOf(text);
    const error: unknown = await readPolicy(file, { strict: true, ...options }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof PolicyError, `no PolicyError: ${String(error)}`);
    return error.message.replaceAll(file, '');
  };
  return { folder, fileOf, faultsIn };
}
