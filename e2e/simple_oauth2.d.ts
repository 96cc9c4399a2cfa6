/** The part of simple-oauth2 that the tests use; the library comes without types. */
declare module 'simple-oauth2' {
  export interface AccessToken {
    readonly token: Readonly<Record<string, unknown>>;
    expired(windowSeconds?: number): boolean;
    refresh(params?: { readonly scope?: string }): Promise<AccessToken>;
    revoke(kind: 'access_token' | 'refresh_token'): Promise<unknown>;
    revokeAll(): Promise<void>;
  }
  export class ClientCredentials {
    constructor(config: {
      readonly client: { readonly id: string; readonly secret: string };
      readonly auth: { readonly tokenHost: string; readonly tokenPath: string; readonly revokePath: string };
      readonly options?: {
        readonly bodyFormat?: 'form' | 'json';
        readonly authorizationMethod?: 'header' | 'body';
      };
    });
    getToken(params: { readonly scope: string | readonly string[] }): Promise<AccessToken>;
  }
}
