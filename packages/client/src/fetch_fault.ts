/** Finds out why `fetch` failed. What it threw is not passed on, because it may quote the request and its secret. */
import { escapeControls } from '@hallpass/protocol';
import { conceal } from './answer.ts';
import { failed, type HallpassError } from './hallpass_error.ts';

/**
 * The error codes of Node and Bun for a rejected certificate (OpenSSL's verification, and the host name). The handshake
 * ends there, so nothing of the request was sent.
 */
const CERTIFICATE_FAULTS: ReadonlySet<string> = new Set([
  'CERT_CHAIN_TOO_LONG',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CRL_HAS_EXPIRED',
  'CRL_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_CRL',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** The other side does not speak TLS, or no version that both support. The handshake ends there too. */
const HANDSHAKE_FAULTS: ReadonlySet<string> = new Set([
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_NO_PROTOCOLS_AVAILABLE',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE',
  'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE',
  'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
  'ERR_SSL_TLSV1_UNRECOGNIZED_NAME',
  'ERR_SSL_UNKNOWN_PROTOCOL',
  'ERR_SSL_UNSUPPORTED_PROTOCOL',
  'ERR_SSL_WRONG_VERSION_NUMBER',
]);

/** Other error codes of the system and of runtimes, such as ECONNREFUSED and UND_ERR_SOCKET. */
const SYSTEM_CODE = /^(?:E[A-Z]{2,20}|(?:UND_ERR|ERR_SSL|ERR_TLS)_[A-Z0-9_/]{1,60})$/;

/** How much of the runtime's message is kept, in characters. */
const CAUSE_LENGTH_MAX = 300;

/**
 * Turns what `fetch` threw into an error: `tls_failed` if nothing was sent, otherwise `connection_failed`. `secrets` are
 * those of the request; they are concealed in case a custom `fetch` repeats them.
 */
export function faultOf(thrown: unknown, secrets: readonly string[]): HallpassError {
  for (const { code, message } of causesOf(thrown)) {
    if (CERTIFICATE_FAULTS.has(code) || HANDSHAKE_FAULTS.has(code)) {
      const words = escapeControls(conceal(message, secrets)).slice(0, CAUSE_LENGTH_MAX);
      return failed('tls_failed', { detail: code, cause: Object.assign(new Error(words), { code }) });
    }
    if (SYSTEM_CODE.test(code)) return failed('connection_failed', { detail: code });
  }
  return failed('connection_failed');
}

/** The error and its causes. Node puts the system's code into the cause of the cause. */
function* causesOf(thrown: unknown): Generator<{ readonly code: string; readonly message: string }> {
  let at: unknown = thrown;
  for (let depth = 0; depth < 3 && typeof at === 'object' && at !== null; depth++) {
    const message = 'message' in at && typeof at.message === 'string' ? at.message : '';
    if ('code' in at && typeof at.code === 'string') yield { code: at.code, message };
    at = 'cause' in at ? at.cause : undefined;
  }
}
