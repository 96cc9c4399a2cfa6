/**
 * A text as one word of a POSIX shell, for the commands that messages suggest. An imported `client_id` may contain spaces and
 * anything else that a shell interprets. One that begins with a dash comes after `--`, or it would look like an option.
 */
export function shellWord(text: string): string {
  const word = /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
  return text.startsWith('-') ? `-- ${word}` : word;
}
