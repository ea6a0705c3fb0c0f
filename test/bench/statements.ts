/**
 * Where the database's time goes, by pg_stat_statements (profiled runs alone load it): the statements of a database
 * with their total time, those inside functions included in the ones that called them.
 */
import type postgres from "postgres";
import { table } from "./numbers.ts";

const LINES = 12;

/** Forgets what was. */
export async function forgetStatements(sql: postgres.Sql): Promise<void> {
  await sql`create extension if not exists pg_stat_statements`;
  await sql`select pg_stat_statements_reset()`;
}

export async function statementTable(sql: postgres.Sql): Promise<string> {
  const rows = await sql<{ query: string; toplevel: boolean; calls: number; ms: number; us: number }[]>`
    select regexp_replace(query, '\\s+', ' ', 'g') as query, toplevel, calls::float8, total_exec_time as ms,
      1000 * total_exec_time / calls as us
    from pg_stat_statements where dbid = (select oid from pg_database where datname = current_database())
      and query not like '%pg_stat_statements%' and query not like '%pg_sleep%'
    order by total_exec_time desc limit ${LINES}`;
  const short = (text: string): string => (text.length > 90 ? `${text.slice(0, 87)}…` : text).replaceAll("|", "\\|");
  return table(
    ["statement", "inside a function", "calls", "ms in all", "µs each"],
    rows.map(({ query, toplevel, calls, ms, us }) => [`\`${short(query)}\``, toplevel ? "" : "yes", calls, ms, us]),
  );
}
