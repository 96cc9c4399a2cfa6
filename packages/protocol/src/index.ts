/** The standards, pure: no I/O, no clock, no runtime. */
export * from './access_token.ts';
export * from './bytes.ts';
export * from './challenge.ts';
export * from './client_assertion.ts';
export * from './client_credentials.ts';
export * from './clock.ts';
export * from './dpop.ts';
export * from './identifier.ts';
export * from './jws.ts';
export * from './messages.ts';
export * from './network_address.ts';
export * from './parameters.ts';
export * from './refresh_token.ts';
export * from './refusal.ts';
export * from './revocation.ts';
export * from './scope.ts';
export * from './terminal_text.ts';
