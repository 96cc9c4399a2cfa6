/** HTTP as written on the wire: a client would normalize the path or drop a second header. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';

export interface WireAnswer {
  readonly status: number;
  /** By lower-case name; the last value if a header repeats. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/**
 * Sends a request line and headers unchanged, and returns the complete response. Characters beyond ASCII are sent as
 * UTF-8.
 */
export async function send(port: number, requestLine: string, ...fields: readonly string[]): Promise<WireAnswer> {
  const socket = connect(port, '127.0.0.1');
  const message = [`${requestLine} HTTP/1.1`, 'Host: api.example.com', 'Connection: close', ...fields, '', ''];
  socket.write(message.join('\r\n'));
  let text = '';
  for await (const piece of socket.setEncoding('utf8')) text += String(piece);
  return parseAnswer(text);
}

function parseAnswer(text: string): WireAnswer {
  const end = text.indexOf('\r\n\r\n');
  const [statusLine = '', ...fields] = text.slice(0, end).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
  assert.ok(status >= 200, `no answer: ${text}`);
  const headers = new Map(
    fields.map((field) => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
    }),
  );
  const body = text.slice(end + 4);
  return { status, headers, body: headers.get('transfer-encoding') === 'chunked' ? joinChunks(body) : body };
}

/** Chunks of ASCII (RFC 9112 §7.1). */
function joinChunks(body: string): string {
  let joined = '';
  let rest = body;
  while (rest !== '') {
    const line = rest.indexOf('\r\n');
    const length = parseInt(rest.slice(0, line), 16);
    joined += rest.slice(line + 2, line + 2 + length);
    rest = rest.slice(line + 2 + length + 2);
  }
  return joined;
}
