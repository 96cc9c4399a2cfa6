/** Compares the tables and indexes of a SQLite store, column by column, with those that this version creates. */
import { DatabaseSync } from 'node:sqlite';
import { MIGRATIONS } from '../migrations.ts';

/** Translates a statement for SQLite, where only INTEGER makes a primary key the row id. Its INTEGER has 64 bits. */
export function toSqlite(statement: string): string {
  return statement.replaceAll('BIGINT', 'INTEGER');
}

/** The names of tables and indexes that differ from those of a new store. What an operator added is ignored. */
export function findSchemaFaults(database: DatabaseSync): readonly string[] {
  const model = new DatabaseSync(':memory:');
  try {
    for (const statement of MIGRATIONS.flat()) model.exec(toSqlite(statement));
    return namesIn(model).filter((name) => shapeOf(model, name) !== shapeOf(database, name));
  } finally {
    model.close();
  }
}

function namesIn(database: DatabaseSync): readonly string[] {
  return database
    .prepare("SELECT name FROM sqlite_schema WHERE type IN ('table', 'index')")
    .all()
    .map(({ name }) => String(name));
}

/** A text that describes columns, types, sort orders and indexes. */
function shapeOf(database: DatabaseSync, name: string): string {
  const ask = (text: string): unknown => database.prepare(text).all(name);
  return JSON.stringify([
    ask('SELECT type, tbl_name FROM sqlite_schema WHERE name = ?'),
    ask('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'),
    ask('SELECT name, "desc", coll, key FROM pragma_index_xinfo(?)'),
    ask('SELECT name, "unique", origin, partial FROM pragma_index_list(?) ORDER BY name'),
  ]);
}
