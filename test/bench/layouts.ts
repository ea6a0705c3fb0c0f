/**
 * tidings.notification in three layouts, filled by SQL with entries as 30 days of traffic leave them: in the order of time, each
 * user's sequence dense, four of five read. Rows first, indexes afterwards, numbering bypassed and inboxes set to match.
 */
import { connect, type Sql } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";

export type Layout = "plain" | "hash" | "range";

export interface Filled {
  readonly sql: Sql;
  readonly rows: number;
  readonly users: number;
  /** When the first day of entries is over. */
  readonly firstDay: Date;
}

export const DAYS = 30;
const ENTRIES_PER_USER = 100;
const CHUNK = 1_000_000;
const DAY_MS = 86_400_000;

/** An empty, migrated database in this layout. What belonged to the plain table is made again by the migrator. */
export async function lay(url: string, layout: Layout, partitions: number, start: Date): Promise<Sql> {
  const sql = connect(url, { max: 4, name: "bench" });
  await migrate(sql, { domain: false });
  if (layout === "plain") return sql;
  await sql.unsafe(`create table tidings.laid (like tidings.notification including defaults)
    partition by ${layout === "hash" ? "hash (user_id)" : "range (created_at)"}`);
  await sql.unsafe("drop table tidings.notification cascade; alter table tidings.laid rename to notification");
  for (let at = 0; at < (layout === "hash" ? partitions : DAYS + 1); at++) {
    const bound = (day: number): string => new Date(start.getTime() + day * DAY_MS).toISOString();
    await sql.unsafe(
      `create table tidings.notification_p${at} partition of tidings.notification for values ${
        layout === "hash"
          ? `with (modulus ${partitions}, remainder ${at})`
          : `from ('${bound(at)}') to (${at === DAYS ? "maxvalue" : `'${bound(at + 1)}'`})`
      }`,
    );
  }
  await sql`delete from tidings.migration where name = 'tidings/functions'`;
  await migrate(sql, { domain: false });
  return sql;
}

/** By time, uniqueness cannot be held over the table: the key of a partition must have the time in it. */
export const indexesOf = (layout: Layout): readonly string[] => [
  `alter table tidings.notification add constraint notification_pkey primary key (user_id, id${layout === "range" ? ", created_at" : ""})`,
  `create ${layout === "range" ? "" : "unique "}index notification_key on tidings.notification (user_id, key) where key is not null`,
  `create index notification_unread on tidings.notification (user_id, type)
    where message is not null and not is_read and archived_at is null`,
  "create index notification_created on tidings.notification (created_at)",
];

export async function fill(sql: Sql, layout: Layout, rows: number, start: Date): Promise<Filled> {
  const users = rows / ENTRIES_PER_USER;
  await sql`drop index if exists tidings.notification_key, tidings.notification_unread, tidings.notification_created`;
  await sql`alter table tidings.notification drop constraint if exists notification_pkey`;
  for (let from = 0; from < rows; from += CHUNK)
    await insert(sql, { rows, users, start }, from, Math.min(rows, from + CHUNK));
  for (const statement of indexesOf(layout)) await sql.unsafe(statement);
  await bare(
    sql,
    (tx) => tx`
    insert into tidings.inbox (user_id, last_id, unread_count)
    select user_id, max(id), count(*) filter (where not is_read) from tidings.notification group by user_id`,
  );
  await sql`vacuum (analyze) tidings.notification`;
  await sql`vacuum (analyze) tidings.inbox`;
  return { sql, rows, users, firstDay: new Date(start.getTime() + DAY_MS) };
}

/** Entries number `from` up to `to`, which may go on after those of `fill`. */
export async function insert(
  sql: Sql,
  { rows, users, start }: { rows: number; users: number; start: Date },
  from: number,
  to: number,
): Promise<void> {
  await bare(
    sql,
    (tx) => tx`
      insert into tidings.notification (user_id, id, type, title, message, data, is_read, read_at, created_at)
      select ((n * 7919) % ${users}::bigint + 1)::text, n / ${users}::bigint + 1, 'task_assigned', 'Task assigned',
        'Task "Quarterly report ' || n || '" was assigned to you', jsonb_build_object('task_id', n), n % 5 <> 0,
        case when n % 5 <> 0 then at + interval '1 hour' end, at
      from (select n, ${start}::timestamptz + n * (${DAYS * 86_400}::float8 / ${rows}::float8) * interval '1 second' as at
        from generate_series(${from}::bigint, ${to - 1}::bigint) n) rows`,
  );
}

/** Without triggers: entries would be refused, and inboxes are set by themselves. */
async function bare(sql: Sql, work: (tx: Parameters<Parameters<Sql["begin"]>[1]>[0]) => unknown): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await work(tx);
  });
}
