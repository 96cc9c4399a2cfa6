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

/** The longest record. */
const CSV_RECORD_BYTES_MAX = 1_048_576;

const FAULTS: Readonly<Partial<Record<CsvErrorCode, CsvFault>>> = {
  INVALID_OPENING_QUOTE: 'quote_inside',
  CSV_INVALID_CLOSING_QUOTE: 'text_after_quote',
  CSV_QUOTE_NOT_CLOSED: 'quote_not_closed',
  CSV_MAX_RECORD_SIZE: 'record_too_long',
};

/** Up to `recordsMax` records of a text, without empty lines. Throws `OperatorRefusal` with the line of the first fault. */
export function parseCsv(text: string, separator: CsvSeparator, recordsMax: number): readonly CsvRecord[] {
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
        records.push({ line: lines - countLineEnds(fields), fields });
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

function countLineEnds(fields: readonly string[]): number {
  return fields.reduce((sum, field) => sum + field.split('\n').length - 1, 0);
}

/** Where the record that cannot be read begins: csv-parse notices a quote that does not close at the end of the text. */
function firstLineAfter(linesRead: number, text: string): number {
  const lines = text.split('\n');
  const next = lines.findIndex((line, at) => at >= linesRead && line.trim() !== '');
  return next < 0 ? lines.length : next + 1;
}
