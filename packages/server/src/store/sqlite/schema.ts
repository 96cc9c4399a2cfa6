/** Whether a store of the embedded engine has the tables and indexes that this version makes, column by column. */
import { DatabaseSync } from 'node:sqlite';
import { MIGRATIONS } from '../migrations.ts';

/** In SQLite only INTEGER makes a primary key the row's own place; its INTEGER is 64 bits wide. */
export function toSqlite(statement: string): string {
  return statement.replaceAll('BIGINT', 'INTEGER');
}

/** The tables and indexes in which a store differs from a new one, by name. What an operator added is let be. */
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

/** The columns with their types and orders, and what an index is of. */
function shapeOf(database: DatabaseSync, name: string): string {
  const ask = (text: string): unknown => database.prepare(text).all(name);
  return JSON.stringify([
    ask('SELECT type, tbl_name FROM sqlite_schema WHERE name = ?'),
    ask('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'),
    ask('SELECT name, "desc", coll, key FROM pragma_index_xinfo(?)'),
    ask('SELECT name, "unique", origin, partial FROM pragma_index_list(?) ORDER BY name'),
  ]);
}
