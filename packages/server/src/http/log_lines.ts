/** Log lines for a person at a terminal: time, level, message, and the fields worth a glance. */
import { styleText } from 'node:util';
import { escapeControls, escapeControlsInLines, isObject } from '@hallpass/protocol';

const LEVELS: ReadonlyMap<unknown, { readonly name: string; readonly style: 'dim' | 'yellow' | 'red' }> = new Map([
  [30, { name: 'info', style: 'dim' }],
  [40, { name: 'warn', style: 'yellow' }],
  [50, { name: 'error', style: 'red' }],
] as const);

/** Fields of every line that a person watching does not need. */
const LEFT_OUT: ReadonlySet<string> = new Set(['level', 'time', 'msg', 'requestId', 'stack']);

/** Turns a line of JSON into a short line. Colours depend on the terminal, `NO_COLOR` and `FORCE_COLOR`. */
export function printLogLine(json: string): string {
  const entry: unknown = JSON.parse(json);
  if (!isObject(entry)) return escapeControlsInLines(json);
  const { level, time, msg, stack, ...more } = entry;
  const { name, style } = LEVELS.get(level) ?? { name: String(level), style: 'dim' };
  const message = msg === 'request' ? printRequest(more) : escapeControls(String(msg));
  const fields = Object.entries(more)
    .filter(
      ([field, value]) => value !== undefined && !LEFT_OUT.has(field) && !(msg === 'request' && OF_REQUEST.has(field)),
    )
    .map(([field, value]) => escapeControls(`${field}=${typeof value === 'string' ? value : JSON.stringify(value)}`));
  const line = [
    styled('dim', new Date(Number(time)).toISOString().slice(11, 19)),
    styled(style, name.padEnd(5)),
    message,
    styled('dim', fields.join(' ')),
  ];
  const trace = typeof stack === 'string' ? `${escapeControlsInLines(stack)}\n` : '';
  return `${line.join(' ').trimEnd()}\n${trace}`;
}

/** The fields that make up the message of a request. */
const OF_REQUEST: ReadonlySet<string> = new Set(['method', 'route', 'status', 'milliseconds']);

function printRequest({ method, route, status, milliseconds }: Readonly<Record<string, unknown>>): string {
  const answer = styled(Number(status) < 400 ? 'green' : Number(status) < 500 ? 'yellow' : 'red', String(status));
  return `${escapeControls(`${String(method)} ${String(route)}`)} ${answer} ${String(milliseconds)} ms`;
}

function styled(style: 'dim' | 'green' | 'yellow' | 'red', text: string): string {
  return text === '' ? '' : styleText(style, text, { stream: process.stderr });
}
