/** A refusal as a sentence that names what the operator typed: `--access-ttl 2h`, and not the field that it became. */
import type { Command } from 'commander';
import { KEY_FIELDS } from '../operator/key_fields.ts';
import { OperatorRefusal, type RefusedField } from '../operator/operator_refusal.ts';
import { CommandRefusal } from './command_refusal.ts';
import { sentenceOf } from './refusal_sentences.ts';

/** What is typed there is never repeated, whichever field is refused. */
const SECRET_OPTION = 'client-secret';

const typedOf = new WeakMap<Command, Map<string, string>>();

/** Remembers what is typed for the options that a command has by now. */
export function rememberTyped(command: Command): Command {
  const typed = new Map<string, string>();
  typedOf.set(command, typed);
  for (const option of command.options) {
    command.on(`option:${option.name()}`, (text: string | null) => typed.set(option.name(), text ?? ''));
  }
  return command;
}

/** Runs something. When it is refused for a field whose option was typed, the refusal names that option. */
export async function namingTyped<Result>(command: Command, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof OperatorRefusal) || !('field' in error.data)) throw error;
    const { code, data } = error;
    const option = optionOf(data.field);
    const text = typedOf.get(command)?.get(option);
    if (text === undefined) throw error;
    // An option that may repeat is quoted by the sentence itself, and a secret by none.
    const isShown = text !== '' && !('value' in data) && !isList(data.field) && option !== SECRET_OPTION;
    const typed = `--${option}${isShown ? ` ${text}` : ''}`;
    const sentence = code === 'number_out_of_bounds' ? sentenceOf(error, typed) : `${typed}: ${sentenceOf(error)}`;
    throw new CommandRefusal(sentence);
  }
}

function optionOf(field: RefusedField): string {
  if (field === 'clientId') return 'client-id';
  if (field === 'clientSecret' || field === 'clientSecretHash') return SECRET_OPTION;
  return KEY_FIELDS[field].option.name;
}

function isList(field: RefusedField): boolean {
  return Object.entries(KEY_FIELDS).some(([name, { kind }]) => name === field && kind === 'list');
}
