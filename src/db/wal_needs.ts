/**
 * What a database must have so that its WAL can be read: looked at before it is tried, because Postgres tells one thing
 * at a time.
 */
import type { Sql } from "./client.ts";
import { type Need, publicationNeed } from "./publication.ts";

/** The first thing that is missing; or how many more may read at the same time. */
export async function walNeeds(sql: Sql): Promise<Need | number> {
  const [row] = await sql<{ level: string; role: string; may: boolean; free: number }[]>`
    select current_setting('wal_level') as level, current_user::text as role,
      (select rolreplication or rolsuper from pg_roles where rolname = current_user) as may,
      least(current_setting('max_replication_slots')::int - (select count(*)::int from pg_replication_slots),
        current_setting('max_wal_senders')::int - (select count(*)::int from pg_stat_replication)) as free`;
  const { level, role, may, free } = row!;
  if (level !== "logical") {
    return { text: `wal_level is ${level}`, mend: "alter system set wal_level = logical; then restart Postgres" };
  }
  if (!may) return { text: `the role ${role} may not read the WAL`, mend: `alter role "${role}" replication` };
  return (await publicationNeed(sql)) ?? free;
}
