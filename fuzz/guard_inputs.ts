/** What the guard's fuzz is made of: paths and scopes that are good, and what strangers make of them. */
import type { Chance } from '../testing/chance.ts';
import type { Routes } from './guard_oracle.ts';

/** Policies with literals beside parameters, ways that lead nowhere, and names that every object has. */
export const POLICIES: readonly Routes[] = [
  {
    'GET /': '/root.read',
    'GET /accounts': '/accounts.read',
    'POST /accounts': '/accounts.write',
    'GET /accounts/{accountID}': '/accounts/{accountID}.read',
    'GET /accounts/me': '/me.read',
    'GET /accounts/me/settings': '/me.write',
    'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read',
    'GET /accounts/{accountID}/transfers/{transferID}': '/accounts/{accountID}/transfers/{transferID}.read',
    'GET /files/{name}': '/files.read',
  },
  {
    'GET /{a}/x/{c}': '/1/{a}/{c}.read',
    'GET /{a}/{b}/y': '/2/{b}/{a}.read',
    'GET /k/{b}/{c}': '/3.read',
    'GET /k/x/{d}/{e}': '/{d}.write',
    'GET /{a}/{b}/{c}/{d}': '/{a}/{b}/{c}/{d}.read',
    'GET /k': '/k.read',
    'HEAD /k': '/k.head',
  },
  {
    'GET /{__proto__}': '/{__proto__}.read',
    'GET /{constructor}/{toString}': '/{toString}/{constructor}.read',
    'GET /constructor': '/constructor.read',
    'GET /__proto__/{hasOwnProperty}': '/p/{hasOwnProperty}.read',
    'GET /a/b.c/~d/@e:f': '/plain.read',
    'GET /a/B.C/{x}': '/a/{x}.read',
    'GET /a/y': '/y.read',
  },
];

const METHODS: readonly string[] = ['POST', 'HEAD', 'get', '__proto__', 'constructor', ''];

const SEGMENTS: readonly string[] = [
  'accounts',
  'a1',
  'me',
  'settings',
  'transfers',
  'files',
  'k',
  'x',
  'y',
  'b.c',
  '~d',
  '@e:f',
  '__proto__',
  'constructor',
  'toString',
  'Accounts',
  'é 🎫?',
  'e\u0301',
  '{accountID}',
  '\uff0f',
  '\ufeff',
  '#[]"',
  'x'.repeat(128),
];

/** What has opened a door somewhere. */
const PATH_PIECES: readonly string[] = [
  '/ // /. /.. /./ /../ . .. ... /../../ \\ /\\ /..\\ %2e %2E %2e%2e .%2e %2E. %2f %2F %5c %5C %3b %3B %25 %252e %252f',
  '%25%32%65 %c0%ae %c0%af %C1%A1 %e0%80%af %f0%80%80%af %ed%a0%80 %ff %c3 %f4%90%80%80 % %2 %zz %u002e %0 %% %61 %41',
  '%7e %7E %2d %5F %30 %20 %2a %24 %3a %00 %0a %0d%0a %09 %7f %c2%85 %C2%9F %c2%a0 ; ;a=b ..; /..;/ ? ?a=/../b ?? # #x',
  '%23 %3f + * , : @ ! $ & \' ( ) = | ^ ` " < > [ ] { } {x} %7Bx%7D ~ - _ é %C3%A9 %c3%a9 %65%cc%81 %ef%bc%8f %ef%bb%bf',
  '%e2%80%8b 😀 %f0%9f%98%80 __proto__ constructor toString hasOwnProperty http:// HTTPS://a //evil.example ftp://a file:',
]
  .flatMap((line) => line.split(' '))
  .concat('\0', '\n', '\r', '\t', ' ', '\u007f', 'e\u0301', '\u2024', '\uff0e', '\uff0f', '\ufeff', '\u200b')
  .concat('\ud800', '\udc00', '\u0131', '\u212a', '\u0430');

const ORIGINS: readonly string[] = [
  'http://api.example',
  'https://api.example:8443',
  'HTTP://API',
  'https://u:p@h',
  'http://',
  'http://a\\b',
  'https://[::1]',
  'http:/a',
  'ftp://a',
];

const SCOPES: readonly string[] = [
  '/accounts.read',
  '/accounts.write',
  '/accounts/a1.read',
  '/accounts/{accountID}.read',
  '/accounts/{accountID}/transfers.read',
  '/accounts/a1/transfers.read',
  '/accounts/{id}/transfers/{transferID}.read',
  '/{a}.read',
  '/{a}/{b}.read',
  '/{a}/{b}/{c}/{d}.read',
  '/a/{b}/c/{d}.write',
  '/{__proto__}/{constructor}.read',
  '/constructor/__proto__.read',
  '/a.b/c.read',
  '/ping.read-all',
  '/ping.read',
  '/ping/{b}.read',
  '/oauth2/revocations.read',
  '/oauth2/{b}.read',
  '/oauth2.b/c.read',
  '/admin.read',
  '/admin/{b}.read',
  `/${'x'.repeat(128)}/${'x'.repeat(128)}/{y}.read`,
  `/${'x'.repeat(120)}/${'x'.repeat(120)}/${'x'.repeat(120)}/{y}/{z}.read`,
];

const SCOPE_PIECES: readonly string[] = [
  '/ // . .. /.. /. .read .write .Read . read a b A a1 0 _ ~ - { } {} {x} {x x} {{x}} {1} {a-b} {accountID} {__proto__}',
  '{constructor} {é} * /* % %61 %2e \\ ; ? # , + : @ é 😀 __proto__ constructor toString',
]
  .flatMap((line) => line.split(' '))
  .concat(' ', '\n', '\r', '\t', '\0', '\u007f', '\u0085', '{a b}', 'e\u0301', '\u0430', '\uff0e', '\uff0f', '\u2024')
  .concat('\ufeff', '\u200b', '\ud800', '\u0131', '\u212a', 'x'.repeat(126), 'x'.repeat(128), 'x'.repeat(260));

const GOOD_VALUES: readonly unknown[] = [
  'a1',
  'a',
  'b',
  'c',
  'me',
  'oauth2',
  'admin',
  'ping',
  'a.1',
  '~',
  'x'.repeat(127),
  'x'.repeat(128),
];
const BAD_VALUES: readonly unknown[] = [
  '. .. .a a. a..b a/b / {x} {a} {b} a} %61 * é'.split(' '),
  undefined,
  null,
  7,
  true,
]
  .flat()
  .concat('', 'a b', 'a\n', '\0', 'x'.repeat(129));
const NAMES: readonly string[] = [
  'accountID',
  'id',
  'transferID',
  'a',
  'b',
  'c',
  'd',
  'x',
  'y',
  'z',
  '__proto__',
  'constructor',
];

/** As long as a path may be, and a little more. */
const HUGE_MAX = 8_210;

export class GuardInputs {
  readonly #chance: Chance;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  below(bound: number): number {
    return Math.floor(this.#chance.next() * bound);
  }

  /** Whether something that happens so often, of 0 to 1, happens. */
  happens(share: number): boolean {
    return this.#chance.next() < share;
  }

  pick<Item>(items: readonly Item[], otherwise: Item): Item {
    return items[this.below(items.length)] ?? otherwise;
  }

  method(): string {
    return this.happens(0.8) ? 'GET' : this.pick(METHODS, 'GET');
  }

  /** A path as a careful client writes it: of one of these routes, or of up to four segments that go with none. */
  #plainPath(routes: readonly string[]): string {
    if (this.happens(0.5)) {
      const [, path = '/'] = this.pick(routes, 'GET /').split(' ');
      return path.replaceAll(/\{[^}]*\}/g, () => this.#segment());
    }
    const count = this.below(5);
    let path = count === 0 ? '/' : '';
    for (let at = 0; at < count; at++) path += `/${this.#segment()}`;
    return path;
  }

  #segment(): string {
    const escaped = encodeURIComponent(this.pick(SEGMENTS, 'a1'));
    return this.happens(0.2) ? escaped.toLowerCase() : escaped;
  }

  /**
   * A request target, for a policy with these routes: one in three plain, the others with something done to them, a few
   * huge or made of bytes alone.
   */
  target(routes: readonly string[]): string {
    if (this.happens(0.02)) return this.#bytes(this.below(24));
    let url = this.#plainPath(routes);
    if (!this.happens(1 / 3)) for (let times = 1 + this.below(3); times > 0; times--) url = this.#mutatePath(url);
    if (this.happens(0.0005)) url += 'x'.repeat(Math.max(0, HUGE_MAX - url.length - this.below(36)));
    if (this.happens(0.1)) url = this.pick(ORIGINS, '') + url;
    return this.happens(0.1) ? `${url}?${this.pick(PATH_PIECES, '')}` : url;
  }

  #mutatePath(url: string): string {
    const at = this.below(url.length + 1);
    const kind = this.below(8);
    if (kind < 4) return url.slice(0, at) + this.pick(PATH_PIECES, '/') + url.slice(at);
    if (kind === 4) return url.slice(0, at) + url.slice(at + 1 + this.below(3));
    if (kind === 5) return url.slice(0, at) + this.#escape(url.charAt(at)) + url.slice(at + 1);
    if (kind === 6) return url.slice(0, at) + this.#bytes(1) + url.slice(at);
    const end = this.happens(0.5) ? url.length : at + 1;
    return url.slice(0, at) + url.slice(at, end).toUpperCase() + url.slice(end);
  }

  /** A character in a spelling that nobody asked for: escaped once or twice, in either case, or overlong. */
  #escape(character: string): string {
    const code = character === '' ? 0x2e : character.charCodeAt(0) & 0xff;
    const hex = code.toString(16).padStart(2, '0');
    const kind = this.below(5);
    if (kind === 0) return `%${hex}`;
    if (kind === 1) return `%${hex.toUpperCase()}`;
    if (kind === 2) return `%25${hex}`;
    if (kind === 3) return `%${(0xc0 | (code >> 6)).toString(16)}%${(0x80 | (code & 0x3f)).toString(16)}`;
    return `%e0%${(0x80 | (code >> 6)).toString(16)}%${(0x80 | (code & 0x3f)).toString(16)}`;
  }

  #bytes(length: number): string {
    let text = '';
    for (let at = 0; at < length; at++) text += String.fromCharCode(this.below(256));
    return text;
  }

  /** A text that is a scope, or was one. */
  scope(): string {
    if (this.happens(0.01)) return this.#bytes(this.below(24));
    let text = this.pick(SCOPES, '/a.read');
    if (this.happens(0.5)) return text;
    for (let times = 1 + this.below(3); times > 0; times--) {
      const at = this.below(text.length + 1);
      const kind = this.below(5);
      if (kind < 3) text = text.slice(0, at) + this.pick(SCOPE_PIECES, '/') + text.slice(at);
      else if (kind === 3) text = text.slice(0, at) + text.slice(at + 1 + this.below(3));
      else text = text.slice(0, at) + text.charAt(at).toUpperCase() + text.slice(at + 1);
    }
    return text;
  }

  /** Values for parameters: own, inherited, missing, or no text at all. A caller's types do not hold at run time. */
  values(): Record<string, string> {
    const own: [string, unknown][] = [];
    for (const name of NAMES) {
      if (this.happens(0.6)) own.push([name, this.pick(this.happens(0.9) ? GOOD_VALUES : BAD_VALUES, 'a1')]);
    }
    // oxlint-disable-next-line no-unsafe-type-assertion -- what the types forbid is to be tried too
    const values = Object.fromEntries(own) as Record<string, string>;
    if (this.happens(0.1)) Object.setPrototypeOf(values, { accountID: 'a1', a: 'a', b: 'b', __proto__: null });
    return values;
  }

  /** A token's `scope` claim around these texts, orderly or not. */
  claim(texts: readonly string[]): string {
    const words = texts.filter(() => this.happens(0.7));
    if (this.happens(0.5)) words.push(this.scope());
    const text = words.join(this.happens(0.9) ? ' ' : this.pick(['  ', '\t', ',', '\n', '+', '\u00a0'], ''));
    return this.happens(0.05) ? text.toUpperCase() : text;
  }
}
