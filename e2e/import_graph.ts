/** The imports between the files of this repository, type-only ones included, and the circles among them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A file's path in the repository, and the paths of the files that it imports. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

/** Every TypeScript file below these folders, with its relative imports of any kind. */
export function readImportGraph(folders: readonly string[]): ImportGraph {
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.tsx?$/.test(name) && !/(?:^|\/)(?:node_modules|dist)\//.test(name))
      .map((name) => join(folder, name)),
  );
  return new Map(files.map((file) => [file, importsOf(file)]));
}

function importsOf(file: string): readonly string[] {
  const { module } = parseSync(file, readFileSync(join(root, file), 'utf8'));
  const specifiers = [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) => entries.map(({ moduleRequest }) => moduleRequest?.value)),
  ];
  const relativeOnes = specifiers.filter((specifier) => specifier?.startsWith('.') === true);
  const paths = relativeOnes.map((specifier) => relative(root, join(root, file, '..', specifier ?? '')));
  return [...new Set(paths)].filter((path) => existsSync(join(root, path)));
}

/** Every file that these files lead to, themselves included. */
export function reach(graph: ImportGraph, from: readonly string[]): ReadonlySet<string> {
  const reached = new Set(from);
  // A set grows while it is walked, so this ends when nothing new is found.
  for (const file of reached) for (const imported of graph.get(file) ?? []) reached.add(imported);
  return reached;
}

/** The groups of files that import each other, directly or through others: the graph's strongly connected components. */
export function findCircles(graph: ImportGraph): readonly (readonly string[])[] {
  const indices = new Map<string, number>();
  const stack: string[] = [];
  const circles: string[][] = [];
  // Tarjan's algorithm: a file whose low link is its own index is the first of its component on the stack.
  const visit = (file: string): number => {
    const index = indices.size;
    indices.set(file, index);
    stack.push(file);
    let low = index;
    for (const imported of graph.get(file) ?? []) {
      if (!indices.has(imported)) low = Math.min(low, visit(imported));
      else if (stack.includes(imported)) low = Math.min(low, indices.get(imported) ?? low);
    }
    if (low !== index) return low;
    const component = stack.splice(stack.indexOf(file));
    if (component.length > 1 || graph.get(file)?.includes(file) === true) circles.push(component.toSorted());
    return low;
  };
  for (const file of graph.keys()) if (!indices.has(file)) visit(file);
  return circles;
}
