/** The writers: eight connections that insert one row per transaction, at a fixed rate or as fast as they can. */
import postgres from "postgres";
import { clock, percentile } from "./numbers.ts";
import { userOf } from "./row.ts";
import { serve } from "./rpc.ts";

/** Where and how to write. */
export interface Job {
  readonly url: string;
  readonly table: string;
  readonly users: number;
  /** Number of the first row. */
  readonly from: number;
  readonly seconds: number;
  /** Rows per second; 0: as fast as they can. */
  readonly rate: number;
  /** Default 8. */
  readonly connections?: number;
}

/** Times by row, on the shared clock. */
export interface Written {
  readonly sent: Float64Array;
  /** When the row's transaction committed as Postgres has it; of nothing where it keeps no such times. */
  readonly committed: Float64Array;
  /** Milliseconds from sending to the writer's acknowledgement, median. */
  readonly ackMs: number;
}

const pools = new Map<string, postgres.Sql>();

function poolOf(url: string, connections: number): postgres.Sql {
  const key = `${connections} ${url}`;
  const pool = pools.get(key) ?? postgres(url, { max: connections, onnotice() {}, fetch_types: false });
  pools.set(key, pool);
  return pool;
}

const handlers = {
  async write(job: Job): Promise<Written> {
    const connections = job.connections ?? 8;
    const sql = poolOf(job.url, connections);
    await Promise.all(Array.from({ length: connections }, () => sql`select pg_sleep(0.02)`));
    const sent: number[] = [];
    const acks: number[] = [];
    const insert = async (): Promise<void> => {
      const n = job.from + sent.length;
      const at = clock();
      sent.push(at);
      await sql`insert into ${sql(job.table)} (n, user_id) values (${n}, ${userOf(n, job.users)})`;
      acks.push(clock() - at);
    };
    if (job.rate > 0) await paced(insert, job);
    else await flatOut(insert, job.seconds, connections);
    return {
      sent: Float64Array.from(sent),
      committed: await commitTimes(sql, job, sent.length),
      ackMs: percentile(acks, 0.5),
    };
  },
  /** Runs one statement; returns when it was sent and when it was acknowledged. */
  async run({ url, text }: { url: string; text: string }): Promise<{ sent: number; acked: number }> {
    const sql = poolOf(url, 1);
    await sql`select 1`;
    const sent = clock();
    await sql.unsafe(text);
    return { sent, acked: clock() };
  },
};

async function flatOut(insert: () => Promise<void>, seconds: number, connections: number): Promise<void> {
  const end = clock() + seconds * 1_000;
  const lane = async (): Promise<void> => {
    while (clock() < end) await insert();
  };
  await Promise.all(Array.from({ length: connections }, lane));
}

/** Each row at its time, however long the ones before it take. */
async function paced(insert: () => Promise<void>, { rate, seconds }: Job): Promise<void> {
  const began = clock();
  const all: Promise<void>[] = [];
  while (all.length < rate * seconds) {
    const due = Math.min(rate * seconds, ((clock() - began) / 1_000) * rate);
    while (all.length < due) all.push(insert());
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(all);
}

/** The server's clock against ours is asked for anew each time: the quickest answer of some tells it best. */
async function commitTimes(sql: postgres.Sql, job: Job, count: number): Promise<Float64Array> {
  const [setting] = await sql`select current_setting('track_commit_timestamp') as tracked`;
  if (setting!.tracked !== "on") return new Float64Array();
  let best = { trip: Number.POSITIVE_INFINITY, offset: 0 };
  for (let turn = 0; turn < 20; turn++) {
    const asked = clock();
    const [row] = await sql<{ ms: number }[]>`select extract(epoch from clock_timestamp())::float8 * 1000 as ms`;
    const trip = clock() - asked;
    if (trip < best.trip) best = { trip, offset: row!.ms - (asked + trip / 2) };
  }
  const rows = await sql<{ n: string; ms: number }[]>`
    select n, extract(epoch from pg_xact_commit_timestamp(xmin))::float8 * 1000 as ms from ${sql(job.table)}
    where n >= ${job.from} and n < ${job.from + count}`;
  const times = new Float64Array(count);
  for (const { n, ms } of rows) times[Number(n) - job.from] = ms - best.offset;
  return times;
}

export type WriterHandlers = typeof handlers;
serve(handlers);
