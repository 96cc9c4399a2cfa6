/**
 * A text as one word of a POSIX shell, for the commands that messages suggest: an imported `client_id` may hold spaces, and
 * anything else that a shell reads. One that begins with a dash comes behind `--`, or it would pass for an option.
 */
export function shellWord(text: string): string {
  const word = /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
  return text.startsWith('-') ? `-- ${word}` : word;
}
