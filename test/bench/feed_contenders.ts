/**
 * The contenders of the scenario feeds, each on a database of its own: every feed with two instances, and two that no
 * application would run, which show where NOTIFY stands: as it is written by hand, and with nobody told at all.
 */
import { close, connect } from "../../src/db/client.ts";
import { look, OFFICE, takeOffice } from "../../src/db/office.ts";
import { type EngineName, engine, engineProgram } from "../helpers/engine.ts";
import type { Bench, Database, Tidings } from "./bench.ts";
import type { LoadHandlers } from "./load_process.ts";
import type { Child } from "./rpc.ts";

export interface Feed {
  readonly name: string;
  readonly database: Database;
  readonly server: Tidings;
  /** The clients, a tenth of them on `server`; undefined where nobody is connected. */
  readonly load?: Child<LoadHandlers>;
}

export const ENGINES: readonly EngineName[] = ["redis", "nats"];

export async function startFeeds(bench: Bench, users: number): Promise<Feed[]> {
  const plain = await start(bench, "plain", { FEED: "notify" }, users);
  // the instances have migrated, and do so only when they start
  await plain.database.sql.unsafe(
    "create or replace function tidings.may_ring() returns boolean language sql volatile return true",
  );
  const feeds = [plain];
  for (const FEED of ["notify", "wal"]) feeds.push(await start(bench, FEED, { FEED }, users));
  for (const name of ENGINES.filter(engineProgram)) {
    feeds.push(await start(bench, name, { FEED: "bus", BUS_URL: await engineUrl(bench, name) }, users));
  }
  return [...feeds, await startSilent(bench)];
}

async function start(bench: Bench, name: string, env: Record<string, string>, users: number): Promise<Feed> {
  const database = await bench.database();
  // the first takes every office: relay of the doorbell, of the bus
  const big = await bench.tidings(database, `${name}, nine tenths`, undefined, env);
  const server = await bench.tidings(database, name, undefined, env);
  const load = bench.load();
  const all = Array.from({ length: users }, (_, at) => at + 1);
  const tenth = users / 10;
  await load.call("open", { group: "small", targets: await server.targets(all.slice(0, tenth)), kind: "ws" });
  await load.call("open", { group: "big", targets: await big.targets(all.slice(tenth)), kind: "ws" });
  return { name, database, server, load };
}

/** To the writers it looks as if the WAL were read. An instance with streams would look for their entries all the time. */
async function startSilent(bench: Bench): Promise<Feed> {
  const database = await bench.database();
  const server = await bench.tidings(database, "silent");
  const session = connect(database.url, { max: 1, name: "bench" });
  bench.undo(() => close(session));
  if (!(await takeOffice(session, OFFICE.walFed, await look(session))))
    throw new Error("somebody reads the WAL of silent");
  return { name: "silent", database, server };
}

async function engineUrl(bench: Bench, name: EngineName): Promise<string> {
  const one = await engine(name);
  bench.undo(() => one.stop("SIGKILL"));
  return one.url;
}
