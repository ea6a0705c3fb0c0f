/**
 * What partitioning tidings.notification gives and costs: the plain table, hash partitions of user_id and daily partitions, each
 * filled alike and measured alike, one at a time. `--rows N` (10,000,000; 200,000 with --quick), `--layouts plain,hash,range`.
 */
import postgres from "postgres";
import { close, connect, connectionOptions, type Sql } from "../../src/db/client.ts";
import { createEntries } from "../../src/db/entries.ts";
import type { Bench } from "./bench.ts";
import { DAYS, type Filled, fill, type Layout, lay } from "./layouts.ts";
import { median, percentile, table } from "./numbers.ts";

const PARTITIONS = 16;
/** Given to the pruning of a day; what is not done by then is told as a rate. */
const PRUNE_SECONDS = 60;
const BATCH = 1_000;

type Figures = Record<string, number>;

export async function run(bench: Bench): Promise<string> {
  const rows = Number(bench.rows ?? bench.size(10_000_000, 200_000, 4_000));
  const layouts = (bench.layouts ?? "plain,hash,range").split(",") as Layout[];
  const start = new Date(Date.now() - DAYS * 86_400_000);
  const measured = new Map<Layout, Figures>();
  for (const layout of layouts) {
    const database = await bench.database();
    const sql = await lay(database.url, layout, PARTITIONS, start);
    const began = performance.now();
    const filled = await fill(sql, layout, rows, start);
    console.error(`${layout}: ${rows} rows filled in ${Math.round((performance.now() - began) / 1_000)} s`);
    measured.set(layout, await measure(bench, filled, layout, database.url));
    console.error(JSON.stringify(measured.get(layout)));
    await sql.end();
    await bench.clear();
  }
  const names = Object.keys(measured.values().next().value!);
  const lines = names.map((name) => [name, ...layouts.map((layout) => measured.get(layout)![name] ?? Number.NaN)]);
  return `${rows.toLocaleString("en-US")} entries of ${rows / 100} users over ${DAYS} days; ${PARTITIONS} hash partitions, ${DAYS + 1} daily ones.

${table(["", ...layouts], lines)}`;
}

async function measure(bench: Bench, filled: Filled, layout: Layout, url: string): Promise<Figures> {
  const seconds = bench.size(5, 5, 0.2);
  return {
    ...(await sizes(filled)),
    ...(await reads(filled, url, bench.size(2_000, 200, 40))),
    ...(await sends(filled, url, 1, seconds)),
    ...(await sends(filled, url, 8, seconds)),
    ...(layout === "range" ? await dropDay(filled) : await pruneDay(filled)),
    ...(await vacuum(filled)),
  };
}

async function sizes({ sql, rows }: Filled): Promise<Figures> {
  const [row] = await sql<{ heap: number; indexes: number }[]>`
    select sum(pg_table_size(oid))::float8 as heap, sum(pg_indexes_size(oid))::float8 as indexes
    from pg_class where relnamespace = 'tidings'::regnamespace and relkind = 'r' and relname ~ '^notification(_p\\d+)?$'`;
  const per = rows * 1.048576;
  return { "table, MB per million": row!.heap / per, "indexes, MB per million": row!.indexes / per };
}

/** The reader of streams itself, on a connection that tells what it asks, which is then explained. */
async function reads({ users }: Filled, url: string, samples: number): Promise<Figures> {
  let asked: { text: string; values: (string | number | boolean)[] } | undefined;
  const sql = postgres(url, {
    ...connectionOptions("bench"),
    max: 1,
    debug(_connection, text, values) {
      if (text.includes("tidings.notification n") && !text.startsWith("explain")) asked = { text, values };
    },
  }) as Sql;
  let times: number[] = [];
  const most = { rows: 0 };
  // of what one burst became, the query that answered most
  const observe = (_query: string, seconds: number, rows: number): void => {
    if (rows > most.rows) times[times.length - 1] = seconds * 1_000;
    most.rows = Math.max(most.rows, rows);
  };
  const entries = createEntries({ sql, pageSize: 20, observe });
  const anyone = (): string => String(1 + Math.floor(Math.random() * users));
  const timed = async (many: number, each: number): Promise<number[]> => {
    times = [];
    for (let at = 0; at < many; at++) {
      times.push(0);
      most.rows = 0;
      await Promise.all(Array.from({ length: each }, () => entries.read(anyone(), 80, false)));
    }
    return times;
  };
  await timed(10, 1); // the plan is settled
  const one = await timed(samples, 1);
  const many = await timed(samples / 40, 200);
  const buffers = { hit: 0, read: 0, planning: [] as number[] };
  const explained = samples / 10;
  for (let at = 0; at < explained; at++) {
    await entries.read(anyone(), 80, false);
    const { text, values } = asked!;
    const explain = `explain (analyze, buffers, format json) ${text}`;
    const [row] = await sql.unsafe<{ "QUERY PLAN": Explained[] }[]>(explain, values);
    const { Plan: plan, "Planning Time": planning } = row!["QUERY PLAN"][0]!;
    buffers.hit += plan["Shared Hit Blocks"];
    buffers.read += plan["Shared Read Blocks"];
    buffers.planning.push(planning);
  }
  await sql.end();
  return {
    "replay of the newest 20, p50 ms": percentile(one, 0.5),
    "replay of the newest 20, p99 ms": percentile(one, 0.99),
    "its buffers hit": buffers.hit / explained,
    "its buffers read": buffers.read / explained,
    "its planning, ms (when not prepared)": median(buffers.planning),
    "20 each of 200 users in one query, p50 ms": percentile(many, 0.5),
    "20 each of 200 users in one query, p99 ms": percentile(many, 0.99),
  };
}

interface Explained {
  readonly Plan: { readonly "Shared Hit Blocks": number; readonly "Shared Read Blocks": number };
  readonly "Planning Time": number;
}

/** One entry per transaction, to random users. */
async function sends({ users }: Filled, url: string, lanes: number, seconds: number): Promise<Figures> {
  const sql = connect(url, { max: lanes, name: "bench" });
  const lane = async (end: number): Promise<number> => {
    let sent = 0;
    for (; performance.now() < end; sent++) {
      const user = 1 + Math.floor(Math.random() * users);
      await sql`select tidings.send_notification(${user}::bigint, 'Task assigned', 'It was assigned to you', 'task_assigned')`;
    }
    return sent;
  };
  const lanesFor = (ms: number): Promise<number[]> =>
    Promise.all(Array.from({ length: lanes }, () => lane(performance.now() + ms)));
  await lanesFor(seconds * 100); // warm
  const sent = (await lanesFor(seconds * 1_000)).reduce((sum, one) => sum + one, 0);
  await close(sql);
  return { [`sends per second, ${lanes} at a time`]: sent / seconds };
}

/** As the housekeeper does it, without its pauses. */
async function pruneDay({ sql, firstDay }: Filled): Promise<Figures> {
  const times: number[] = [];
  let pruned = 0;
  for (const began = performance.now(); performance.now() - began < PRUNE_SECONDS * 1_000; ) {
    const at = performance.now();
    const [row] = await sql<{ gone: number }[]>`select tidings.prune(${firstDay}, ${BATCH}) as gone`;
    times.push(performance.now() - at);
    pruned += row!.gone;
    if (row!.gone < BATCH) break;
  }
  const total = times.reduce((sum, one) => sum + one, 0);
  return {
    "first batch of 1,000 pruned, ms": times[0]!,
    "last batch, ms": times.at(-2) ?? Number.NaN,
    "entries pruned": pruned,
    "entries pruned per second": pruned / (total / 1_000),
  };
}

/** What dropping a day's partition takes beside the drop: floors and counts of its users. */
async function dropDay({ sql }: Filled): Promise<Figures> {
  const began = performance.now();
  const [row] = await sql<{ many: number }[]>`select count(*)::float8 as many from tidings.notification_p0`;
  await sql.begin(async (tx) => {
    await tx`
      update tidings.inbox i set floor_id = greatest(floor_id, gone.id), unread_count = unread_count - gone.unread from (
        select user_id, max(id) id, count(*) filter (where message is not null and not is_read and archived_at is null) unread
        from tidings.notification_p0 group by user_id) gone
      where gone.user_id = i.user_id`;
    await tx`drop table tidings.notification_p0`;
  });
  const seconds = (performance.now() - began) / 1_000;
  return { "entries pruned": row!.many, "entries pruned per second": row!.many / seconds };
}

async function vacuum({ sql }: Filled): Promise<Figures> {
  const began = performance.now();
  await sql`vacuum (analyze) tidings.notification`;
  return { "vacuum afterwards, s": (performance.now() - began) / 1_000 };
}
