/**
 * Notices a proxy in front of this server that nobody named: it says for whom it asks, and is not believed. All of its
 * callers count as one address then, and their failures add up (contract §10).
 */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

export const UNTRUSTED_PROXY_WARNING =
  'A request came with X-Forwarded-For or Forwarded from an address that HALLPASS_TRUSTED_PROXIES does not name, so it ' +
  'was not believed. If a proxy of yours stands in front of this server, name it there: until then all of its callers ' +
  'count as one address. This is logged once.';

export class UntrustedProxyDetector {
  readonly #trusted = new BlockList();
  readonly #report: () => void;
  #noticed = false;

  /** `trustedProxies`: addresses and networks, checked already. `report` is called once, at the first such request. */
  constructor(trustedProxies: readonly string[], report: () => void) {
    this.#report = report;
    for (const proxy of trustedProxies) {
      const [address = '', prefix] = proxy.split('/');
      if (prefix === undefined) this.#trusted.addAddress(address, familyOf(address));
      else this.#trusted.addSubnet(address, Number(prefix), familyOf(address));
    }
  }

  look({ headers, socket: { remoteAddress = '' } }: IncomingMessage): void {
    if (this.#noticed) return;
    if (headers['x-forwarded-for'] === undefined && headers.forwarded === undefined) return;
    if (this.#trusted.check(remoteAddress, familyOf(remoteAddress))) return;
    this.#noticed = true;
    this.#report();
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
