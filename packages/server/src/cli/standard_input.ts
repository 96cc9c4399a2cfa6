import { commandProcess } from './command_process.ts';

/** All of standard input as text, up to 64 KiB. */
export async function readStandardInput(): Promise<string> {
  let text = '';
  const { stdin } = commandProcess();
  stdin.setEncoding('utf8');
  for await (const chunk of stdin) {
    text += String(chunk);
    if (text.length > 65_536) break;
  }
  return text;
}
