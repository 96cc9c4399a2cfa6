/** What is proposed for an operation, how sure it is, and why. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Operation } from '../src/openapi_operations.ts';
import { propose, type Known, type Proposal } from '../src/openapi_prose.ts';
import type { Members } from './openapi_harness.ts';

/** `GET /a/{b}`, with these members. */
function operation(route: string, fields: Members = {}): Operation {
  const [method = '', template = ''] = route.split(' ');
  const parameters = [...template.matchAll(/\{(.*?)\}/g)].map(([, name = '']) => name);
  return { route, method, template, parameters, place: ['paths', template, method.toLowerCase()], fields, item: {} };
}

const saying = (route: string, description: string): Operation => operation(route, { description });

/** What is proposed for the first of these operations. */
function first(operations: readonly Operation[], known: readonly Known[] = [], document: Members = {}): Proposal {
  const proposals = propose(document, operations, known);
  assert.equal(proposals.length, operations.length);
  const [proposal] = proposals;
  assert.ok(proposal !== undefined && proposal.operation === operations[0]);
  return proposal;
}

/** The scope that is proposed, with a question mark when it is unsure. */
function proposed(operations: readonly Operation[], known: readonly Known[] = [], document: Members = {}): string {
  const { scope, sure } = first(operations, known, document);
  return `${scope}${sure ? '' : '?'}`;
}

const told = (description: string, route = 'GET /a'): string => proposed([saying(route, description)]);
const doubtOf = (description: string, route = 'GET /a'): string => {
  const { sure, reason } = first([saying(route, description)]);
  assert.equal(sure, false);
  return reason;
};

const knows = (route: string, scope: string): Known => ({ operation: operation(route), scope });

test('what its own words ask for, in the description or the summary, is sure', () => {
  assert.deepEqual(first([saying('GET /a', 'Needs the scope /a.read.')]), {
    operation: saying('GET /a', 'Needs the scope /a.read.'),
    scope: '/a.read',
    sure: true,
    reason: 'named in its description',
  });
  assert.equal(proposed([operation('GET /a', { summary: 'Scope /a.read' })]), '/a.read');
  assert.equal(proposed([operation('GET /a', { summary: 'Scope /a.read', description: 'Scope /b.read' })]), '/b.read?');
  assert.equal(proposed([operation('GET /a', { summary: 7, description: null })]), '/a.read?');
});

test('several scopes: the one that fits, and unsure', () => {
  assert.equal(
    doubtOf('Scope /x.write, or scope /y.read.'),
    'The description names several scopes: /x.write, /y.read.',
  );
  assert.equal(told('Scope /x.write, or scope /y.read.'), '/y.read?');
  assert.equal(told('Scope /{b}/x.read, or scope /y.read.'), '/y.read?');
  assert.equal(told('Scope /x.write, or scope /y.write.'), '/x.write?');
  assert.equal(told('Scope /x.write, or scope /{b}/y.read.', 'GET /a/{b}'), '/{b}/y.read?');
  // The same twice is one; and where one is spoken of as a scope, other paths are no scopes.
  assert.equal(told('Scope /a.read. Yes, the scope /a.read.'), '/a.read');
  assert.equal(told('See /b.read. Needs the scope /a.read.'), '/a.read');
  assert.equal(told('See /b.read and /c.read.'), '/b.read?');
});

test('a scope of which no scope is said, or that is said not to be needed, is unsure', () => {
  assert.equal(doubtOf('See /a.read.'), 'The description has /a.read in it, but does not speak of scopes there.');
  assert.equal(
    doubtOf('A microscope sees /a.read'),
    'The description has /a.read in it, but does not speak of scopes there.',
  );
  for (const word of [
    'not',
    'no',
    'never',
    'without',
    'instead',
    'unless',
    'except',
    'deprecated',
    'formerly',
    'optional',
    'optionally',
    'previously',
    "don't",
    'needn’t',
    'NOT',
  ]) {
    assert.equal(doubtOf(`It is ${word} the scope /a.read.`), `The sentence that names /a.read says "${word}".`, word);
  }
  for (const word of ['note', 'knot', 'nothing', 'nonoptional', 'ant', 'isnt', 'x']) {
    assert.equal(told(`It is ${word} the scope /a.read.`), '/a.read', word);
  }
  // In whichever sentence it is said of it, and of it alone.
  assert.equal(told('Scope /a.read. You do not need the scope /a.read.'), '/a.read?');
  assert.equal(told('See /b.read, not more. Scope /a.read.'), '/a.read');
});

test('every doubt is told, one after the other', () => {
  assert.equal(
    doubtOf('Not /x.write for /{b}/y.write', 'GET /a'),
    [
      'The description names several scopes: /x.write, /{b}/y.write.',
      'The description has /x.write in it, but does not speak of scopes there.',
      'The sentence that names /x.write says "Not".',
      'A GET asks for .write, by its description.',
    ].join(' '),
  );
});

test('a sentence ends at a stop, at an empty line, and at a tag that begins a line', () => {
  for (const end of [
    '. ',
    '! ',
    '? ',
    '.\n',
    '\n\n',
    '\n \n',
    '\n\t\n',
    '<br>',
    '<br/>',
    '<BR />',
    '</p>',
    '<p class="x">',
    '<li>',
    '<h2>',
    '<td>',
    '<tr>',
    '<th>',
    '<ul>',
    '<ol>',
    '<div>',
    '<hr>',
    '.  ',
    '. \n ',
  ]) {
    assert.equal(told(`It is not sorted${end}Scope /a.read`), '/a.read', JSON.stringify(end));
    assert.equal(told(`Scope /a.read${end}It is not sorted`), '/a.read', JSON.stringify(end));
  }
  // What is emphasised, abbreviated, or on the next line is in it.
  for (const inside of [
    ' ',
    '\n',
    ', ',
    '.',
    '.  ',
    ': ',
    '; ',
    ' e.g. ',
    '<b>',
    '</b>',
    '<code>',
    '<em>',
    '<strong>',
    '<brx>',
    '<a href="x">',
    '< br>',
    '<p',
    '<h7>',
    '<tx>',
  ]) {
    assert.equal(told(`It is not${inside}the scope /a.read`), '/a.read?', JSON.stringify(inside));
  }
  assert.equal(told('You do <b>not</b> need the <code>/a.read</code> scope.'), '/a.read?');
  assert.equal(told('It needs the <code>/a.read</code> scope.'), '/a.read');
  assert.equal(told('Scope /a.read <p not<br>'), '/a.read?');
  assert.equal(told('Scope /a.read <br> not> enough'), '/a.read');
  assert.equal(told('<br>Scope /b.read, if > 1'), '/b.read');
});

test('a path is no part of an address, of a word, or of a longer path', () => {
  for (const before of [
    'https:/',
    'x',
    '9',
    '_',
    '.',
    '~',
    '}',
    '%',
    '-',
    'docs',
    'https://docs.example.com',
    ':',
    '/',
    '..',
    '%2F',
  ]) {
    assert.equal(told(`Scopes: ${before}/b.read`), '/a.read?', before);
    assert.match(doubtOf(`Scopes: ${before}/b.read`), /names no scope/, before);
  }
  for (const before of ['', '`', '"', "'", '(', '[', '*', '>', '“', ',', '=', '|']) {
    assert.equal(told(`Scopes: ${before}/b.read`), '/b.read', before);
  }
  assert.equal(told('Scopes: /b~c_d.e-f/g.read-all', 'GET /a'), '/b~c_d.e-f/g.read-all');
  assert.equal(told('Scope /b.read...'), '/b.read');
  const long = `/${'abcdefghi/'.repeat(60)}b.read`;
  assert.ok(long.length > 512);
  assert.match(doubtOf(`Scope ${long}`), /names no scope/);
  // As long as a scope may be.
  const segments = '/abcdefghi'.repeat(50);
  const longest = `${segments}/${'x'.repeat(512 - segments.length - 6)}.read`;
  assert.equal(longest.length, 512);
  assert.equal(told(`Scope ${longest}`), longest);
  assert.match(doubtOf(`Scope ${longest}.`), /names no scope/);
});

test('a verb that says read or write has to say so of the method', () => {
  const fits = (method: string, verb: string): boolean => !told(`Scope /a.${verb}`, `${method} /a`).endsWith('?');
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'QUERY']) {
    for (const verb of ['read', 'view', 'list', 'read-all', 'use', 'writeoff', 're-create']) {
      assert.equal(fits(method, verb), true, `${method} ${verb}`);
    }
    for (const verb of ['write', 'create', 'update', 'delete', 'edit', 'write-all']) {
      assert.equal(fits(method, verb), false, `${method} ${verb}`);
    }
  }
  for (const method of ['PUT', 'POST', 'DELETE', 'PATCH', 'LOCK']) {
    for (const verb of ['write', 'create', 'update', 'delete', 'edit', 'use', 'readjust', 'mark-read', 'proof-read']) {
      assert.equal(fits(method, verb), true, `${method} ${verb}`);
    }
    for (const verb of ['read', 'view', 'list', 'read-all']) {
      assert.equal(fits(method, verb), false, `${method} ${verb}`);
    }
  }
  assert.equal(doubtOf('Scope /a.write'), 'A GET asks for .write, by its description.');
});

test('the parameters of a scope are those of the path, by name or but for its style', () => {
  const bound = (scope: string, path: string): string => told(`Scope ${scope}`, `GET ${path}`);
  assert.equal(bound('/x/{id}.read', '/x/{id}'), '/x/{id}.read');
  for (const name of ['account-id', 'accountId', 'account_ID', 'ACCOUNT_id']) {
    assert.equal(bound(`/x/{${name}}.read`, '/x/{accountID}'), '/x/{accountID}.read', name);
  }
  // Two that differ in nothing but style: whose is it?
  assert.equal(bound('/x/{account-id}.read', '/y/{accountID}/{account_id}'), '/y.read?');
  // A name that is there to the letter is it.
  assert.equal(bound('/x/{account_id}.read', '/y/{accountID}/{account_id}'), '/x/{account_id}.read');
});

test('a parameter by another name, in its place of the path, is asked about; elsewhere it is left out', () => {
  assert.equal(
    doubtOf('Scope /x/{accountID}.read', 'GET /x/{id}'),
    'Is {accountID} of /x/{accountID}.read what the path calls {id}?',
  );
  assert.equal(told('Scope /x/{accountID}.read', 'GET /x/{id}'), '/x/{id}.read?');
  assert.equal(
    doubtOf('Scope /x/{accountID}.read', 'GET /y/{id}'),
    'The description asks for /x/{accountID}.read, and the path has no {accountID} that could fill it.',
  );
  // What holds it goes with it; and where nothing is left, there is the path.
  assert.equal(told('Scope /x/{accountID}/z.read', 'GET /y/{id}'), '/z.read?');
  assert.equal(told('Scope /x/{accountID}.read', 'GET /y/{id}'), '/y.read?');
  // Of several segments before it, all have to be the same.
  assert.equal(told('Scope /a/x/{accountID}/z.read', 'GET /a/y/{id}/z'), '/a/z.read?');
  assert.equal(told('Scope /x/{other}/y/{accountID}.read', 'GET /x/{one}/y/{two}'), '/x/{one}/y/{two}.read?');
  assert.equal(
    doubtOf('Scope /x/{other}/y/{accountID}.read', 'GET /x/{one}/y/{two}'),
    'Is {other} of /x/{other}/y/{accountID}.read what the path calls {one}? Is {accountID} of /x/{other}/y/{accountID}.read what the path calls {two}?',
  );
  assert.equal(told('Scope /x/{accountID}.read', 'GET /x/y'), '/x/y.read?');
  assert.match(doubtOf('Scope /x/{accountID}.read', 'GET /x/y'), /the path has no \{accountID\}/);
  assert.equal(told('Scope /x/y/{accountID}.read', 'GET /x/y'), '/x.read?');
});

test('a scope that would have one parameter twice is not proposed', () => {
  assert.equal(
    doubtOf('Scope /{account_id}/{account-id}.read', 'GET /x/{accountID}'),
    'Which parameters of the path are those of /{account_id}/{account-id}.read?',
  );
  assert.equal(told('Scope /{account_id}/{account-id}.read', 'GET /x/{accountID}'), '/x.read?');
});

test('two methods of a path whose scopes differ in more than the verb make each other unsure', () => {
  const [get, put] = [saying('GET /a', 'Scope /a.read'), saying('PUT /a', 'Scope /b.write')];
  assert.equal(first([get, put]).reason, 'The description asks for /a.read, and that of PUT /a for /b.write.');
  assert.equal(first([put, get]).reason, 'The description asks for /b.write, and that of GET /a for /a.read.');
  assert.equal(proposed([get, saying('PUT /a', 'Scope /a.write')]), '/a.read');
  assert.equal(proposed([get, saying('PUT /b', 'Scope /b.write')]), '/a.read');
  assert.equal(proposed([get], [knows('PUT /a', '/c.write')]), '/a.read?');
  // One that is unsure makes no other so, and keeps its own reason.
  assert.equal(proposed([get, saying('PUT /a', 'See /b.write')]), '/a.read');
  assert.match(first([saying('PUT /a', 'See /b.write'), get]).reason, /does not speak of scopes/);
});

test('an operation that says nothing: as the other methods of its path', () => {
  const silent = operation('PUT /a/{id}');
  const reason = 'Its description names no scope. Proposed: as the other methods of this path.';
  assert.deepEqual(first([silent], [knows('GET /a/{id}', '/x/{id}.read')]), {
    operation: silent,
    scope: '/x/{id}.write',
    sure: false,
    reason,
  });
  // Of those that agree, and that this path can fill.
  assert.equal(proposed([silent], [knows('GET /a/{id}', '/x.read'), knows('POST /a/{id}', '/x.use')]), '/x.write?');
  assert.equal(proposed([silent], [knows('GET /a/{id}', '/x.read'), knows('POST /a/{id}', '/y.use')]), '/a.write?');
  assert.equal(proposed([silent], [knows('GET /a/{id}', '/x/{other}.read')]), '/a.write?');
  assert.equal(proposed([silent], [knows('GET /a/{id}', '/x/{id}/{other}.read')]), '/a.write?');
  assert.equal(proposed([silent], [knows('GET /b/{id}', '/x/{id}.read')]), '/a.write?');
  // One that another is proposed is better than nothing, even where that is unsure.
  assert.equal(proposed([silent, saying('GET /a/{id}', 'See /x.read')]), '/x.write?');
  assert.equal(proposed([silent, saying('GET /a/{id}', 'Scope /x.read')]), '/x.write?');
});

test('the verb is the one that most operations of the method have, else read or write', () => {
  const verbOf = (method: string, ...known: readonly Known[]): string =>
    proposed([operation(`${method} /z`)], known).replace(/^.*\.(.*)\?$/, '$1');
  assert.equal(verbOf('GET'), 'read');
  assert.equal(verbOf('HEAD'), 'read');
  assert.equal(verbOf('OPTIONS'), 'read');
  assert.equal(verbOf('QUERY'), 'read');
  assert.equal(verbOf('DELETE'), 'write');
  assert.equal(proposed([operation('PUT /z')], [knows('PUT /b', '/b.change')]), '/z.change?');
  assert.equal(verbOf('GET', knows('PUT /b', '/b.change')), 'read');
  const several = [knows('PUT /b', '/b.one'), knows('PUT /c', '/c.two'), knows('PUT /d', '/d.two')];
  assert.equal(verbOf('PUT', ...several), 'two');
  assert.equal(verbOf('PUT', ...several.toReversed()), 'two');
  assert.equal(verbOf('PUT', ...several, knows('PUT /e', '/e.one'), knows('PUT /f', '/f.one')), 'one');
});

test('an operation that says nothing: as its tag says', () => {
  const tagged = (tags: unknown, ...descriptions: readonly unknown[]): Proposal =>
    first([operation('GET /stats/{year}', { tags: ['Stats', 'More'] })], [], {
      tags: [7, null, ...descriptions],
      ...(tags === undefined ? {} : { tags }),
    });
  const stats = { name: 'Stats', description: 'Needs the scope /statistics.read.' };
  assert.deepEqual(
    [tagged(undefined, stats).scope, tagged(undefined, stats).sure, tagged(undefined, stats).reason],
    ['/statistics.read', false, 'Its own description names no scope, that of its tag Stats does: /statistics.read.'],
  );
  const none = '/stats.read';
  // Another operation's tag, or none that speaks of scopes, or two that differ.
  assert.equal(tagged(undefined, { ...stats, name: 'Other' }).scope, none);
  assert.equal(tagged(undefined, { description: stats.description }).scope, none);
  assert.equal(tagged(undefined, { name: 'Stats', description: 'See /statistics.read.' }).scope, none);
  assert.equal(tagged(undefined, { name: 'Stats', description: 7 }).scope, none);
  assert.equal(tagged(undefined, stats, { name: 'More', description: 'Scope /other.read' }).scope, none);
  assert.equal(
    tagged(undefined, stats, { name: 'More', description: 'Scope /statistics.read' }).scope,
    '/statistics.read',
  );
  assert.equal(tagged(undefined, stats, { name: 'More', description: 'See /other.read' }).scope, '/statistics.read');
  for (const tags of [7, 'Stats', {}, null]) assert.equal(tagged(tags).scope, none);
  const untagged = first([operation('GET /stats', { tags: 'Stats' })], [], { tags: [stats] });
  assert.equal(untagged.scope, none);
  assert.equal(first([operation('GET /stats')], [], { tags: [{ description: stats.description }] }).scope, none);
  // What the path cannot fill is left out, and the other methods of a path come first.
  const account = { name: 'Stats', description: 'Scope /accounts/{accountID}/stats.read' };
  assert.equal(tagged(undefined, account).scope, '/stats.read');
  assert.equal(
    first([operation('GET /s', { tags: ['Stats'] })], [knows('PUT /s', '/x.write')], { tags: [stats] }).scope,
    '/x.read',
  );
});

test('an operation that says nothing: as those above or below it, of two segments at the least', () => {
  const near = (path: string, ...known: readonly Known[]): string => proposed([operation(`GET ${path}`)], known);
  const cards = knows('PUT /accounts/{id}/cards', '/plastic.write');
  assert.deepEqual(first([operation('GET /accounts/{id}/cards/{card}')], [cards]), {
    operation: operation('GET /accounts/{id}/cards/{card}'),
    scope: '/plastic.read',
    sure: false,
    reason: 'Its description names no scope. Proposed: as PUT /accounts/{id}/cards.',
  });
  assert.equal(near('/accounts/{id}', cards), '/plastic.read?');
  // One segment is not enough, nor is a neighbour in another branch.
  assert.equal(near('/accounts', cards), '/accounts.read?');
  assert.equal(near('/accounts/{id}/files', cards), '/accounts/{id}/files.read?');
  assert.equal(
    near('/accounts/{id}/cards/{card}/pin', knows('PUT /accounts/{id}/cards/{card}/limit', '/x.write')),
    '/accounts/{id}/cards/{card}/pin.read?',
  );
  assert.equal(near('/a/b', knows('PUT /a', '/x.write')), '/a/b.read?');
  assert.equal(near('/a/b/c', knows('PUT /a/b', '/x.write')), '/x.read?');
  // The nearest of them, in whatever order; and none where the nearest differ.
  const [far, close] = [knows('PUT /a/b', '/far.write'), knows('PUT /a/b/c', '/close.write')];
  assert.equal(near('/a/b/c/d', far, close), '/close.read?');
  assert.equal(near('/a/b/c/d', close, far), '/close.read?');
  assert.equal(near('/a/b/c/d', close, knows('POST /a/b/c', '/other.write')), '/a/b/c/d.read?');
  assert.equal(near('/a/b/c/d', close, knows('POST /a/b/c', '/close.use')), '/close.read?');
  assert.equal(near('/a/b/c/d', close, knows('POST /a/b/c', '/{other}.use')), '/close.read?');
});

test('an operation that nobody says anything of: by its path up to the last literal, and its method', () => {
  const alone = (route: string): string => proposed([operation(route)]);
  assert.equal(alone('GET /a/{b}/c/{d}'), '/a/{b}/c.read?');
  assert.equal(alone('POST /a/b'), '/a/b.write?');
  assert.equal(alone('GET /'), '/api.read?');
  assert.equal(alone('GET /{a}'), '/api.read?');
  assert.equal(alone("GET /it's"), '/api.read?');
  assert.equal(
    first([operation('GET /a')]).reason,
    'Its description names no scope. Proposed: by its path and method.',
  );
});
