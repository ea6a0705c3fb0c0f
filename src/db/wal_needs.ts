/**
 * What a database must have so that its WAL can be read: looked at before it is tried, because Postgres tells one thing
 * at a time.
 */
import { TidingsError } from "../errors.ts";
import type { Sql } from "./client.ts";

export const PUBLICATION = "tidings";
/** Said by the owner of the table, once. */
const PUBLISH = `create publication ${PUBLICATION} for table tidings.notification with (publish = 'insert', publish_via_partition_root = true)`;

/** What is missing, and the statement or the words that mend it. */
export interface Need {
  readonly text: string;
  readonly mend: string;
}

/** The first thing that is missing; or how many more may read at the same time. */
export async function walNeeds(sql: Sql): Promise<Need | number> {
  const [row] = await sql<
    Record<"level" | "role", string>[] & Record<"may" | "published" | "owns", boolean>[] & { free: number }[]
  >`
    select current_setting('wal_level') as level, current_user::text as role,
      (select rolreplication or rolsuper from pg_roles where rolname = current_user) as may,
      exists (select from pg_publication where pubname = ${PUBLICATION}) as published,
      (select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass('tidings.notification')) as owns,
      least(current_setting('max_replication_slots')::int - (select count(*)::int from pg_replication_slots),
        current_setting('max_wal_senders')::int - (select count(*)::int from pg_stat_replication)) as free`;
  const { level, role, may, published, owns, free } = row!;
  if (level !== "logical") {
    return { text: `wal_level is ${level}`, mend: "alter system set wal_level = logical; then restart Postgres" };
  }
  if (!may) return { text: `the role ${role} may not read the WAL`, mend: `alter role "${role}" replication` };
  if (!published && owns !== true) {
    return { text: "the publication tidings is missing", mend: `as the role that migrates: ${PUBLISH}` };
  }
  return free;
}

/**
 * Makes sure that the publication is there. Only the table's owner may make it.
 * @throws TidingsError "configuration", with the statement for the owner
 */
export async function publish(sql: Sql): Promise<void> {
  const [found] = await sql`select from pg_publication where pubname = ${PUBLICATION}`;
  if (found) return;
  try {
    await sql.unsafe(PUBLISH);
  } catch (cause) {
    if ((cause as { code?: string }).code === "42710") return; // another instance was faster
    throw new TidingsError("configuration", `Run this as the role that migrates: ${PUBLISH}`, { cause });
  }
}
