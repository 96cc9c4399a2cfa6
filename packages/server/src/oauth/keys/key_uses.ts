/** The uses of the issuer's own keys, with the words that operators see. */
import type { KeyUse } from '../../store/store.ts';

/** The state of the key that is in use. */
export type InUse = 'signing' | 'sealing' | 'hashing';

interface Row {
  /** As in commands (`signing-keys`), events (`signing_key_added`) and sentences (`signing key`). */
  readonly name: 'signing' | 'refresh' | 'secret' | 'opaque';
  /** The state of the key that is in use. */
  readonly inUse: InUse;
  /** Undefined: the settings choose it. */
  readonly algorithm: string | undefined;
}

/** One row per use. */
export const KEY_USES: Readonly<Record<KeyUse, Row>> = {
  sign: { name: 'signing', inUse: 'signing', algorithm: undefined },
  refresh_mac: { name: 'refresh', inUse: 'sealing', algorithm: 'HS256' },
  secret_mac: { name: 'secret', inUse: 'hashing', algorithm: 'HS256' },
  access_seal: { name: 'opaque', inUse: 'sealing', algorithm: 'A256GCM' },
};

/** Every use, in the order in which commands show them. */
export const USES: readonly KeyUse[] = ['sign', 'refresh_mac', 'secret_mac', 'access_seal'];
