/**
 * Hashes of secrets that other systems made: SHA-256, bcrypt, PBKDF2, argon2. They are parsed strictly, and verified at the
 * cost that they name, within bounds. A hash that can be imported can also be verified.
 */
import crypto from 'node:crypto';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { parseBase64url } from '@hallpass/protocol';
import type { BcryptTask } from './bcrypt_thread.ts';
import { equalBytes } from '../keys/key_ring.ts';

/** The longest text of a foreign hash, in characters. */
const FOREIGN_HASH_LENGTH_MAX = 512;
/** bcrypt does 2^cost rounds: 14 takes one core about a second. */
export const BCRYPT_COST_MAX = 14;
/** The most iterations of a PBKDF2 hash. */
export const PBKDF2_ITERATIONS_MAX = 2_000_000;
/** argon2's `m`, in KiB: 256 MiB. */
export const ARGON2_MEMORY_KIB_MAX = 262_144;
/** argon2's `t`. */
export const ARGON2_PASSES_MAX = 16;
/** argon2's `p`. */
export const ARGON2_PARALLELISM_MAX = 8;
/** bcrypt ignores the rest. */
const BCRYPT_SECRET_BYTES_MAX = 72;
/** A shorter hash could match by chance. */
const HASH_BYTES_MIN = 16;
const HASH_BYTES_MAX = 64;
const SALT_BYTES_MAX = 64;
/** RFC 9106 §3.1. */
const ARGON2_SALT_BYTES_MIN = 8;

/** A parsed hash. */
export type ForeignHash =
  | { readonly scheme: 'sha256'; readonly hash: Uint8Array }
  | { readonly scheme: 'bcrypt'; readonly text: string }
  | ({ readonly scheme: 'pbkdf2'; readonly digest: 'sha256' | 'sha512'; readonly iterations: number } & Salted)
  | ({
      readonly scheme: 'argon2';
      readonly variant: 'argon2id' | 'argon2i' | 'argon2d';
      readonly memoryKib: number;
      readonly passes: number;
      readonly parallelism: number;
    } & Salted);

interface Salted {
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

/** Why a text cannot be imported as a hash. `not_offered`: this Node cannot verify it. */
export type ForeignHashFault = 'unknown_scheme' | 'malformed' | 'too_costly' | 'not_offered';

/** Parses a foreign hash, or says why it cannot be imported. Never throws. */
export function parseForeignHash(text: string): ForeignHash | ForeignHashFault {
  if (text.length > FOREIGN_HASH_LENGTH_MAX) return 'malformed';
  for (const [beginning, parse] of SCHEMES) if (beginning.test(text)) return parse(text);
  return 'unknown_scheme';
}

/**
 * Whether a secret has this hash. Runs off this thread, except SHA-256. False for a secret that the scheme would cut off or
 * alter: two different secrets must never match one hash.
 */
export async function hasForeignHash(secret: string, foreign: ForeignHash): Promise<boolean> {
  // bcrypt appends a zero byte and repeats the secret, HMAC pads it with zero bytes: `a` and `a\0` would match one hash.
  if (secret.includes('\0')) return false;
  switch (foreign.scheme) {
    case 'sha256':
      return equalBytes(crypto.createHash('sha256').update(secret).digest(), foreign.hash);
    case 'bcrypt':
      return Buffer.byteLength(secret) <= BCRYPT_SECRET_BYTES_MAX && (await hasBcrypt({ secret, text: foreign.text }));
    case 'pbkdf2':
      return equalBytes(await derivePbkdf2(secret, foreign), foreign.hash);
    case 'argon2':
      return equalBytes(await deriveArgon2(secret, foreign), foreign.hash);
  }
}

type Parse = (text: string) => ForeignHash | ForeignHashFault;

const SCHEMES: readonly (readonly [beginning: RegExp, parse: Parse])[] = [
  [/^sha256:/, parseSha256],
  [/^\$2[aby]\$/, parseBcrypt],
  [/^\$pbkdf2-sha(?:256|512)\$/, parsePbkdf2],
  [/^\$argon2(?:id|i|d)\$/, parseArgon2],
];

function parseSha256(text: string): ForeignHash | ForeignHashFault {
  const [, hex] = /^sha256:([0-9a-fA-F]{64})$/.exec(text) ?? [];
  return hex === undefined ? 'malformed' : { scheme: 'sha256', hash: Buffer.from(hex, 'hex') };
}

/**
 * The cost, 22 characters of salt and 31 of hash. The spare bits in the last character of each must be zero: a verifier
 * prints them as zero, so a text in which they are not would never match.
 */
const BCRYPT = /^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]$/;

function parseBcrypt(text: string): ForeignHash | ForeignHashFault {
  const [, cost] = BCRYPT.exec(text) ?? [];
  if (cost === undefined || Number(cost) < 4 || Number(cost) > 31) return 'malformed';
  return Number(cost) > BCRYPT_COST_MAX ? 'too_costly' : { scheme: 'bcrypt', text };
}

/**
 * `$pbkdf2-sha256$i=N,l=L$SALT$HASH` in base64 without padding, as Ory Hydra 2 stores it, and `$pbkdf2-sha256$N$SALT$HASH`
 * with `.` for `+`, as Python's passlib prints it.
 */
const PBKDF2 =
  /^\$pbkdf2-(sha256|sha512)\$(?:i=([1-9][0-9]{0,9})(?:,l=([1-9][0-9]?))?|([1-9][0-9]{0,9}))\$([^$]+)\$([^$]+)$/;

function parsePbkdf2(text: string): ForeignHash | ForeignHashFault {
  const [, digest, named, length, bare, saltText = '', hashText = ''] = PBKDF2.exec(text) ?? [];
  const plus = bare === undefined ? '+' : '.';
  const salt = parseBase64(saltText, plus);
  const hash = parseBase64(hashText, plus);
  if (digest !== 'sha256' && digest !== 'sha512') return 'malformed';
  if (salt === undefined || salt.length > SALT_BYTES_MAX || !isHashLength(hash)) return 'malformed';
  if (length !== undefined && Number(length) !== hash.length) return 'malformed';
  const iterations = Number(named ?? bare);
  if (iterations > PBKDF2_ITERATIONS_MAX) return 'too_costly';
  return { scheme: 'pbkdf2', digest, iterations, salt, hash };
}

/** The PHC string of argon2 version 1.3, the version of RFC 9106. */
const ARGON2 =
  /^\$(argon2(?:id|i|d))\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,9})\$([^$]+)\$([^$]+)$/;

function parseArgon2(text: string): ForeignHash | ForeignHashFault {
  const [, name, m, t, p, saltText = '', hashText = ''] = ARGON2.exec(text) ?? [];
  const variant = (['argon2id', 'argon2i', 'argon2d'] as const).find((candidate) => candidate === name);
  const salt = parseBase64(saltText, '+');
  const hash = parseBase64(hashText, '+');
  if (variant === undefined || salt === undefined || !isHashLength(hash)) return 'malformed';
  if (salt.length < ARGON2_SALT_BYTES_MIN || salt.length > SALT_BYTES_MAX) return 'malformed';
  const [memoryKib, passes, parallelism] = [Number(m), Number(t), Number(p)];
  if (memoryKib > ARGON2_MEMORY_KIB_MAX || passes > ARGON2_PASSES_MAX || parallelism > ARGON2_PARALLELISM_MAX)
    return 'too_costly';
  // RFC 9106 §3.1.
  if (memoryKib < 8 * parallelism) return 'malformed';
  return isArgon2Offered() ? { scheme: 'argon2', variant, memoryKib, passes, parallelism, salt, hash } : 'not_offered';
}

/** Whether this Node has argon2: from 24.7 on, if its OpenSSL does. */
function isArgon2Offered(): boolean {
  return typeof crypto.argon2 === 'function';
}

/** Parses base64 without padding, strictly; `plus` is its character for 62. */
function parseBase64(text: string, plus: '+' | '.'): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+./]+$/.test(text) || text.includes(plus === '+' ? '.' : '+')) return undefined;
  return parseBase64url(text.replaceAll(plus, '-').replaceAll('/', '_'));
}

function isHashLength(hash: Uint8Array | undefined): hash is Uint8Array {
  return hash !== undefined && hash.length >= HASH_BYTES_MIN && hash.length <= HASH_BYTES_MAX;
}

function derivePbkdf2(
  secret: string,
  { digest, iterations, salt, hash }: Extract<ForeignHash, { scheme: 'pbkdf2' }>,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    crypto.pbkdf2(secret, salt, iterations, hash.length, digest, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

function deriveArgon2(
  message: string,
  { variant, memoryKib, passes, parallelism, salt, hash }: Extract<ForeignHash, { scheme: 'argon2' }>,
): Promise<Uint8Array> {
  const parameters = { message, nonce: salt, parallelism, memory: memoryKib, passes, tagLength: hash.length };
  return new Promise((resolve, reject) => {
    crypto.argon2(variant, parameters, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}

/** Node has no bcrypt, and running it in JavaScript on this thread would hold up every other request. */
async function hasBcrypt(task: BcryptTask): Promise<boolean> {
  // The file beside this one, as source (.ts) or built (.js).
  const url = new URL(import.meta.url.replace(/foreign_hash\.([jt]s)$/, 'bcrypt_thread.$1'));
  const thread = new Worker(url, { workerData: task });
  const [equal]: unknown[] = await once(thread, 'message');
  return equal === true;
}
