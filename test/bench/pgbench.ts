/**
 * Writers that cost little CPU themselves: pgbench, a C program. As many rows as it can, one per transaction, numbered
 * by a sequence of the database, so without a gap from where the writer before stopped.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import process from "node:process";
import type postgres from "postgres";
import { findProgram } from "../helpers/program.ts";
import type { Bench, Database } from "./bench.ts";
import { userOfSql } from "./row.ts";
import { stopProcess } from "./tidings.ts";
import type { Rows } from "./writer_process.ts";

const DEBIAN = "/usr/lib/postgresql";
const SCRIPT = `insert into source (n, user_id) select n, ${userOfSql(":users")} from nextval('source_number') n;\n`;

function program(): string | undefined {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a)) : [];
  return findProgram(
    "pgbench",
    versions.map((version) => `${DEBIAN}/${version}/bin`),
  );
}

/** Why pgbench cannot write to be measured; undefined where it can. It tells no times itself, so Postgres has to. */
export async function pgbenchMissing(sql: postgres.Sql): Promise<string | undefined> {
  if (!program()) return "pgbench is not installed";
  const [row] = await sql`select current_setting('track_commit_timestamp')::bool as kept`;
  return row!.kept ? undefined : "track_commit_timestamp is off";
}

/** Resolves with the times of the commits by row, on the shared clock. @param rows for whole seconds; a rate is met on the average */
export async function pgbench(bench: Bench, { url, sql }: Database, rows: Rows): Promise<Float64Array> {
  const { from, users, rate, connections = 8 } = rows;
  await sql`create sequence if not exists source_number`;
  await sql`select setval('source_number', ${from}, false)`;
  const flags = { "-M": "prepared", "-c": connections, "-j": 1, "-T": Math.ceil(rows.seconds), "-D": `users=${users}` };
  const paced = rate > 0 ? { ...flags, "-R": Math.round(rate) } : flags;
  await run(bench, url, [...Object.entries(paced).flatMap(([name, value]) => [name, String(value)]), "-f", "-"]);
  const [row] = await sql<{ last: string }[]>`select last_value as last from source_number`;
  return bench.writer().call("commits", { url, from, count: Number(row!.last) - from + 1 });
}

/** The password travels in the environment: arguments can be read by everybody on the machine. */
async function run(bench: Bench, database: string, flags: readonly string[]): Promise<void> {
  const url = new URL(database);
  const env = { ...process.env, PGPASSWORD: decodeURIComponent(url.password) };
  url.password = "";
  const child = spawn(program()!, ["-n", ...flags, url.href], { env, stdio: ["pipe", "ignore", "pipe"] });
  bench.undo(() => stopProcess(child));
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-1_000);
  });
  child.stdin.on("error", () => {}).end(SCRIPT);
  const [code, signal] = await once(child, "close");
  if (code !== 0) throw new Error(`pgbench ended with ${signal ?? code}: ${said}`);
}
