/**
 * Every exported symbol of the packages has a docstring. You meet an exported name far from its file, often only in your
 * editor. What it is for, its units, when it refuses or throws, and the clause that it follows are written nowhere else:
 * types cannot say them.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSync, type Comment, type Program } from 'oxc-parser';

const root = fileURLToPath(new URL('..', import.meta.url));

for (const name of ['protocol', 'client', 'guard', 'server']) {
  test(`every exported symbol of packages/${name} has a docstring`, () => {
    const lacking = sourcesOf(`packages/${name}/src`).flatMap((file) => {
      const names = findUndocumented(file, readFileSync(join(root, file), 'utf8'));
      return names.length === 0 ? [] : [`${file}: ${names.join(', ')}`];
    });
    assert.deepEqual(lacking, []);
  });
}

test('the check finds an export without a docstring, and knows a docstring from other comments', () => {
  for (const [text, lacking] of [
    ['export const a = 1;', ['a']],
    ['/** Says what it is for. */\nexport const a = 1;', []],
    ['/* Not a docstring. */\nexport const a = 1;', ['a']],
    ['// Not a docstring.\nexport function a(): void {}', ['a']],
    ['/** Says what it is for. */\n// oxlint-disable-next-line no-x -- reason\nexport class A {}', []],
    ['/** Of something else. */\nconst b = 1;\nexport type A = typeof b;', ['A']],
    ["/** About the file. */\nimport 'x';\nexport interface A {}", ['A']],
    ['/** Says what it is for. */\nconst a = 1;\nexport { a };', []],
    ['const a = 1;\nexport { a as b };', ['a']],
    ["export { a } from './a.ts';", []],
    ['/** Says it once. */\nexport function a(): void;\nexport function a(b?: number): void {}', []],
  ] as const) {
    assert.deepEqual(findUndocumented('example.ts', text), lacking, text);
  }
});

function sourcesOf(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name) && !name.endsWith('.d.ts'))
    .map((name) => join(folder, name))
    .toSorted();
}

/** The names that a file declares and exports without a docstring. One of several overloads is enough. */
function findUndocumented(file: string, text: string): readonly string[] {
  const { program, comments } = parseSync(file, text);
  const declared = declarationsOf(program);
  const exported = new Set(program.body.flatMap(namesExportedBy));
  return [...exported].filter((name) => {
    const places = declared.filter((one) => one.name === name);
    return places.length > 0 && !places.some(({ start }) => hasDocstring(text, comments, start));
  });
}

type Statement = Program['body'][number];

interface Declared {
  readonly name: string;
  /** Where its statement begins, `export` included. */
  readonly start: number;
}

function declarationsOf({ body }: Program): readonly Declared[] {
  return body.flatMap((statement) => {
    const declaration = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement;
    return namesOf(declaration).map((name) => ({ name, start: statement.start }));
  });
}

function namesExportedBy(statement: Statement): readonly string[] {
  if (statement.type !== 'ExportNamedDeclaration' || statement.source !== null) return [];
  const listed = statement.specifiers.flatMap(({ local }) => ('name' in local ? [local.name] : []));
  return [...listed, ...namesOf(statement.declaration)];
}

function namesOf(declaration: unknown): readonly string[] {
  if (typeof declaration !== 'object' || declaration === null) return [];
  if ('declarations' in declaration && Array.isArray(declaration.declarations)) {
    return declaration.declarations.flatMap((one: unknown) => namesOf(one));
  }
  const id: unknown = 'id' in declaration ? declaration.id : undefined;
  return typeof id === 'object' && id !== null && 'name' in id && typeof id.name === 'string' ? [id.name] : [];
}

/** Whether a docstring ends right before `start`; only line comments may stand in between. */
function hasDocstring(text: string, comments: readonly Comment[], start: number): boolean {
  return comments.some(
    ({ type, value, end }) =>
      type === 'Block' && value.startsWith('*') && end <= start && /^(?:\s|\/\/.*\n)*$/.test(text.slice(end, start)),
  );
}
