/**
 * CSV as RFC 4180 has it: quotes that are doubled inside, lines that end in CRLF or LF. Empty lines are left out. Fields are
 * separated by commas, or by what spreadsheets put there instead where the comma is for decimals.
 */

export const CSV_SEPARATORS = [',', ';', '\t'] as const;
export type CsvSeparator = (typeof CSV_SEPARATORS)[number];

/** A line of fields, and which line of the text it begins on, from 1. */
export interface CsvRecord {
  readonly line: number;
  readonly fields: readonly string[];
}

/** What is wrong with a text, without a word of it: it may hold secrets. */
export interface CsvFault {
  readonly line: number;
  readonly fault: string;
}

/** The longest field, in characters, and the most fields of a record. */
const CSV_FIELD_LENGTH_MAX = 262_144;
export const CSV_FIELDS_MAX = 64;

/** The records of a text, or the first thing that is wrong with it. Never throws. */
export function parseCsv(
  text: string,
  recordsMax: number,
  separator: CsvSeparator = ',',
): readonly CsvRecord[] | CsvFault {
  const records: CsvRecord[] = [];
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const blank = lineEnd(text, at);
    if (blank > 0) {
      at += blank;
      line += 1;
      continue;
    }
    const start = line;
    const fields: string[] = [];
    for (;;) {
      const field = readField(text, at, separator);
      if ('fault' in field) return { line, fault: field.fault };
      fields.push(field.value);
      at = field.end;
      line += field.lines;
      if (field.value.length > CSV_FIELD_LENGTH_MAX)
        return { line: start, fault: `a field is longer than ${CSV_FIELD_LENGTH_MAX} characters` };
      if (fields.length > CSV_FIELDS_MAX)
        return { line: start, fault: `there are more than ${CSV_FIELDS_MAX} fields in a line` };
      if (text.charAt(at) !== separator) break;
      at += 1;
    }
    const end = lineEnd(text, at);
    if (end === 0 && at < text.length)
      return { line, fault: 'a carriage return stands alone: lines end in CRLF or LF' };
    at += end;
    line += 1;
    records.push({ line: start, fields });
    if (records.length > recordsMax) return { line: start, fault: `there are more than ${recordsMax} lines of keys` };
  }
  return records;
}

/** How long the end of a line is that stands here: 2, 1, or 0 when there is none. */
function lineEnd(text: string, at: number): number {
  if (text.charAt(at) === '\n') return 1;
  return text.charAt(at) === '\r' && text.charAt(at + 1) === '\n' ? 2 : 0;
}

type Field =
  | {
      readonly value: string;
      /** Where what comes behind it begins. */
      readonly end: number;
      /** How many lines end inside it. */
      readonly lines: number;
    }
  | { readonly fault: string };

function readField(text: string, at: number, separator: CsvSeparator): Field {
  return text.charAt(at) === '"' ? readQuoted(text, at + 1, separator) : readPlain(text, at, separator);
}

const PLAIN: Record<CsvSeparator, RegExp> = { ',': /[^,"\r\n]*/y, ';': /[^;"\r\n]*/y, '\t': /[^\t"\r\n]*/y };

function readPlain(text: string, at: number, separator: CsvSeparator): Field {
  const plain = PLAIN[separator];
  plain.lastIndex = at;
  const value = plain.exec(text)?.[0] ?? '';
  const end = at + value.length;
  if (text.charAt(end) !== '"') return { value, end, lines: 0 };
  return {
    fault: 'a quote stands inside a field that does not begin with one: quote the whole field, and double the quote',
  };
}

function readQuoted(text: string, start: number, separator: CsvSeparator): Field {
  let at = start;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return { fault: 'a quoted field that begins here does not end' };
    if (text.charAt(quote + 1) === '"') {
      at = quote + 2;
      continue;
    }
    const end = quote + 1;
    if (end < text.length && text.charAt(end) !== separator && lineEnd(text, end) === 0)
      return {
        fault: 'something stands behind the closing quote of a field: only a separator or the end of the line may',
      };
    const raw = text.slice(start, quote);
    return { value: raw.replaceAll('""', '"'), end, lines: raw.split('\n').length - 1 };
  }
}
