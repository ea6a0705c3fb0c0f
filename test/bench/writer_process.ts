/** The writers: connections that insert one row per transaction, at a fixed rate or as fast as they can, and publish it. */
import postgres from "postgres";
import { clock, percentile } from "./numbers.ts";
import { type Publish, type Publisher, publisher } from "./publish.ts";
import { userOf } from "./row.ts";
import { serve } from "./rpc.ts";

/** What to write. */
export interface Rows {
  readonly users: number;
  /** Number of the first row. */
  readonly from: number;
  readonly seconds: number;
  /** Rows per second; 0: as fast as they can. */
  readonly rate: number;
  /** Default 8. */
  readonly connections?: number;
}

/** Where and how to write. */
export interface Job extends Rows {
  readonly url: string;
  readonly table: string;
  /** Default: a trigger does it. */
  readonly publish?: Publish;
}

/** Times by row, on the shared clock. */
export interface Written {
  readonly sent: Float64Array;
  /** When the row's transaction committed as Postgres has it; of nothing where it keeps no such times. */
  readonly committed: Float64Array;
  /** Milliseconds from sending to the writer's acknowledgement, published where it is the writer who does, median. */
  readonly ackMs: number;
}

/** To whom, and under which number. */
export interface Order {
  readonly recipients: number;
  readonly n: number;
}

/** On the shared clock. */
export interface Sent {
  readonly sent: number;
  /** All is written and published. */
  readonly acked: number;
}

interface Where {
  readonly url: string;
  readonly publish: Publish;
}

const TRIGGER: Publish = { via: "trigger" };
const pools = new Map<string, postgres.Sql>();
const publishers = new Map<string, Promise<Publisher>>();

function poolOf(url: string, connections: number): postgres.Sql {
  const key = `${connections} ${url}`;
  const pool = pools.get(key) ?? postgres(url, { max: connections, onnotice() {}, fetch_types: false });
  pools.set(key, pool);
  return pool;
}

function publisherOf({ url, publish = TRIGGER }: { url: string; publish?: Publish }): Promise<Publisher> {
  const key = `${publish.via} ${url}`;
  const one = publishers.get(key) ?? publisher(publish, url);
  publishers.set(key, one);
  return one;
}

async function timed(work: () => Promise<unknown>): Promise<Sent> {
  const sent = clock();
  await work();
  return { sent, acked: clock() };
}

const handlers = {
  async write(job: Job): Promise<Written> {
    const connections = job.connections ?? 8;
    const sql = poolOf(job.url, connections);
    const { one } = await publisherOf(job);
    await Promise.all(Array.from({ length: connections }, () => sql`select pg_sleep(0.02)`));
    const sent: number[] = [];
    const acks: number[] = [];
    const insert = async (): Promise<void> => {
      const n = job.from + sent.length;
      const user = userOf(n, job.users);
      const at = clock();
      sent.push(at);
      await sql`insert into ${sql(job.table)} (n, user_id) values (${n}, ${user})`;
      await one(user, n);
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
  /** Runs one statement. */
  async run({ url, text }: { url: string; text: string }): Promise<Sent> {
    const sql = poolOf(url, 1);
    await sql`select 1`;
    return timed(() => sql.unsafe(text));
  },
  /** Rows in one statement, and where no trigger does it, each is published by one of eight lanes then. */
  async burst({ from, count, users, ...where }: Where & { from: number; count: number; users: number }): Promise<Sent> {
    const sql = poolOf(where.url, 1);
    const { one } = await publisherOf(where);
    const numbers = Array.from({ length: count }, (_, at) => from + at);
    const owners = numbers.map((n) => userOf(n, users));
    await sql`select 1`;
    return timed(async () => {
      await sql`insert into source (n, user_id)
        select * from unnest(${`{${numbers}}`}::text::bigint[], ${`{${owners}}`}::text::bigint[])`;
      let next = 0;
      const lane = async (): Promise<void> => {
        for (let at = next++; at < count; at = next++) await one(owners[at]!, numbers[at]!);
      };
      await Promise.all(Array.from({ length: 8 }, lane));
    });
  },
  /** A row for each recipient in one statement, then published as one message to all of them. */
  async broadcast({ recipients, n, ...where }: Where & Order): Promise<Sent> {
    const sql = poolOf(where.url, 1);
    const { many } = await publisherOf(where);
    const users = Array.from({ length: recipients }, (_, at) => at + 1);
    await sql`select 1`;
    return timed(async () => {
      await sql`insert into source (n, user_id) select ${n}::bigint * 1000000 + u, u from generate_series(1, ${recipients}::int) u`;
      await many(users, n);
    });
  },
  /** A message to user 1 that no row stands for. */
  async shout({ n, ...where }: Where & { n: number }): Promise<Sent> {
    const { one } = await publisherOf(where);
    return timed(() => one(1, n));
  },
  /** When rows that another process wrote were committed. */
  commits: ({ url, from, count }: { url: string; from: number; count: number }): Promise<Float64Array> =>
    commitTimes(poolOf(url, 1), { from, table: "source" }, count),
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
async function commitTimes(sql: postgres.Sql, job: Pick<Job, "from" | "table">, count: number): Promise<Float64Array> {
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
