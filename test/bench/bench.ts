/**
 * What every scenario is handed: a Postgres, databases on it, servers and clients as child processes. Everything made
 * here is stopped by `stop()`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { signToken } from "../../src/auth/token.ts";
import { startEmbedded } from "../../src/embedded/start.ts";
import type { FloorHandlers } from "./floor_server.ts";
import type { LoadHandlers, Target } from "./load_process.ts";
import { INSPECT, type Probe, probe } from "./probe.ts";
import { type Child, forwardErrors, startChild } from "./rpc.ts";
import type { WriterHandlers } from "./writer_process.ts";

const SECRET = randomBytes(32).toString("base64url");
const SHIPPED = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export interface BenchOptions {
  readonly quick: boolean;
  /** Main file of another build, to be measured beside this one. */
  readonly against: string | undefined;
  /** Folder for CPU profiles of the servers at saturation. */
  readonly profiles: string | undefined;
  /** Entries of the scenario partition, and the layouts it measures. */
  readonly rows?: string | undefined;
  readonly layouts?: string | undefined;
}

/** A server under measurement. */
export interface Server {
  readonly name: string;
  readonly url: string;
  readonly database: Database;
  readonly probe: Probe;
  /** Where a user's stream is opened; `query` without its question mark. */
  targets(users: readonly number[], path?: string, query?: string): Promise<Target[]>;
}

export interface Database {
  readonly url: string;
  readonly sql: postgres.Sql;
}

export interface Tidings extends Server {
  /** The sum of a Prometheus metric over all its labels. */
  metric(name: string): Promise<number>;
}

export interface Floor extends Server {
  readonly child: Child<FloorHandlers>;
}

export interface Bench extends BenchOptions {
  /** An empty database, with the table `source` that writers insert into. */
  database(): Promise<Database>;
  floor(database: Database): Promise<Floor>;
  /** @param main main file of the build; default the one in dist/ */
  tidings(database: Database, name?: string, main?: string): Promise<Tidings>;
  load(): Child<LoadHandlers>;
  writer(): Child<WriterHandlers>;
  /** Stops servers, clients and writers, and drops the databases: after each scenario. */
  clear(): Promise<void>;
  stop(): Promise<void>;
  /** One line about the Postgres. */
  readonly postgres: string;
}

export async function createBench(options: BenchOptions): Promise<Bench> {
  const server = await startPostgres();
  const admin = postgres(server.url, { max: 1, onnotice() {} });
  const undo: (() => Promise<unknown>)[] = [];
  const children = <H>(script: string): Child<H> => {
    const child = startChild<H>(script);
    undo.push(() => child.stop());
    return child;
  };

  async function database(): Promise<Database> {
    const name = `tidings_bench_${randomBytes(5).toString("hex")}`;
    await admin.unsafe(`create database ${name} template template0`);
    const url = Object.assign(new URL(server.url), { pathname: `/${name}` }).href;
    const sql = postgres(url, { max: 2, onnotice() {} });
    undo.push(async () => {
      await sql.end({ timeout: 1 });
      await admin.unsafe(`drop database ${name} with (force)`);
    });
    await sql`create table source (n bigint primary key, user_id bigint not null)`;
    return { url, sql };
  }

  async function floor(of: Database): Promise<Floor> {
    await of.sql.unsafe(FLOOR_TRIGGER);
    const child = startChild<FloorHandlers>("floor_server.ts", [INSPECT]);
    undo.push(() => child.stop());
    const [looking, url] = await Promise.all([probe(child.process), child.call("start", { url: of.url })]);
    undo.push(async () => looking.close());
    const targets: Server["targets"] = async (users, _path, query) =>
      users.map((user) => ({ user, url: `${url}/${user}${query ? `?${query}` : ""}` }));
    return { name: "floor", url, database: of, probe: looking, child, targets };
  }

  async function tidings(of: Database, name = "tidings", main = SHIPPED): Promise<Tidings> {
    const env = { ...process.env, ...SETTINGS, DATABASE_URL: of.url, JWT_SECRET: SECRET };
    const child = spawn(process.execPath, [INSPECT, main, "serve"], { env, stdio: ["ignore", "pipe", "pipe"] });
    undo.push(() => stopServer(child));
    const [looking, url] = await Promise.all([probe(child), listening(child)]);
    forwardErrors(child);
    undo.push(async () => looking.close());
    await of.sql.unsafe(TIDINGS_TRIGGER);
    const targets: Server["targets"] = (users, path = "/ws/notifications/", query = "") =>
      Promise.all(
        users.map(async (user) => ({
          user,
          url: `${path.startsWith("/ws") ? url.replace("http", "ws") : url}${path}${query ? `?${query}` : ""}`,
          authorization: `Bearer ${await signToken(SECRET, { user_id: user }, 3_600)}`,
        })),
      );
    const metric = async (wanted: string): Promise<number> => {
      const token = await signToken(SECRET, { user_id: "bench", scope: "metrics" }, 60);
      const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
      const samples = (await answer.text()).split("\n").filter((line) => line.match(/^\w+/)?.[0] === wanted);
      return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
    };
    return { name, url, database: of, probe: looking, targets, metric };
  }

  async function clear(): Promise<void> {
    for (const one of undo.splice(0).reverse()) await one();
  }

  return {
    ...options,
    postgres: await describePostgres(admin),
    database,
    floor,
    tidings,
    load: () => children<LoadHandlers>("load_process.ts"),
    writer: () => children<WriterHandlers>("writer_process.ts"),
    clear,
    async stop() {
      await clear();
      await admin.end({ timeout: 1 });
      await server.stop();
    },
  };
}

/** Limits out of the way; the rest as it is shipped. */
const SETTINGS = {
  PORT: "0",
  HOST: "127.0.0.1",
  DOMAIN: "off",
  DRAIN_SECONDS: "0",
  LOG_LEVEL: "warn",
  MAX_STREAMS_PER_USER: "100000",
};

/** The texts are the same on both sides, so that the payloads are of one size. */
const FLOOR_TRIGGER = `
  create function notify_floor() returns trigger language plpgsql as $$
  begin
    perform pg_notify('floor', jsonb_build_object('to', new.user_id, 'type', 'notification', 'id', new.n, 'data',
      jsonb_build_object('id', new.n, 'notification_id', new.n, 'title', 'A row', 'message', 'Row ' || new.n || ' was written',
        'notification_type', 'row', 'is_read', false, 'created_at', clock_timestamp(), 'timestamp', clock_timestamp(),
        'data', jsonb_build_object('n', new.n), 'n', new.n))::text);
    return null;
  end $$;
  create trigger notify_floor after insert on source for each row execute function notify_floor()`;

/** As the triggers of sql/app do. */
const TIDINGS_TRIGGER = `
  create or replace function publish_source() returns trigger language plpgsql security definer
  set search_path = public, pg_temp as $$
  begin
    insert into tidings.outbox (kind, target, type, title, message, data)
    select 'e', user_id::text, 'row', 'A row', 'Row ' || n || ' was written', jsonb_build_object('n', n)
    from written order by n;
    return null;
  end $$;
  create or replace trigger publish_source after insert on source
    referencing new table as written for each statement execute function publish_source()`;

interface Postgres {
  readonly url: string;
  stop(): Promise<void>;
}

/** Durable, as it is shipped; commit times are kept for the latencies. */
async function startPostgres(): Promise<Postgres> {
  if (process.env.BENCH_DATABASE_URL) return { url: process.env.BENCH_DATABASE_URL, stop: async () => {} };
  const folder = mkdtempSync(join(tmpdir(), "tidings-bench-"));
  // As root the server runs under another account, which must reach its folder.
  chmodSync(folder, 0o711);
  const server = await startEmbedded({ dir: folder, flags: ["track_commit_timestamp=on"] });
  return {
    url: server.url,
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function describePostgres(sql: postgres.Sql): Promise<string> {
  const [row] = await sql`select current_setting('server_version') as version, current_setting('fsync') as fsync,
    current_setting('synchronous_commit') as sync, current_setting('shared_buffers') as buffers`;
  return `Postgres ${row!.version} (fsync ${row!.fsync}, synchronous_commit ${row!.sync}, shared_buffers ${row!.buffers})`;
}

function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout!.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const found = /listening on (\S+)/.exec(text);
      if (found) resolve(found[1]!);
    });
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
}

async function stopServer(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const cut = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await gone;
  clearTimeout(cut);
}
