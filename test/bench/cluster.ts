/** The Postgres of a run: embedded, durable as it is shipped, commit times kept for the latencies; or BENCH_DATABASE_URL. */
import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import postgres from "postgres";
import { startEmbedded } from "../../src/embedded/start.ts";
import type { Database, Workshop } from "./contender.ts";
import { treeCpu } from "./processes.ts";

export interface Cluster {
  readonly url: string;
  readonly admin: postgres.Sql;
  /** One line about it. */
  readonly description: string;
  /** CPU milliseconds of the server and all its backends; NaN where it runs elsewhere. */
  cpu(): number;
  stop(): Promise<void>;
}

/** @param profiled with pg_stat_statements, which costs some */
export async function startCluster(profiled: boolean): Promise<Cluster> {
  const server = await start(profiled);
  const admin = postgres(server.url, { max: 1, onnotice() {} });
  const [row] = await admin`select current_setting('server_version') as version, current_setting('fsync') as fsync,
    current_setting('synchronous_commit') as sync, current_setting('shared_buffers') as buffers`;
  const pid = await admin`select split_part(pg_read_file('postmaster.pid'), chr(10), 1)::int as pid`.then(
    ([found]) => found!.pid as number,
    () => Number.NaN,
  );
  return {
    url: server.url,
    admin,
    description: `Postgres ${row!.version} (fsync ${row!.fsync}, synchronous_commit ${row!.sync}, shared_buffers ${row!.buffers})`,
    cpu: () => treeCpu(pid),
    async stop() {
      await admin.end({ timeout: 1 });
      await server.stop();
    },
  };
}

/** An empty database, with the table `source` that writers insert into. */
export async function createDatabase({ url: server, admin }: Cluster, shop: Workshop): Promise<Database> {
  const name = `tidings_bench_${randomBytes(5).toString("hex")}`;
  await admin.unsafe(`create database ${name} template template0`);
  const url = Object.assign(new URL(server), { pathname: `/${name}` }).href;
  const sql = postgres(url, { max: 2, onnotice() {} });
  shop.undo(async () => {
    await sql.end({ timeout: 1 });
    await admin.unsafe(`drop database ${name} with (force)`);
  });
  await sql`create table source (n bigint primary key, user_id bigint not null)`;
  return { url, sql };
}

async function start(profiled: boolean): Promise<{ url: string; stop(): Promise<void> }> {
  if (process.env.BENCH_DATABASE_URL) return { url: process.env.BENCH_DATABASE_URL, stop: async () => {} };
  const folder = mkdtempSync(join(tmpdir(), "tidings-bench-"));
  // As root the server runs under another account, which must reach its folder.
  chmodSync(folder, 0o711);
  const profiling = ["shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=all"];
  const flags = ["track_commit_timestamp=on", "max_connections=400", ...(profiled ? profiling : [])];
  const server = await startEmbedded({ dir: folder, flags });
  return {
    url: server.url,
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
