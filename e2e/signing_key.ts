/** A client that signs: its ES256 key, registered on the command line as its owner would. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type CryptoKey } from 'jose';
import { createKey } from '../testing/process/process.ts';

export interface SigningClient {
  readonly clientId: string;
  readonly privateKey: CryptoKey;
}

/** Makes an API key that has a public key and no secret: `words` is what follows `hallpass keys create`. */
export async function createSigningKey(dataDir: string, words: readonly string[]): Promise<SigningClient> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const file = join(dataDir, 'public_key.json');
  writeFileSync(file, JSON.stringify(await exportJWK(publicKey)));
  const { clientId } = await createKey(dataDir, [...words, '--public-keys', file]);
  return { clientId, privateKey };
}
