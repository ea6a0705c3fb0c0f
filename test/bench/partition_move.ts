/** `tidings partition` itself on a plain table: what it takes, and what one writer at full speed feels of it. */
import { close, connect } from "../../src/db/client.ts";
import { partition } from "../../src/db/partition.ts";
import type { Bench } from "./bench.ts";
import { DAYS, type Filled, fill, lay } from "./layouts.ts";
import { percentile, table } from "./numbers.ts";

const ALONE_MS = 5_000;

export async function run(bench: Bench): Promise<string> {
  const rows = Number(bench.rows ?? bench.size(1_000_000, 20_000, 2_000));
  const start = new Date(Date.now() - DAYS * 86_400_000);
  const { url } = await bench.database();
  const filled = await fill(await lay(url, "plain", 0, start), "plain", rows, start);
  const began = performance.now();
  const before = await write(filled, url, () => performance.now() - began > ALONE_MS);
  const said: string[] = [];
  const moving = performance.now();
  let over = false;
  const moved = partition(url, {
    partitions: 16,
    batch: 5_000,
    signal: new AbortController().signal,
    tell: (text) => said.push(text),
    progress() {},
  }).finally(() => {
    over = true;
  });
  const during = await write(filled, url, () => over);
  await moved;
  const seconds = (performance.now() - moving) / 1_000;
  await close(filled.sql);
  const row = (name: string, waits: readonly number[], ms: number): (string | number)[] => [
    name,
    waits.length / (ms / 1_000),
    percentile(waits, 0.5),
    percentile(waits, 0.99),
    Math.max(...waits),
  ];
  return `\`tidings partition\` of ${rows.toLocaleString("en-US")} entries took ${Math.round(seconds)} s (${said.join(" ")})

${table(
  ["one writer", "sends per second", "p50 ms", "p99 ms", "longest ms"],
  [row("alone", before, ALONE_MS), row("while it was partitioned", during, seconds * 1_000)],
)}`;
}

async function write({ users }: Filled, url: string, over: () => boolean): Promise<number[]> {
  const sql = connect(url, { max: 1, name: "bench" });
  const waits: number[] = [];
  while (!over()) {
    const began = performance.now();
    const user = 1 + Math.floor(Math.random() * users);
    await sql`select tidings.send_notification(${user}::bigint, 'Task assigned', 'It was assigned to you', 'task_assigned')`;
    waits.push(performance.now() - began);
  }
  await close(sql);
  return waits;
}
