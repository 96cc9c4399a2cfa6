/** Reads the files of a policy: the one you name, and those in its folder that its references lead to. */
import { faultAt, isFault, PolicyError, quote, type PolicyFault, type Source, type Spot } from './faults.ts';
import { parsePolicyText, POLICY_FILE_BYTES_MAX } from './text.ts';

/** The most files that one description may be split into. */
export const POLICY_FILES_MAX = 1_000;

/** The other files of a description. `load` returns the document of one, or the fault that keeps it from being read. */
export interface PolicyFiles {
  readonly load: (reference: string, from: Spot) => Source | PolicyFault;
}

/** Reads and parses the file that you name. Throws a PolicyError. */
export async function readSource(file: string): Promise<Source> {
  // Not imported at the top, because documents from memory are compiled on runtimes without files.
  const { createReadStream } = await import('node:fs');
  const chunks: Uint8Array[] = [];
  try {
    // Reads at most one byte more than allowed, which is enough to refuse it.
    const source: AsyncIterable<Uint8Array> = createReadStream(file, { end: POLICY_FILE_BYTES_MAX });
    for await (const chunk of source) chunks.push(chunk);
  } catch {
    const source = { file, document: undefined, lineOf: () => undefined };
    const sentence = 'This file cannot be read. Does it exist?';
    throw new PolicyError([faultAt('unreadable', { source, place: [] }, sentence)]);
  }
  return parsePolicyText(Buffer.concat(chunks), file);
}

/**
 * Opens the files beside a root document. Each is read when a reference leads to it; together they may have
 * POLICY_FILE_BYTES_MAX bytes. A path that leaves the root's folder is refused, whether by `..`, a symbolic link or a URL:
 * a description from elsewhere must not make the guard read this machine's files or fetch anything (CWE-22, CWE-918).
 */
export async function openFiles(root: Source & { readonly file: string }): Promise<PolicyFiles> {
  const [fs, { dirname, isAbsolute, join, relative, resolve, sep }] = await Promise.all([
    import('node:fs'),
    import('node:path'),
  ]);
  const base = dirname(root.file);
  const sources = new Map<string, Source | PolicyFault>();
  let bytesLeft = POLICY_FILE_BYTES_MAX;
  /** The real paths of the folder and the root. Resolved when needed, because a root may be a pipe. */
  let places: readonly [folder: string, root: string] | undefined;

  const readBytes = (path: string): Uint8Array => {
    // Not a pipe or a device, which may block or be endless, and not a link created after the path was checked.
    const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = fs.constants;
    const descriptor = fs.openSync(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    try {
      const found = fs.fstatSync(descriptor);
      if (!found.isFile()) throw new TypeError('not a file');
      const bytes = new Uint8Array(Math.min(found.size, bytesLeft + 1));
      let length = 0;
      for (let read = -1; read !== 0 && length < bytes.length; length += read) {
        read = fs.readSync(descriptor, bytes, length, bytes.length - length, null);
      }
      return bytes.subarray(0, length);
    } finally {
      fs.closeSync(descriptor);
    }
  };
  const readFile = (path: string, name: string): Source | PolicyFault | undefined => {
    try {
      const bytes = readBytes(path);
      const source = parsePolicyText(bytes, name, bytesLeft);
      bytesLeft -= bytes.length;
      return source;
    } catch (error) {
      return error instanceof PolicyError ? error.faults[0] : undefined;
    }
  };

  return {
    load: (reference, from) => {
      const refuse = (because: string): PolicyFault => faultAt('bad_reference', from, `${quote(reference)} ${because}`);
      const path = decode(reference);
      if (path === undefined || /^[A-Za-z][A-Za-z0-9+.-]*:|^[/\\]|[?\\]/.test(path)) return refuse(BESIDE);
      let real: string;
      try {
        places ??= [fs.realpathSync(base), fs.realpathSync(root.file)];
        real = fs.realpathSync(resolve(dirname(from.source.file ?? root.file), path));
      } catch {
        return refuse(UNREADABLE);
      }
      const [folder, realRoot] = places;
      const within = relative(folder, real);
      const outside = within === '' || within === '..' || within.startsWith(`..${sep}`) || isAbsolute(within);
      if (outside && real !== realRoot) return refuse(BESIDE);
      let source = real === realRoot ? root : sources.get(real);
      if (source === undefined && sources.size >= POLICY_FILES_MAX) return refuse(TOO_MANY);
      source ??= readFile(real, join(base, within)) ?? refuse(UNREADABLE);
      sources.set(real, source);
      return isFault(source) && source.kind === 'bad_reference' ? refuse(UNREADABLE) : source;
    },
  };
}

const BESIDE =
  'is not read: a $ref may only lead to files in the folder of this description. Bundle them into one first.';
const UNREADABLE = 'cannot be read. Does the file exist?';
const TOO_MANY = `is one of more than ${POLICY_FILES_MAX} files. Bundle them into one first.`;

function decode(reference: string): string | undefined {
  try {
    return decodeURIComponent(reference);
  } catch {
    return undefined;
  }
}
