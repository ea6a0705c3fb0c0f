/**
 * Offices: what one instance of all does for the rest, or what an instance tells the writers about itself. Each is an
 * advisory lock of a session, held on the instance's own connection (db/listener.ts), and so goes with it.
 */
import type { Sql } from "./client.ts";

/** 'tidi'; the writers' side of these keys is in sql/tidings/functions/announce.sql. */
const LOCK_CLASS = 1953063017;

export const OFFICE = {
  /** Announces for busy writers, and keeps house (db/relay.ts). Keys 1 to 3 are the writers' own. */
  relay: 0,
  /** Tells writers that the WAL is read for all who want to hear (feed/claims.ts). */
  walFed: 4,
  /** Held shared by every instance that hears by NOTIFY: then who holds `walFed` must announce. */
  needsNotify: 5,
  /** Publishes to the bus (feed/bus_relay.ts). */
  busRelay: 6,
  /** Reads the WAL for FEED=wal, and announces it by NOTIFY (feed/wal_way.ts). */
  announcing: 7,
} as const;

export type Office = (typeof OFFICE)[keyof typeof OFFICE];

export interface Holder {
  /** The process id of its session. */
  readonly pid: number;
  /** Since the last thing it asked was answered; null while something is being done, or where that is not to be seen. */
  readonly idleMs: number | null;
}

/** Who holds what: looked at once each heartbeat. */
export interface Roster {
  /** Of the offices that one holds alone. */
  readonly holders: Readonly<Partial<Record<Office, Holder>>>;
  /** Somebody shares `needsNotify`. */
  readonly needsNotify: boolean;
}

/**
 * Milliseconds without a question, of a holder that asks one every second or five: from then on others make up for it, and
 * from then on its session is ended.
 */
const ABSENT_MS = 3_000;
const GIVEN_UP_MS = 10_000;

/**
 * Sessions of other roles are seen idle by members of pg_read_all_stats only. The function is half as much work as the
 * view pg_stat_activity over it.
 */
export async function look(sql: Sql): Promise<Roster> {
  const [row] = await sql<{ holders: ({ office: Office } & Holder)[] | null; needsNotify: boolean }[]>`
    with held as materialized (
      select objid::int as office, pid, mode from pg_locks
      where locktype = 'advisory' and classid = ${LOCK_CLASS} and objsubid = 2 and granted
        and objid::int = any(${Object.values(OFFICE)}::int[]) and pid is not null
        and database = (select oid from pg_database where datname = current_database()))
    select exists (select from held where office = ${OFFICE.needsNotify} and mode = 'ShareLock') as "needsNotify", (
      select json_agg(json_build_object('office', office, 'pid', held.pid, 'idleMs',
        case when state = 'idle' then extract(epoch from clock_timestamp() - state_change)::float8 * 1000 end))
      from held left join lateral pg_stat_get_activity(held.pid) on true where mode = 'ExclusiveLock') as holders`;
  const { holders, needsNotify } = row!;
  return { needsNotify, holders: Object.fromEntries((holders ?? []).map(({ office, ...one }) => [office, one])) };
}

/** Whether it is there and does not run: a stopped process, a paused machine, a connection that leads nowhere. */
export const isAbsent = (holder: Holder | undefined): boolean => (holder?.idleMs ?? 0) > ABSENT_MS;

/** Takes the office, unless somebody holds it. Waits at most 50 ms. */
export async function takeOffice(connection: Sql, office: Office, { holders }: Roster): Promise<boolean> {
  if (holders[office]) return false;
  const [row] = await connection<{ won: boolean }[]>`select pg_try_advisory_lock(${LOCK_CLASS}, ${office}) as won`;
  return row!.won || (await stand(connection, office));
}

/**
 * Busy writers may hold a key shared all the time, and a try then never meets it free. One that waits stops further
 * writers from taking it; they hold it for one commit.
 */
async function stand(connection: Sql, office: Office): Promise<boolean> {
  try {
    // one text, not connection.begin: the driver ends the process when the connection is lost in the middle of one
    await connection
      .unsafe(`set local lock_timeout = '50ms'; select pg_advisory_lock(${LOCK_CLASS}, ${office})`)
      .simple();
    return true;
  } catch {
    return false;
  }
}

export async function leaveOffice(connection: Sql, office: Office): Promise<void> {
  await connection`select pg_advisory_unlock(${LOCK_CLASS}, ${office})`;
}

/** Holds it together with others; for `needsNotify`, which is never taken alone. */
export async function shareOffice(connection: Sql, office: Office): Promise<void> {
  await connection`select pg_advisory_lock_shared(${LOCK_CLASS}, ${office})`;
}

export async function unshareOffice(connection: Sql, office: Office): Promise<void> {
  await connection`select pg_advisory_unlock_shared(${LOCK_CLASS}, ${office})`;
}

/**
 * Ends the sessions of holders that have been absent for long: their offices are free at once, and whatever they do later,
 * they cannot say it in that office. Where the role may not, nothing is done.
 */
export async function endAbsent(sql: Sql, { holders }: Roster): Promise<void> {
  const pids = Object.values(holders).flatMap(({ pid, idleMs }) => ((idleMs ?? 0) > GIVEN_UP_MS ? [pid] : []));
  if (pids.length === 0) return;
  await sql`
    select pg_terminate_backend(pid) from pg_stat_activity join pg_roles on pg_roles.oid = usesysid
    where pid = any(${pids}::int[]) and state = 'idle' and clock_timestamp() - state_change > ${GIVEN_UP_MS} * interval '1 ms'
      and case when rolsuper then current_setting('is_superuser')::bool else pg_has_role(usesysid, 'usage') end`;
}
