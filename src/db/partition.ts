/**
 * Partitions tidings.notification by hash of user_id while everybody goes on writing and reading
 * (how: sql/tidings/functions/partition.sql). Every step is a short transaction and is recorded: whatever ends this, running it again goes on.
 */

import { sleep } from "../deadline.ts";
import { TidingsError } from "../errors.ts";
import type { Sql } from "./client.ts";
import { FOLLOW_BATCH, follow } from "./partition_follow.ts";
import { exclusively, type PartitionOptions, passing, patiently, type Session } from "./partition_session.ts";
import { swap } from "./partition_swap.ts";

export interface PartitionState {
  readonly layout: "plain" | "hash" | "other";
  readonly partitions: number;
  /** A partitioning is under way. */
  readonly job: {
    readonly partitions: number;
    readonly done: number;
    readonly copied: number;
    readonly notes: number;
  } | null;
  /** The table from before is still there, with so many bytes. */
  readonly oldBytes: number | null;
}

/** What is copied takes so much longer than the pause after it. */
const WORK_PER_PAUSE = 2;
const COMPARE_USERS = 500;

/** Reads only; works for whoever may read the catalogs. */
export async function partitionState(sql: Sql): Promise<PartitionState> {
  const [row] = await sql<
    { kind: string | null; strategy: string | null; many: number; busy: boolean; old: number | null }[]
  >`
    select c.relkind::text as kind, p.partstrat::text as strategy,
      pg_total_relation_size(to_regclass('tidings.notification_old'))::float8 as old,
      (select count(*)::int from pg_inherits where inhparent = c.oid) as many, to_regclass('tidings.partition_job') is not null as busy
    from (select to_regclass('tidings.notification') as oid) t left join pg_class c using (oid)
    left join pg_partitioned_table p on p.partrelid = c.oid`;
  const { kind, strategy, many, busy, old } = row!;
  if (kind === null)
    throw new TidingsError("configuration", "There is no table tidings.notification: run `tidings migrate` first.");
  const layout = kind === "r" ? "plain" : strategy === "h" ? "hash" : "other";
  const [job] = busy
    ? await sql<NonNullable<PartitionState["job"]>[]>`
        select partitions, case when end_block = 0 then 1 else next_block::float8 / end_block end as done, copied::float8 as copied,
          (select count(*)::int from tidings.partition_log) as notes from tidings.partition_job`
    : [];
  return { layout, partitions: many, job: job ?? null, oldBytes: old };
}

/** @returns false where it was asked to stop before the end, or had nothing to do */
export async function partition(url: string, options: PartitionOptions): Promise<boolean> {
  return exclusively(url, async (first, second) => {
    const { layout, partitions, job } = await partitionState(first);
    if (layout !== "plain") {
      options.tell(`Nothing to do: tidings.notification has ${partitions} partitions.`);
      return false;
    }
    await refuseObstacles(first);
    if (!job) await patiently(first, options, (tx) => tx`select tidings.partition_begin(${options.partitions}::int)`);
    else if ((await first<{ changed: boolean }[]>`select tidings.partition_changed() as changed`)[0]!.changed) {
      const advice = "say `tidings partition --abort`, and begin again";
      throw new TidingsError("conflict", `tidings.notification was altered since its partitioning began: ${advice}.`);
    } else options.tell(`Going on at ${Math.floor(job.done * 100)} %, with ${job.partitions} partitions.`);
    if (!(await copy(first, options)) || !(await followAll(first, options))) return false;
    options.tell("Everything is copied; comparing.");
    await first`vacuum (analyze) tidings.notification_new`;
    return (await compare(first, options)) && (await swap(first, second, options));
  });
}

/** Undoes what is under way. @returns whether anything was */
export function abortPartition(url: string, options: Pick<PartitionOptions, "signal" | "tell">): Promise<boolean> {
  return exclusively(url, async (session) => {
    if (!(await partitionState(session)).job) return false;
    await patiently(session, options, (tx) => tx`select tidings.partition_abort()`);
    return true;
  });
}

/** Drops the table from before. @returns whether there was one */
export function dropOld(url: string, options: Pick<PartitionOptions, "signal" | "tell">): Promise<boolean> {
  return exclusively(url, async (session) => {
    if ((await partitionState(session)).oldBytes === null) return false;
    await patiently(session, options, (tx) => tx`drop table tidings.notification_old`);
    return true;
  });
}

async function refuseObstacles(session: Session): Promise<void> {
  const rows = await session<{ what: string }[]>`select what from tidings.partition_obstacles() what`;
  if (rows.length === 0) return;
  const list = rows.map(({ what }) => `\n  ${what}`).join("");
  throw new TidingsError("conflict", `tidings.notification cannot be partitioned; remove this first:${list}`);
}

async function copy(session: Session, options: PartitionOptions): Promise<boolean> {
  const { signal, batch, progress } = options;
  const began = performance.now();
  let from: number | undefined;
  for (let total = 0; ; ) {
    if (signal.aborted) return false;
    const at = performance.now();
    const { copied, done } = await orCatchUp(session, () => copySome(session, batch));
    const { noted } = await followed(session);
    if (done === 1) return true;
    total += copied;
    const seconds = (performance.now() - began) / 1_000;
    const left = from !== undefined && done > from ? `, ${duration(((1 - done) / (done - from)) * seconds)} left` : "";
    from ??= done;
    progress(`${Math.floor(done * 100)} % copied, ${Math.round(total / seconds)} rows a second${left}`);
    // no pause where writers are faster than the notes are followed
    if (noted < FOLLOW_BATCH) await sleep((performance.now() - at) / WORK_PER_PAUSE, signal);
  }
}

async function copySome(session: Session, batch: number): Promise<{ copied: number; done: number }> {
  const [row] = await session<{ copied: number; done: number }[]>`select * from tidings.partition_copy(${batch}::int)`;
  return row!;
}

/** Follows some of the notes. */
const followed = (session: Session): Promise<{ noted: number }> => orCatchUp(session, () => follow(session));

/** A row that met a newer note of another: settled once the log is followed. */
async function orCatchUp<T>(session: Session, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 50 || !passing(error)) throw error;
      await follow(session).catch(() => {});
    }
  }
}

/** Until the log is nearly empty. */
async function followAll(session: Session, { signal, progress }: PartitionOptions): Promise<boolean> {
  for (let total = 0; !signal.aborted; ) {
    const { noted } = await followed(session);
    total += noted;
    if (noted < FOLLOW_BATCH / 10) return true;
    progress(`following what was written meanwhile: ${total} changes`);
  }
  return false;
}

/** Every user, in ranges; who is written to just then is looked at again, a little later. */
async function compare(session: Session, { signal, tell, progress }: PartitionOptions): Promise<boolean> {
  let [entries, busy, after] = [0, 0, ""];
  for (let again = 0; ; ) {
    if (signal.aborted) return false;
    await followed(session);
    const [row] = await session<{ last_user: string | null; entries: number; busy: number; wrong: string[] | null }[]>`
      select last_user, entries::float8 as entries, busy::int as busy, wrong
      from tidings.partition_compare(${after}::text, ${COMPARE_USERS}::int)`;
    const { last_user, wrong } = row!;
    if (wrong) {
      const shown = wrong.slice(0, 5).join(", ");
      throw new TidingsError(
        "internal",
        `The copy differs for ${wrong.length} users (${shown}). Nothing was changed: say \`tidings partition --abort\`, and report this.`,
      );
    }
    if (row!.busy > 0 && again++ < 3) continue;
    again = 0;
    busy += row!.busy;
    entries += row!.entries;
    progress(`${entries} entries compared`);
    if (last_user === null) break;
    after = last_user;
  }
  tell(
    `${entries} entries compared and equal${busy > 0 ? `; ${busy} users were written to all the while and left out` : ""}.`,
  );
  return true;
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5_400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}
