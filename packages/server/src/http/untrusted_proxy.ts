/**
 * Notices a proxy that HALLPASS_TRUSTED_PROXIES does not name. Its X-Forwarded-For is ignored, so all of its callers count as
 * one address and their failures add up (contract §10).
 */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** The warning for the log. */
export const UNTRUSTED_PROXY_WARNING =
  'A request with X-Forwarded-For or Forwarded came from an address that HALLPASS_TRUSTED_PROXIES does not name, so the ' +
  'header was ignored. If this server is behind a proxy of yours, name it there: until then all of its callers count as ' +
  'one address. This is logged once.';

/** Looks at requests until it finds such a proxy. */
export class UntrustedProxyDetector {
  readonly #trusted = new BlockList();
  readonly #report: () => void;
  #reported = false;

  /** `trustedProxies` are valid addresses and networks. `report` is called once, at the first such request. */
  constructor(trustedProxies: readonly string[], report: () => void) {
    this.#report = report;
    for (const proxy of trustedProxies) {
      const [address = '', prefix] = proxy.split('/');
      if (prefix === undefined) this.#trusted.addAddress(address, familyOf(address));
      else this.#trusted.addSubnet(address, Number(prefix), familyOf(address));
    }
  }

  /** Checks the headers and the address of a request. */
  look({ headers, socket: { remoteAddress = '' } }: IncomingMessage): void {
    if (this.#reported) return;
    if (headers['x-forwarded-for'] === undefined && headers.forwarded === undefined) return;
    if (this.#trusted.check(remoteAddress, familyOf(remoteAddress))) return;
    this.#reported = true;
    this.#report();
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
