/** What an operator typed, so that a refusal can name it: `--access-ttl 2h`, and not the field that it became. */
import type { Command } from 'commander';
import { memberOf, OperatorRefusal } from '../operator/operator_refusal.ts';

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

/** Runs something, and names in its refusal the option that was refused, where one was typed. */
export async function namingTyped<Result>(command: Command, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof OperatorRefusal) || error.about === undefined) throw error;
    const { about, quoted, message } = error;
    const option = OPTIONS[about] ?? kebab(about.replace(/Seconds$/, ''));
    const text = typedOf.get(command)?.get(option);
    if (text === undefined) throw error;
    const isShown = text !== '' && !SECRETS.has(option);
    const subject = memberOf(about);
    if (message.startsWith(`${subject} `)) {
      throw new OperatorRefusal(`--${option}${isShown ? ` ${text}` : ''}${message.slice(subject.length)}`);
    }
    // Where it may repeat, the sentence itself has the one that was refused.
    const shown = isShown && quoted === undefined && !REPEATING.has(about) ? ` ${text}` : '';
    throw new OperatorRefusal(`--${option}${shown}: ${message}`);
  }
}

/** Options whose names do not follow from those of the fields. */
const OPTIONS: Readonly<Record<string, string>> = {
  scopes: 'scope',
  defaultScopes: 'default-scope',
  origins: 'origin',
  audiences: 'audience',
  resourceServerFor: 'resource-server',
};
const REPEATING: ReadonlySet<string> = new Set(Object.keys(OPTIONS));
const SECRETS: ReadonlySet<string> = new Set(['client-secret']);

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
