/** Puts packages of ours into the one that imports them, so that no package manager looks for them on a registry. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseSync } from 'oxc-parser';

export interface Included {
  /** What it is called in the package that it is put into. */
  readonly folder: string;
  /** Where it was built. */
  readonly dist: string;
  /** Each name that it is imported by, and the file of `dist` that stands behind it. */
  readonly entries: ReadonlyMap<string, string>;
}

/** Copies built packages into `dist/included/`, and leads every import of them there, in code and in declarations. */
export function includePackages(dist: string, packages: readonly Included[]): void {
  const files = new Map<string, string>();
  for (const { folder, dist: theirs, entries } of packages) {
    cpSync(theirs, join(dist, 'included', folder), { recursive: true });
    for (const [name, file] of entries) files.set(name, join(dist, 'included', folder, file));
  }
  for (const name of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    if (/\.(?:js|d\.ts)$/.test(name)) redirect(join(dist, name), files);
  }
}

/** Leads the imports of a file to other files. Only imports: a text may hold the same name. */
function redirect(file: string, to: ReadonlyMap<string, string>): void {
  let text = readFileSync(file, 'utf8');
  const { module, errors } = parseSync(file, text);
  if (errors.length > 0) throw new Error(`${file} cannot be read: ${errors[0]?.message ?? ''}`);
  const requests = [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest),
    ...module.staticExports.flatMap(({ entries }) => entries.flatMap(({ moduleRequest }) => moduleRequest ?? [])),
  ];
  const places = new Map(requests.map(({ start, end, value }) => [start, { end, value }]));
  // From the end, so that what comes before stays where it is.
  for (const [start, { end, value }] of [...places].toSorted(([one], [other]) => other - one)) {
    const target = to.get(value);
    if (target === undefined) continue;
    const path = relative(dirname(file), target).replaceAll('\\', '/');
    text = `${text.slice(0, start)}'${path.startsWith('.') ? path : `./${path}`}'${text.slice(end)}`;
  }
  writeFileSync(file, text);
}
