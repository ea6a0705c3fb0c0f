/** Starts the server as it is shipped, limits out of the way, on a table whose trigger stages as those of sql/app do. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { signToken } from "../../src/auth/token.ts";
import type { Contender, Database, Workshop } from "./contender.ts";
import { INSPECT, probe } from "./probe.ts";
import { forwardErrors } from "./rpc.ts";

const SECRET = randomBytes(32).toString("base64url");
const SHIPPED = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export interface Tidings extends Contender {
  /** The sum of a Prometheus metric over all its labels. */
  metric(name: string): Promise<number>;
  /** The value of a header `authorization`. */
  bearer(user: number): Promise<string>;
}

export interface TidingsOptions {
  readonly name?: string;
  /** Main file of the build; default the one in dist/. */
  readonly main?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startTidings(shop: Workshop, database: Database, options: TidingsOptions = {}): Promise<Tidings> {
  const { name = "tidings", main = SHIPPED } = options;
  const env = { ...process.env, ...SETTINGS, ...options.env, DATABASE_URL: database.url, JWT_SECRET: SECRET };
  const child = spawn(process.execPath, [INSPECT, main, "serve"], { env, stdio: ["ignore", "pipe", "pipe"] });
  shop.undo(() => stopProcess(child));
  const [looking, url] = await Promise.all([probe(child), listening(child)]);
  forwardErrors(child);
  shop.undo(() => looking.close());
  await database.sql.unsafe(TRIGGER);
  const publish = { via: "trigger" } as const;
  const run = (text: string) => shop.writing().call("run", { url: database.url, text });
  const bearer = async (user: number): Promise<string> => `Bearer ${await signToken(SECRET, { user_id: user }, 3_600)}`;
  return {
    name,
    rival: false,
    kind: "ws",
    url,
    database,
    probe: looking,
    bearer,
    targets(users, path = "/ws/notifications/", query = "") {
      const base = path.startsWith("/ws") ? url.replace("http", "ws") : url;
      const full = `${base}${path}${query ? `?${query}` : ""}`;
      return Promise.all(users.map(async (user) => ({ user, url: full, authorization: await bearer(user) })));
    },
    async metric(wanted) {
      const token = await signToken(SECRET, { user_id: "bench", scope: "metrics" }, 60);
      const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
      const samples = (await answer.text()).split("\n").filter((line) => line.match(/^\w+/)?.[0] === wanted);
      return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
    },
    write: (rows) => shop.writing().call("write", { ...rows, url: database.url, table: "source" }),
    burst: (rows) => shop.writing().call("burst", { ...rows, url: database.url, publish }),
    broadcast: ({ recipients, n }) => run(broadcastText(recipients, n)),
    shout: (n) => run(`select tidings.notify_group('room_1', '{"type": "hello", "n": ${n}}')`),
  };
}

const SETTINGS = {
  PORT: "0",
  HOST: "127.0.0.1",
  DOMAIN: "off",
  DRAIN_SECONDS: "0",
  LOG_LEVEL: "warn",
  MAX_STREAMS_PER_USER: "100000",
};

const TRIGGER = `
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

const broadcastText = (recipients: number, n: number): string =>
  `select tidings.broadcast(array(select generate_series(1, ${recipients})::bigint), 'A row', 'Row ${n} was written', 'row',
    jsonb_build_object('n', ${n}))`;

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

/** Asks it to end, and after ten seconds makes it. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const cut = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await gone;
  clearTimeout(cut);
}
