/** Retention when it has been at it for a month, and new entries lie where old ones were: a day pruned, vacuumed and filled again, 30 times. */
import { close, type Sql } from "../../src/db/client.ts";
import type { Bench } from "./bench.ts";
import { DAYS, fill, insert, type Layout, lay } from "./layouts.ts";
import { median, table } from "./numbers.ts";

const BATCH = 1_000;
const SAMPLES = 20;

export async function run(bench: Bench): Promise<string> {
  const rows = Number(bench.rows ?? bench.size(1_000_000, 20_000, 2_000));
  const layouts = (bench.layouts ?? "plain,hash").split(",") as Layout[];
  const start = new Date(Date.now() - DAYS * 86_400_000);
  const lines: (string | number)[][] = [];
  for (const layout of layouts) {
    const { url } = await bench.database();
    const { sql, users } = await fill(await lay(url, layout, 16, start), layout, rows, start);
    const prune = async (day: number): Promise<[gone: number, ms: number]> => {
      const cutoff = new Date(start.getTime() + day * 86_400_000);
      const began = performance.now();
      const [row] = await sql<{ gone: number }[]>`select tidings.prune(${cutoff}, ${BATCH}) as gone`;
      return [row!.gone, performance.now() - began];
    };
    for (let day = 1; day <= DAYS; day++) {
      while ((await prune(day))[0] === BATCH);
      await sql`vacuum tidings.notification`;
      await insert(
        sql,
        { rows, users, start },
        rows + Math.floor(((day - 1) * rows) / DAYS),
        rows + Math.floor((day * rows) / DAYS),
      );
    }
    const times = { idle: [] as number[], due: [] as number[] };
    for (let at = 0; at < SAMPLES; at++) times.idle.push((await prune(DAYS))[1]);
    const pages = await pagesOf(sql, new Date(start.getTime() + DAYS * 86_400_000));
    for (let at = 0; at < SAMPLES; at++) times.due.push((await prune(DAYS + 1))[1]);
    lines.push([layout, pages, median(times.idle), median(times.due)]);
    await close(sql);
    await bench.clear();
  }
  return `After a month of pruning and refilling ${rows.toLocaleString("en-US")} entries:

${table(["", "pages read by a batch that finds nothing due", "the same, ms", "a batch of 1,000, ms"], lines)}`;
}

/** Pages looked at by one batch, in memory or not: what does not depend on the machine. */
async function pagesOf(sql: Sql, cutoff: Date): Promise<number> {
  const [row] = await sql<{ "QUERY PLAN": [{ Plan: Record<string, number> }] }[]>`
    explain (analyze, buffers, format json) select tidings.prune(${cutoff}, ${BATCH})`;
  const { "Shared Hit Blocks": hit, "Shared Read Blocks": read } = row!["QUERY PLAN"][0].Plan;
  return hit! + read!;
}
