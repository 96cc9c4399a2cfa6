/** The options for the fields of an API key: the same where a key is made, changed and imported. */
import { readFileSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { isObject } from '@hallpass/protocol';
import { KEY_FIELD_ROWS, type KeyField, type KeyFieldName, type KeyFieldValues } from '../operator/key_fields.ts';
import { CommandRefusal } from './command_refusal.ts';
import { collect, parseSeconds } from './command_values.ts';

/** What commander makes of the options: values by the option's name in camel case. */
export type KeyOptions = Readonly<Record<string, unknown>>;

/** The value of a number that stands for the server's setting. */
const AS_SERVER = 'server';

/** Adds an option for every field of the table but those that the command takes otherwise. */
export function withKeyOptions(command: Command, { except }: { readonly except: readonly KeyFieldName[] }): Command {
  for (const [name, field] of KEY_FIELD_ROWS) {
    if (!except.includes(name)) for (const option of optionsOf(field)) command.addOption(option);
  }
  return command;
}

function optionsOf(field: KeyField): readonly Option[] {
  const { option } = field;
  if ('on' in option) {
    const isDefault = (value: unknown): string =>
      'initial' in field && field.initial === value ? ' (the default)' : '';
    return [
      new Option(`--${option.name}`, `${option.on.words}${isDefault(option.on.value)}`),
      new Option(`--no-${option.name}`, `${option.off.words}${isDefault(option.off.value)}`),
    ];
  }
  const { name, value, words } = option;
  const flags = `--${name} <${value}>`;
  switch (field.kind) {
    case 'list':
      return [new Option(flags, `${words}; may repeat`).argParser(collect)];
    case 'choice': {
      const otherwise = field.initial === undefined ? '' : ` (default: ${field.initial})`;
      return [new Option(flags, `${words}${otherwise}`).choices(field.choices)];
    }
    case 'number':
      return [
        new Option(flags, `${words}; or \`${AS_SERVER}\`, to use the server's setting`).argParser((text) =>
          text === AS_SERVER ? AS_SERVER : parseNumber(field, text),
        ),
      ];
    case 'switch':
    case 'text':
    case 'public_keys':
      return [new Option(flags, words)];
  }
}

function parseNumber({ unit }: Extract<KeyField, { readonly kind: 'number' }>, text: string): number {
  return unit === 'seconds' ? parseSeconds(text) : Number(text);
}

/** The fields that were given on the command line, and no others. Throws `CommandRefusal` on a file of keys it cannot read. */
export function keyFieldsOf(options: KeyOptions): KeyFieldValues;
export function keyFieldsOf(options: KeyOptions): object {
  const given = KEY_FIELD_ROWS.flatMap(([name, field]) => {
    const value = options[camelCase(field.option.name)];
    return value === undefined ? [] : [[name, valueOf(field, value)] as const];
  });
  return Object.fromEntries(given);
}

/** What an option stands for. Undefined is a number that the key leaves to the server, even if it had its own. */
function valueOf(field: KeyField, value: unknown): unknown {
  const { option } = field;
  if ('on' in option) return value === true ? option.on.value : option.off.value;
  if (field.kind === 'public_keys') return readJwks(String(value));
  return field.kind === 'number' && value === AS_SERVER ? undefined : value;
}

/** The keys in a file with a JWK or a JWK Set. Throws `CommandRefusal`. */
export function readJwks(file: string): readonly unknown[] {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    throw new CommandRefusal(`This file cannot be read, or is not JSON: ${file}. It should hold a JWK or a JWK Set.`);
  }
  const keys: unknown = isObject(document) ? document['keys'] : undefined;
  return Array.isArray(keys) ? keys : [document];
}

function camelCase(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
