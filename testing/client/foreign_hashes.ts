/** Hashes as other systems print them, for tests to import. */
import { argon2Sync, createHash, pbkdf2Sync } from 'node:crypto';

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replaceAll('=', '');

/** SHA-256 in hexadecimal. */
export function hexOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** PBKDF2 as Ory Hydra prints it. */
export function printPbkdf2(
  digest: 'sha256' | 'sha512',
  { iterations, salt, hash }: { readonly iterations: number; readonly salt: Uint8Array; readonly hash: Uint8Array },
): string {
  return `$pbkdf2-${digest}$i=${iterations},l=${hash.length}$${base64(salt)}$${base64(hash)}`;
}

/** A secret's hash as Hydra 2 makes it by default, with fewer iterations. */
export function hydrasHash(secret: string): string {
  const salt = Buffer.from('sixteen bytes it');
  return printPbkdf2('sha256', { iterations: 2_500, salt, hash: pbkdf2Sync(secret, salt, 2_500, 32, 'sha256') });
}

/** PBKDF2 with SHA-256 as Python's passlib prints it. */
export function printPasslib(iterations: number, salt: Uint8Array, hash: Uint8Array): string {
  const [saltText, hashText] = [salt, hash].map((bytes) => base64(bytes).replaceAll('+', '.'));
  return `$pbkdf2-sha256$${iterations}$${saltText}$${hashText}`;
}

/** The PHC string of a secret, with little memory. */
export function printArgon2(variant: 'argon2id' | 'argon2i' | 'argon2d', secret: string): string {
  const nonce = Buffer.from('0123456789abcdef');
  const tag = argon2Sync(variant, { message: secret, nonce, parallelism: 1, memory: 1024, passes: 2, tagLength: 32 });
  return `$${variant}$v=19$m=1024,t=2,p=1$${base64(nonce)}$${base64(tag)}`;
}
