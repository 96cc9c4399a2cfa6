/** The JSON file that settings may come from. */
import { existsSync } from 'node:fs';
import { isObject, parseJson } from '@hallpass/protocol';
import { BadSetting } from './bad_setting.ts';
import { readSecretFile, type SecretFile } from '../file_permissions.ts';
import { FILE_VARIABLE, suggest, withoutLineBreaks } from './names.ts';

/**
 * Reads a settings file: its members as text, by name; empty if no file is named. Throws `BadSetting` if the file cannot be
 * read, has an unknown member, or holds a secret and can be read by other users.
 */
export function readSettingsFile(
  file: string | undefined,
  known: {
    readonly names: readonly string[];
    /** Whether this value of this setting is a secret. */
    readonly isSecret: (name: string, text: string) => boolean;
  },
): ReadonlyMap<string, string> {
  const members = new Map<string, string>();
  if (file === undefined || file === '') return members;
  if (!existsSync(file)) throw new BadSetting(`${FILE_VARIABLE} names a file that does not exist: ${file}.`);
  const { text, exposure, mode } = readWhole(file);
  for (const [name, member] of Object.entries(parseObject(text, file))) {
    if (!known.names.includes(name)) {
      throw new BadSetting(`${name} in the settings file is not a setting.${suggest(name, known.names)}`);
    }
    if (typeof member !== 'string' && typeof member !== 'number') {
      throw new BadSetting(`${name} in the settings file must be a string or a number.`);
    }
    members.set(name, withoutLineBreaks(String(member)));
  }
  const [secret] = [...members].find(([name, member]) => known.isSecret(name, member)) ?? [];
  if (exposure !== undefined && secret !== undefined) {
    throw new BadSetting(
      `The settings file holds a secret (${secret}), and other users of this machine can read it (${exposure}: its mode is ${mode}). First run: chmod 600 ${file}`,
    );
  }
  return members;
}

function readWhole(file: string): SecretFile {
  try {
    return readSecretFile(file);
  } catch {
    throw new BadSetting(`The settings file ${file} cannot be read.`);
  }
}

function parseObject(text: string, file: string): Readonly<Record<string, unknown>> {
  const value = parseJson(text);
  if (value === undefined) throw new BadSetting(`The settings file ${file} is not JSON.`);
  if (!isObject(value)) throw new BadSetting(`The settings file ${file} must hold one JSON object.`);
  return value;
}
