/**
 * A database with very many entries, made by SQL past all triggers: oldest first, users in turn, so that the entries of
 * one user lie far apart as they would after years. All are read but each user's newest fifty; user 2 has read nothing.
 */
import type postgres from "postgres";
import type { Bench, Database } from "./bench.ts";

export const UNREAD = 50;
export const HOARDER = 2;
const CHUNK = 500_000;

/** The database must have Tidings' tables, and nothing in them. */
export async function grow(bench: Bench, { sql }: Database, users: number, entries: number): Promise<void> {
  const each = entries / users;
  await sql.reserve().then(async (own) => {
    // as if restored: neither numbered nor announced, and no index kept up row by row
    await own`set session_replication_role = replica`;
    await own`set maintenance_work_mem = '512MB'`;
    const indexes = await dropIndexes(own);
    for (let from = 0; from < entries; from += CHUNK) {
      bench.say(`growth: ${from} of ${entries} entries`);
      await own`
        insert into tidings.notification (user_id, id, type, title, message, data, is_read, read_at, created_at)
        select u::text, id, 'row', 'A row', 'Row ' || id || ' was written', jsonb_build_object('n', id), read,
          case when read then now() end, now() - (${each}::int - id) * interval '1 minute'
        from (select at % ${users}::int + 1 as u, at / ${users}::int + 1 as id from generate_series(${from}::int, ${Math.min(entries, from + CHUNK) - 1}::int) at) s,
          lateral (select id <= ${each - UNREAD}::int and u <> ${HOARDER}::int as read) r`;
    }
    await own`
      insert into tidings.inbox (user_id, last_id, unread_count, delivered_id)
      select u::text, ${each}::bigint, case when u = ${HOARDER} then ${each}::bigint else ${UNREAD}::bigint end, ${each}::bigint
      from generate_series(1, ${users}::int) u`;
    bench.say("growth: indexes");
    for (const text of indexes) await own.unsafe(text);
    await own`reset session_replication_role`;
    own.release();
  });
  await sql`vacuum (analyze) tidings.notification, tidings.inbox`;
  await sql`checkpoint`;
}

/** Returns what makes them again. */
async function dropIndexes(sql: postgres.Sql): Promise<string[]> {
  const constraints = await sql<{ name: string; make: string }[]>`
    select quote_ident(conname) as name, format('alter table tidings.notification add constraint %I %s', conname, pg_get_constraintdef(oid)) as make
    from pg_constraint where conrelid = 'tidings.notification'::regclass and contype in ('p', 'u')`;
  for (const { name } of constraints) await sql.unsafe(`alter table tidings.notification drop constraint ${name}`);
  const others = await sql<{ name: string; make: string }[]>`
    select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as make
    from pg_index where indrelid = 'tidings.notification'::regclass`;
  for (const { name } of others) await sql.unsafe(`drop index ${name}`);
  return [...constraints, ...others].map(({ make }) => make);
}
