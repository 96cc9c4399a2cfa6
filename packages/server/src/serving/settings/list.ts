/** The settings as documentation and --help list them. */
import { FILE_VARIABLE } from './names.ts';
import { ROWS } from './settings.ts';

/** Every setting as a row of docs/configuration.md. */
export function listSettings(): readonly {
  variable: string;
  name: string;
  otherwise: string;
  meaning: string;
  must: string;
}[] {
  const rows = Object.entries(ROWS).map(([name, { variable, otherwise, meaning, must }]) => ({
    variable,
    name,
    otherwise: printDefault(otherwise),
    meaning,
    must,
  }));
  const file = {
    variable: FILE_VARIABLE,
    name: '',
    otherwise: '',
    meaning: 'A JSON file with settings. The environment overrides it.',
    must: 'a file',
  };
  return [...rows, file];
}

function printDefault(otherwise: unknown): string {
  if (typeof otherwise === 'boolean') return otherwise ? 'on' : 'off';
  return typeof otherwise === 'string' || typeof otherwise === 'number' ? String(otherwise) : '';
}
