/** CSV (RFC 4180), separated by commas, or by what spreadsheets use where the comma is for decimals. */
import { CsvError, parse, type CsvErrorCode } from 'csv-parse/sync';
import { operatorRefusal, type CsvFault } from '../operator_refusal.ts';

/** What may separate the fields of a line. */
export const CSV_SEPARATORS = [',', ';', '\t'] as const;
/** One of them. */
export type CsvSeparator = (typeof CSV_SEPARATORS)[number];

/** A record, and the line of the text where it begins, from 1. */
export interface CsvRecord {
  readonly line: number;
  readonly fields: readonly string[];
}

/** The longest record, and the longest line. */
const CSV_RECORD_BYTES_MAX = 1_048_576;
/** The most fields of a record. There are fewer columns. */
export const CSV_FIELDS_MAX = 64;

const FAULTS: Readonly<Partial<Record<CsvErrorCode, CsvFault>>> = {
  INVALID_OPENING_QUOTE: 'quote_inside',
  CSV_INVALID_CLOSING_QUOTE: 'text_after_quote',
  CSV_QUOTE_NOT_CLOSED: 'quote_not_closed',
  CSV_MAX_RECORD_SIZE: 'record_too_long',
};

/** Up to `recordsMax` records of a text, without empty lines. Throws `OperatorRefusal` with the line of the first fault. */
export function parseCsv(text: string, separator: CsvSeparator, recordsMax: number): readonly CsvRecord[] {
  refuseLongLines(text);
  const records: CsvRecord[] = [];
  let linesRead = 0;
  try {
    parse(text, {
      delimiter: separator,
      max_record_size: CSV_RECORD_BYTES_MAX,
      record_delimiter: ['\r\n', '\n'],
      relax_column_count: true,
      skip_empty_lines: true,
      to: recordsMax,
      on_record: (fields: readonly string[], { lines }) => {
        linesRead = lines;
        const line = lines - countLineEnds(fields);
        if (fields.length > CSV_FIELDS_MAX) throw operatorRefusal('file_not_csv', { line, fault: 'too_many_fields' });
        records.push({ line, fields });
        return null;
      },
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    // Not csv-parse's own sentence, which repeats what stands there: it may be a secret.
    const fault = FAULTS[error.code] ?? 'malformed';
    throw operatorRefusal('file_not_csv', { line: firstLineAfter(linesRead, text), fault });
  }
  return records;
}

/** csv-parse bounds the characters of a record and not its separators: 60 MB of commas would be 60 million fields. */
function refuseLongLines(text: string): void {
  let line = 1;
  for (let start = 0; start < text.length; line++) {
    const next = text.indexOf('\n', start);
    const end = next < 0 ? text.length : next;
    if (end - start > CSV_RECORD_BYTES_MAX) throw operatorRefusal('file_not_csv', { line, fault: 'record_too_long' });
    start = end + 1;
  }
}

function countLineEnds(fields: readonly string[]): number {
  return fields.reduce((sum, field) => sum + field.split('\n').length - 1, 0);
}

/** Where the record that cannot be read begins: csv-parse notices a quote that does not close at the end of the text. */
function firstLineAfter(linesRead: number, text: string): number {
  const lines = text.split('\n');
  const next = lines.findIndex((line, at) => at >= linesRead && line.trim() !== '');
  return next < 0 ? lines.length : next + 1;
}
