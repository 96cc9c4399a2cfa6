/** Mistakes that guards have made, each in the place of the right function: what the fuzz of the guard has to find. */
import { isRefusal, isScope, type Scope } from '@hallpass/protocol';
import { findByHand, pathByHand } from './guard_oracle.ts';
import type { Subject } from './guard_subject.ts';

type Defect = (right: Subject) => Partial<Subject>;

/** A reader of paths that changes the target before the right one sees it. */
function before(change: (url: string) => string): Defect {
  return ({ parsePath }) => ({ parsePath: (url) => parsePath(change(url)) });
}

/** One that changes the segments that the right one gave. */
function after(change: (segment: string) => string): Defect {
  return ({ parsePath }) => ({ parsePath: (url) => parsePath(url)?.map(change) });
}

/** One that lets in what the right one refuses, when its path has something in it. */
function lettingIn(mark: RegExp): Defect {
  return ({ parsePath }) => ({
    parsePath: (url) => {
      const right = parsePath(url);
      const path = pathByHand(url);
      if (right !== undefined || !mark.test(path) || !path.startsWith('/')) return right;
      return path.slice(1).split('/').map(decodeLeniently);
    },
  });
}

/** As a hand-made decoder does it: what is no UTF-8 stays as it is. */
function decodeLeniently(raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}

/** One that refuses what the right one lets in. */
function refusing(mark: RegExp): Defect {
  return ({ parsePath }) => ({ parsePath: (url) => (mark.test(url) ? undefined : parsePath(url)) });
}

/** A scope as a careless parser would make it, of a text that is none. */
function parsedAnyway({ parseScope, fillScope }: Subject, text: string, stand: string): Scope | undefined {
  const model = parseScope(stand);
  const scope = isScope(model) ? fillScope(model, {}) : undefined;
  return typeof scope === 'object' ? { ...scope, text } : undefined;
}

/** A parser of scopes that takes a text whose faults it does not see. */
function blindTo(fault: RegExp, seen = ''): Defect {
  return (right) => ({
    parseScope: (text) => {
      const parsed = right.parseScope(text);
      const careless = text.replaceAll(new RegExp(fault, 'g'), seen);
      if (isScope(parsed) || careless === text || !isScope(right.parseScope(careless))) return parsed;
      return parsedAnyway(right, text, '/a.read') ?? parsed;
    },
  });
}

/** A matcher that chooses otherwise among the routes that fit; the right one's scope goes with it. */
function choosing(which: 'last' | 'none-of-several' | 'any-method'): Defect {
  return ({ match, parsePath }) => ({
    match: (routes) => {
      const right = match(routes);
      return (method, url) => {
        const matched = right(method, url);
        const segments = parsePath(url);
        if (segments === undefined) return matched;
        if (which === 'any-method') return isRefusal(matched) ? right('GET', url) : matched;
        const found = findByHand(routes, method, segments);
        const [other] = found.slice(1);
        if (isRefusal(matched) || other === undefined) return matched;
        if (which === 'none-of-several') return { refused: 'route_not_allowed' };
        return { ...matched, route: other.route, values: Object.fromEntries(other.values) };
      };
    },
  });
}

/** A matcher that gives the handler other values than it decided on. */
function givingValues(
  change: (values: readonly (readonly [string, string])[]) => readonly (readonly [string, string])[],
): Defect {
  return ({ match }) => ({
    match: (routes) => {
      const right = match(routes);
      return (method, url) => {
        const matched = right(method, url);
        if (isRefusal(matched)) return matched;
        const values: Record<string, string> = {};
        for (const [name, value] of change(Object.entries(matched.values))) values[name] = value;
        return { ...matched, values };
      };
    },
  });
}

/** By name. */
export const DEFECTS: Readonly<Record<string, Defect>> = {
  'dot-segments-resolved': before((url) => url.replaceAll(/\/\.(?=\/|$)|\/[^/]+\/\.\.(?=\/|$)/g, '')),
  'dot-segments-let-in': lettingIn(/\/\.\.?(?:\/|$)/),
  'escaped-dots-let-in': lettingIn(/%2e/i),
  'slashes-merged': before((url) => url.replaceAll(/(?<!:)\/\/+/g, '/')),
  'slash-at-the-end-dropped': before((url) => url.replace(/(?<=[^/])\/$/, '')),
  'escaped-slash-let-in': lettingIn(/%2f/i),
  'backslash-for-slash': before((url) => url.replaceAll('\\', '/')),
  'semicolon-let-in': lettingIn(/;/),
  'semicolon-cut': before((url) => url.replace(/;[^/?]*/, '')),
  'fragment-cut': before((url) => url.replace(/#.*$/s, '')),
  'null-cut': before((url) => url.replace(/(?:%00|\0).*$/s, '')),
  'line-break-cut': before((url) => url.replace(/[\r\n]+$/, '')),
  'space-trimmed': before((url) => url.trim()),
  'decoded-before': before((url) => url.replaceAll(/%25/g, '%')),
  'escaped-percent-let-in': lettingIn(/%25/),
  'needless-escapes-let-in': lettingIn(/%(?:4[1-9a-f]|6[1-9a-f])/i),
  'overlong-forms-let-in': lettingIn(/%c[01]%[89ab]/i),
  'broken-escapes-let-in': lettingIn(/%(?![0-9a-f]{2})/i),
  'control-characters-let-in': lettingIn(/%(?:0a|7f|c2%85)/i),
  'raw-unicode-let-in': lettingIn(/[\u0080-\uffff]/),
  'raw-braces-let-in': lettingIn(/[{}]/),
  'any-length-let-in': lettingIn(/^.{8193}/),
  'not-decoded': after((segment) => encodeURIComponent(segment)),
  'decoded-twice': ({ parsePath }) => ({
    parsePath: (url) => parsePath(url) ?? parsePath(url.replaceAll(/%25(?=[0-9a-f]{2})/gi, '%')),
  }),
  'plus-for-space': after((segment) => segment.replaceAll('+', ' ')),
  'case-folded': after((segment) => segment.toLowerCase()),
  'unicode-folded': after((segment) => segment.normalize('NFKC')),
  'byte-order-mark-dropped': after((segment) => segment.replace('\ufeff', '')),
  'last-segment-lost': ({ parsePath }) => ({ parsePath: (url) => parsePath(url)?.slice(0, 4) }),
  'host-for-path': before((url) => url.replace(/^\/\/[^/]*/, '')),
  'escapes-refused': refusing(/%/),
  'escaped-star-refused': refusing(/%2a/i),
  'colon-refused': refusing(/:/),
  'query-refused': refusing(/\?/),
  'throws-at-bad-escapes': ({ parsePath }) => ({
    parsePath: (url) => (decodeURIComponent(url) === '' ? undefined : parsePath(url)),
  }),
  'parameter-before-literal': choosing('last'),
  'no-way-back': choosing('none-of-several'),
  'any-method': choosing('any-method'),
  'values-of-other-names': givingValues((values) =>
    values.map(([name], at) => [name, values[values.length - 1 - at]?.[1] ?? '']),
  ),
  'values-by-prototype': givingValues((values) => values),
  'a-value-too-many': givingValues((values) => [...values, ['stale', 'a1']]),
  'unfilled-scope': ({ match }) => ({
    match: (routes) => {
      const right = match(routes);
      return (method, url) => {
        const matched = right(method, url);
        return isRefusal(matched)
          ? matched
          : { ...matched, scope: { ...matched.scope, text: routes[matched.route] ?? '' } };
      };
    },
  }),
  'any-refusal': ({ match }) => ({
    match: (routes) => {
      const right = match(routes);
      return (method, url) => {
        const matched = right(method, url);
        return isRefusal(matched) ? { refused: 'route_not_allowed' } : matched;
      };
    },
  }),
  'odd-values-let-in': ({ match, parsePath }) => ({
    match: (routes) => {
      const right = match(routes);
      return (method, url) => {
        const matched = right(method, url);
        if (!isRefusal(matched) || parsePath(url) === undefined) return matched;
        return matched.refused === 'value_not_allowed' ? right('GET', '/') : matched;
      };
    },
  }),
  'parts-of-another-scope': ({ parseScope }) => ({
    parseScope: (text) => {
      const parsed = parseScope(text);
      return isScope(parsed) ? { ...parsed, segments: parsed.segments.slice(0, 3) } : parsed;
    },
  }),
  'filled-parts-forgotten': ({ fillScope }) => ({
    fillScope: (template, values) => {
      const filled = fillScope(template, values);
      return isScope(filled) ? { ...filled, segments: template.segments } : filled;
    },
  }),
  'verb-ignored': ({ covers }) => ({
    covers: (granted, requested) => covers({ ...granted, verb: requested.verb }, requested),
  }),
  'prefix-covers': ({ covers }) => ({
    covers: (granted, requested) =>
      covers(granted, { ...requested, segments: requested.segments.slice(0, granted.segments.length) }),
  }),
  'template-covers-no-template': ({ covers }) => ({
    covers: (granted, requested) => requested.parameters.length === 0 && covers(granted, requested),
  }),
  'literal-covered-by-template-of-it': ({ covers }) => ({
    covers: (granted, requested) => covers(granted, requested) || covers(requested, granted),
  }),
  'template-covers-what-is-reserved': ({ covers }) => ({
    covers: (granted, requested) =>
      covers(granted, requested) ||
      (granted.segments.length === requested.segments.length &&
        granted.verb === requested.verb &&
        granted.segments.every((segment, at) => segment.startsWith('{') || segment === requested.segments[at])),
  }),
  'a-name-alone-is-not-reserved': ({ contains, parseScope }) => ({
    contains: (granted, requested) => {
      const plain = parseScope(requested.text.replace(/^\/(?:oauth2|admin)(?=\.)/, '/plain'));
      return contains(granted, isScope(plain) ? plain : requested);
    },
  }),
  'set-of-first': ({ contains }) => ({ contains: (granted, requested) => contains(granted.slice(0, 1), requested) }),
  'set-of-texts': () => ({ contains: (granted, requested) => granted.some(({ text }) => text === requested.text) }),
  'any-of-all': ({ contains }) => ({
    containsAll: (granted, requested) => requested.some((scope) => contains(granted, scope)),
  }),
  'template-opens': ({ opens, parseScope, covers }) => ({
    opens: (claim, required) =>
      opens(claim, required) ||
      claim.split(' ').some((word) => {
        const held = parseScope(word);
        return isScope(held) && covers(held, required);
      }),
  }),
  'template-is-opened': () => ({ opens: (claim, required) => claim.split(' ').includes(required.text) }),
  'template-is-opened-by-a-word': () => ({ opensOne: (words, required) => words.includes(required.text) }),
  'part-of-a-word-opens': () => ({
    opens: (claim, { text, parameters }) => parameters.length === 0 && claim.includes(text),
  }),
  'any-space-separates': ({ opens }) => ({ opens: (claim, required) => opens(claim.replaceAll(/\s/g, ' '), required) }),
  'any-case-opens': ({ opens }) => ({ opens: (claim, required) => opens(claim.toLowerCase(), required) }),
  'inherited-values-fill': ({ fillScope }) => ({
    fillScope: (template, values) => {
      const all: Record<string, string> = {};
      // oxlint-disable-next-line guard-for-in -- the defect
      for (const name in values) all[name] = values[name] ?? '';
      return fillScope(template, all);
    },
  }),
  'any-value-fills': ({ fillScope, parseScope }) => ({
    fillScope: (template, values) => {
      const filled = fillScope(template, values);
      if (filled !== 'bad_value') return filled;
      const text = template.text.replaceAll(/\{([^}]*)\}/g, (whole, name: string) => values[name] ?? whole);
      const parsed = parseScope(text);
      return isScope(parsed) ? parsed : filled;
    },
  }),
  'numbers-fill': ({ fillScope }) => ({
    fillScope: (template, values) => {
      const texts = Object.entries<unknown>(values).map(([name, value]) => [name, String(value)]);
      return fillScope(template, Object.fromEntries(texts));
    },
  }),
  'missing-values-fill': ({ fillScope }) => ({
    fillScope: (template, values) => {
      const filled = fillScope(template, values);
      return filled === 'missing_value' ? template : filled;
    },
  }),
  'line-break-ends-a-scope': blindTo(/\n$/),
  'star-in-a-scope': blindTo(/\*/, 'a'),
  'escape-in-a-scope': blindTo(/%[0-9a-f]{2}/, 'a'),
  'empty-segment-in-a-scope': blindTo(/\/\//, '/'),
  'dot-segment-in-a-scope': blindTo(/\.\./, 'a'),
  'parameter-in-a-segment': blindTo(/(?<=[a-z0-9])\{x\}/, ''),
  'capitals-in-a-verb': ({ parseScope }) => ({
    parseScope: (text) => {
      const small = text.replace(/[^.]*$/, (verb) => verb.toLowerCase());
      return parseScope(small);
    },
  }),
  'other-letters-in-a-scope': blindTo(/[\u0430\u0131\u212a]/, 'a'),
  'a-scope-too-long': ({ parseScope }) => ({
    parseScope: (text) => {
      const parsed = parseScope(text);
      return parsed === 'too_long' ? parseScope('/a.read') : parsed;
    },
  }),
  'dots-refused-in-a-scope': ({ parseScope }) => ({
    parseScope: (text) => (text.includes('b.c') || text.includes('.b/') ? 'dot_segment' : parseScope(text)),
  }),
};
