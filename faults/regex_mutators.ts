/** Small changes to the source of a regular expression, each of which some test ought to notice. */

const CLASS_ESCAPES: Readonly<Record<string, string>> = { d: 'D', D: 'd', s: 'S', S: 's', w: 'W', W: 'w' };

/** The patterns that one change makes: without an anchor, a quantifier, an alternative, a member of a class, and so on. */
export function mutatePattern(pattern: string): readonly string[] {
  const mutated: string[] = [];
  const change = (from: number, to: number, text: string): void => {
    mutated.push(pattern.slice(0, from) + text + pattern.slice(to));
  };
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern.charAt(at);
    if (character === '\\') {
      const other = CLASS_ESCAPES[pattern.charAt(at + 1)];
      if (other !== undefined) change(at, at + 2, `\\${other}`);
      at += 1;
    } else if (character === '[') {
      const end = mutateClass(pattern, at, change);
      at = end;
    } else if (character === '^' || character === '$') change(at, at + 1, '');
    else if ('+*?'.includes(character) && pattern.charAt(at - 1) !== '(') change(at, at + 1, '');
    else if (pattern.startsWith('(?<!', at) || pattern.startsWith('(?!', at)) {
      const bang = pattern.indexOf('!', at);
      change(bang, bang + 1, '=');
    } else if (pattern.startsWith('(?=', at) || pattern.startsWith('(?<=', at)) {
      const equals = pattern.indexOf('=', at);
      change(equals, equals + 1, '!');
    }
  }
  for (const [from, to] of alternativesOf(pattern)) change(from, to, '');
  return mutated;
}

/** A class negated, and without each of its members in turn; gives where it ends. */
function mutateClass(pattern: string, start: number, change: (from: number, to: number, text: string) => void): number {
  const negated = pattern.charAt(start + 1) === '^';
  change(start, start + (negated ? 2 : 1), negated ? '[' : '[^');
  const members: (readonly [from: number, to: number])[] = [];
  let at = start + (negated ? 2 : 1);
  while (at < pattern.length && pattern.charAt(at) !== ']') {
    let end = endOfMember(pattern, at);
    if (pattern.charAt(end) === '-' && pattern.charAt(end + 1) !== ']') end = endOfMember(pattern, end + 1);
    members.push([at, end]);
    at = end;
  }
  if (members.length > 1) for (const [from, to] of members) change(from, to, '');
  return at;
}

function endOfMember(pattern: string, at: number): number {
  if (pattern.charAt(at) !== '\\') return at + 1;
  const kind = pattern.charAt(at + 1);
  if (kind === 'u') return at + 6;
  return kind === 'x' ? at + 4 : at + 2;
}

/** Where each alternative is, with the bar that belongs to it. */
function alternativesOf(pattern: string): readonly (readonly [from: number, to: number])[] {
  const found: (readonly [number, number])[] = [];
  const open: number[][] = [[0]];
  const close = (end: number): void => {
    const starts = open.pop() ?? [];
    if (starts.length < 2) return;
    for (const [index, from] of starts.entries()) {
      const next = starts[index + 1];
      found.push(next === undefined ? [from - 1, end] : [from, next]);
    }
  };
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern.charAt(at);
    if (character === '\\') at += 1;
    else if (character === '[') {
      at += 1;
      while (at < pattern.length && pattern.charAt(at) !== ']') at = endOfMember(pattern, at);
    } else if (character === '(') {
      const head = /^\((?:\?(?:[:=!]|<[=!]|<\w+>))?/.exec(pattern.slice(at))?.[0] ?? '(';
      open.push([at + head.length]);
      at += head.length - 1;
    } else if (character === '|') open.at(-1)?.push(at + 1);
    else if (character === ')') close(at);
  }
  close(pattern.length);
  return found;
}
