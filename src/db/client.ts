/**
 * Connections to Postgres. Whoever calls `connect` owns what it returns and ends it with `close`; a pool that is not
 * ended keeps the process alive. bigint columns arrive as numbers: ids and counters stay far below 2^53. A value
 * beyond that arrives as text, which JSON can carry and which loses nothing. Arrays: see arrays.ts.
 */
import postgres from "postgres";
import { arrayTypes } from "./arrays.ts";

/** A pool, as everything that asks Postgres is handed it. */
export type Sql = postgres.Sql;
/** The `sql` of one open transaction, as the callback of `sql.begin` gets it. */
export type Tx = postgres.TransactionSql;

export interface ConnectOptions {
  /** Most connections open at once. Default 10. */
  max?: number;
  /** Shown in pg_stat_activity behind "tidings". */
  name?: string;
}

export const BIGINT = 20;

/** Numbers where they are exact. */
export function parseBigint(text: string): number | string {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : text;
}

/** What every connection of this server is opened with. */
export function connectionOptions(name?: string): postgres.Options<Record<string, postgres.PostgresType>> {
  return {
    connect_timeout: 10,
    // Seconds until a lost connection is tried again. The driver's own grows to 20: streams would wait that long for a
    // database that is back already.
    backoff: (failures) => Math.min(2, 0.05 * 2 ** failures) * (0.5 + Math.random() / 2),
    // A connection stays for as long as it works: closing idle ones would only make the next wake slower.
    idle_timeout: undefined,
    max_lifetime: null,
    // Seconds of silence until the kernel asks whether the other side is still there (postgres.js: 60).
    keep_alive: 15,
    onnotice: () => {},
    connection: { application_name: name ? `tidings ${name}` : "tidings" },
    fetch_types: false,
    types: {
      bigint: { to: BIGINT, from: [BIGINT], serialize: String, parse: parseBigint },
      ...arrayTypes(parseBigint),
    },
  };
}

/**
 * Opens a pool; connections are made when they are first needed, so a wrong address shows at the first query.
 * Settings in the URL's query (`sslmode`, `prepare=false` for a pooler without prepared statements) apply.
 */
export function connect(url: string, { max = 10, name }: ConnectOptions = {}): Sql {
  return postgres(url, { ...connectionOptions(name), max });
}

/** Ends a pool: running queries get `seconds` (default 5) to finish, then their connections are closed. Never rejects. */
export async function close(sql: Sql, seconds = 5): Promise<void> {
  await sql.end({ timeout: seconds }).catch(() => {});
}
