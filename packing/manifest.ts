/** The manifest that a package has once it is packed. In the checkout it has no version, so that npm packs nothing there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

type Manifest = Readonly<Record<string, unknown>>;

/** What only the checkout needs. */
const LEFT_OUT = new Set(['private', 'devDependencies', 'scripts', 'dependencies', 'name']);
/** The condition by which packages of the checkout run each other's sources. */
const SOURCE_CONDITION = 'hallpass-source';

export interface Package {
  /** Its folder in `packages/`. */
  readonly folder: string;
  readonly manifest: Manifest;
  /** The folders of our own packages that it depends on. */
  readonly ours: readonly string[];
}

/** Our packages by their names, and the folder of each. */
const FOLDERS: ReadonlyMap<string, string> = new Map([
  ['@hallpass/protocol', 'protocol'],
  ['@hallpass/guard', 'guard'],
  ['@hallpass/client', 'client'],
  ['hallpass', 'server'],
]);

export const PACKAGE_FOLDERS: readonly string[] = [...FOLDERS.values()];

/** Reads the manifest of a checkout's package as it is to be packed; a folder of `packages/` is named as there. */
export function readPackage(root: string, folder: string): Package {
  const { version } = readManifest(join(root, 'package.json'));
  if (typeof version !== 'string') throw new Error('The package.json of the workspace states no version.');
  const source = readManifest(join(root, 'packages', folder, 'package.json'));
  const { ours, others } = dependenciesOf(root, source);
  const manifest: Manifest = {
    name: source['name'],
    version,
    ...Object.fromEntries(Object.entries(source).filter(([member]) => !LEFT_OUT.has(member))),
    ...(source['exports'] === undefined ? {} : { exports: withoutSources(source['exports']) }),
    ...(others.size === 0 ? {} : { dependencies: Object.fromEntries(others) }),
  };
  return { folder, manifest, ours: [...ours] };
}

/** What a package needs: ours by their folders, and what comes from a registry, for itself and for ours. */
function dependenciesOf(
  root: string,
  manifest: Manifest,
): { readonly ours: ReadonlySet<string>; readonly others: ReadonlyMap<string, unknown> } {
  const ours = new Set<string>();
  const others = new Map<string, unknown>();
  for (const [name, range] of Object.entries(recordOf(manifest['dependencies']))) {
    const folder = FOLDERS.get(name);
    if (folder === undefined) {
      others.set(name, range);
      continue;
    }
    ours.add(folder);
    const theirs = dependenciesOf(root, readManifest(join(root, 'packages', folder, 'package.json')));
    for (const more of theirs.ours) ours.add(more);
    for (const [other, theirRange] of theirs.others) others.set(other, theirRange);
  }
  return { ours, others };
}

/** Each name that a package is imported by, such as `@hallpass/guard/node`, and the file of its `dist` behind it. */
export function entriesOf({ name, exports }: Manifest): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(recordOf(exports)).map(([path, target]) => {
      const file = String(recordOf(target)['default']).replace(/^\.\/dist\//, '');
      return [`${String(name)}${path.slice(1)}`, file];
    }),
  );
}

/** The same exports without the condition that leads to sources, at any depth. */
function withoutSources(exports: unknown): unknown {
  if (typeof exports !== 'object' || exports === null) return exports;
  return Object.fromEntries(
    Object.entries(exports).flatMap(([name, target]: [string, unknown]) =>
      name === SOURCE_CONDITION ? [] : [[name, withoutSources(target)]],
    ),
  );
}

function readManifest(file: string): Manifest {
  return recordOf(JSON.parse(readFileSync(file, 'utf8')));
}

function recordOf(value: unknown): Manifest {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}
