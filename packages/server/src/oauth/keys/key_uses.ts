/** What the issuer's own keys are for: one row for each use, with its word for operators. */
import type { KeyUse } from '../../store/store.ts';

export type InUse = 'signing' | 'sealing' | 'hashing';

interface Row {
  /** In commands (`signing-keys`), events (`signing_key_added`) and sentences (`signing key`). */
  readonly name: 'signing' | 'refresh' | 'secret' | 'opaque';
  /** The state of the key that is used now. */
  readonly inUse: InUse;
  /** Undefined: as the settings say. */
  readonly algorithm: string | undefined;
}

export const KEY_USES: Readonly<Record<KeyUse, Row>> = {
  sign: { name: 'signing', inUse: 'signing', algorithm: undefined },
  refresh_mac: { name: 'refresh', inUse: 'sealing', algorithm: 'HS256' },
  secret_mac: { name: 'secret', inUse: 'hashing', algorithm: 'HS256' },
  access_seal: { name: 'opaque', inUse: 'sealing', algorithm: 'A256GCM' },
};

export const USES: readonly KeyUse[] = ['sign', 'refresh_mac', 'secret_mac', 'access_seal'];
