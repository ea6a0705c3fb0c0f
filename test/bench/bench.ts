/**
 * What every scenario is handed: a Postgres, databases on it, servers and clients as child processes, a place for its
 * figures. Everything made here is stopped by `stop()`, also what a scenario that was cut short still tries to make.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import postgres from "postgres";
import { channelsMissing, startChannels } from "./channels.ts";
import { startCluster } from "./cluster.ts";
import type { Contender, Database, Server, Workshop } from "./contender.ts";
import { createFigures, type Figure } from "./figures.ts";
import { type Floor, startFloor } from "./floor.ts";
import { hotTable } from "./hot.ts";
import type { LoadHandlers, Target } from "./load_process.ts";
import { nchanMissing, startNchan } from "./nchan.ts";
import { type Child, startChild } from "./rpc.ts";
import { startSocketIo } from "./socketio.ts";
import { forgetStatements, statementTable } from "./statements.ts";
import { startTidings, type Tidings, type TidingsOptions } from "./tidings.ts";
import type { WriterHandlers } from "./writer_process.ts";

export type { Contender, Database, Server } from "./contender.ts";
export type { Floor } from "./floor.ts";
export type { Tidings } from "./tidings.ts";

/** Others that do what Tidings does, and what each needs that may not be there. */
export const RIVALS = {
  socketio: { start: startSocketIo, missing: (): string | undefined => undefined },
  channels: { start: startChannels, missing: channelsMissing },
  nchan: { start: startNchan, missing: nchanMissing },
} as const;
export type Rival = keyof typeof RIVALS;

export interface BenchOptions {
  readonly quick: boolean;
  /** Quick, and so small that the numbers mean nothing: to see that it works. */
  readonly tiny: boolean;
  /** Main file of another build, to be measured beside this one. */
  readonly against: string | undefined;
  /** Folder for CPU profiles of the servers. */
  readonly profiles: string | undefined;
  /** Those to measure beside the floor. */
  readonly rivals: readonly Rival[];
}

export interface Bench extends BenchOptions {
  /** The one of three sizes that this run is of. */
  size(full: number, quick: number, tiny: number): number;
  /** An empty database, with the table `source` that writers insert into. */
  database(): Promise<Database>;
  floor(database: Database): Promise<Floor>;
  /** @param main main file of the build; default the one in dist/ */
  tidings(database: Database, name?: string, main?: string, env?: TidingsOptions["env"]): Promise<Tidings>;
  /** The rivals of this run that are in `among`, each on a database of its own. */
  rivalsStarted(among?: readonly Rival[]): Promise<Contender[]>;
  /** Floor, Tidings, the other build where there is one, and the rivals, each on a database of its own. */
  contenders(among?: readonly Rival[], env?: TidingsOptions["env"]): Promise<[Floor, Tidings, ...Contender[]]>;
  /** A load process for each, with a stream open to each of its targets. */
  opened(
    contenders: readonly Contender[],
    targets: (one: Contender) => Promise<Target[]>,
  ): Promise<Map<Contender, Child<LoadHandlers>>>;
  load(): Child<LoadHandlers>;
  writer(): Child<WriterHandlers>;
  /** CPU milliseconds of Postgres so far. */
  postgresCpu(): number;
  /** Runs `work`, with `--profile` under a profile of the server, whose table follows the scenario's. */
  profiled<T>(server: Server, what: string, work: () => Promise<T>): Promise<T>;
  /** The profiles taken since it was last asked for, as Markdown. */
  profileReport(): string;
  /** A line for the table at the end. */
  figure(figure: Figure): void;
  figures(): string;
  /** Progress, on standard error. */
  say(text: string): void;
  /** Stops servers, clients and writers, and drops the databases: after each scenario. */
  clear(): Promise<void>;
  stop(): Promise<void>;
  /** One line about the Postgres. */
  readonly postgres: string;
}

export async function createBench(options: BenchOptions): Promise<Bench> {
  const cluster = await startCluster(options.profiles !== undefined);
  const workplace = createWorkplace();
  const { child } = workplace;
  const shop: Workshop = {
    undo: workplace.undo,
    writing: workplace.shared(() => child<WriterHandlers>("writer_process.ts")),
  };
  const figures = createFigures();

  async function database(): Promise<Database> {
    const name = `tidings_bench_${randomBytes(5).toString("hex")}`;
    await cluster.admin.unsafe(`create database ${name} template template0`);
    const url = Object.assign(new URL(cluster.url), { pathname: `/${name}` }).href;
    const sql = postgres(url, { max: 2, onnotice() {} });
    shop.undo(async () => {
      await sql.end({ timeout: 1 });
      await cluster.admin.unsafe(`drop database ${name} with (force)`);
    });
    await sql`create table source (n bigint primary key, user_id bigint not null)`;
    return { url, sql };
  }

  const load = (): Child<LoadHandlers> => child("load_process.ts");
  const floor: Bench["floor"] = (of) => startFloor(shop, of);
  const tidings: Bench["tidings"] = (of, name, main, env) =>
    startTidings(shop, of, { ...(name && { name }), ...(main && { main }), ...(env && { env }) });
  const rivalsStarted: Bench["rivalsStarted"] = (among = options.rivals) => {
    const wanted = options.rivals.filter((one) => among.includes(one));
    return Promise.all(wanted.map(async (one) => RIVALS[one].start(shop, await database())));
  };

  return {
    ...options,
    ...createProfiler(options.profiles),
    size: (full, quick, tiny) => (options.tiny ? tiny : options.quick ? quick : full),
    postgres: cluster.description,
    database,
    floor,
    tidings,
    rivalsStarted,
    async contenders(among, env) {
      const { against } = options;
      const [first, ours, other, rivals] = await Promise.all([
        database().then(floor),
        database().then((of) => tidings(of, undefined, undefined, env)),
        against ? [database().then((of) => tidings(of, "against", against, env))] : [],
        rivalsStarted(among),
      ]);
      return [first, ours, ...(await Promise.all(other)), ...rivals];
    },
    load,
    async opened(contenders, targets) {
      const loads = new Map(contenders.map((one) => [one, load()]));
      for (const one of contenders) {
        const order = { group: one.name, targets: await targets(one), kind: one.kind };
        await loads.get(one)!.call("open", order);
      }
      return loads;
    },
    writer: shop.writing,
    postgresCpu: cluster.cpu,
    figure: figures.add,
    figures: figures.report,
    say: (text) => process.stderr.write(`bench: ${text}\n`),
    clear: workplace.clear,
    async stop() {
      await workplace.close();
      await cluster.stop();
    },
  };
}

interface Workplace {
  child<H>(script: string): Child<H>;
  undo(one: () => Promise<unknown> | unknown): void;
  /** Made when first asked for, and anew after `clear`. */
  shared<T>(make: () => T): () => T;
  clear(): Promise<void>;
  close(): Promise<void>;
}

function createWorkplace(): Workplace {
  const done: (() => Promise<unknown> | unknown)[] = [];
  let round = 0;
  let closed = false;
  const undo: Workplace["undo"] = (one) => {
    if (!closed) done.push(one);
    else void (async () => one())().catch(() => {});
  };
  async function clear(): Promise<void> {
    round++;
    for (const one of done.splice(0).reverse()) {
      // one that cannot be stopped must not keep the others
      await (async () => one())().catch((error: unknown) => process.stderr.write(`bench: ${error}\n`));
    }
  }
  return {
    undo,
    clear,
    child<H>(script: string) {
      if (closed) throw new Error("the run is over");
      const one = startChild<H>(script);
      undo(() => one.stop());
      return one;
    },
    shared<T>(make: () => T) {
      let held: { round: number; one: T } | undefined;
      return () => {
        if (held?.round !== round) held = { round, one: make() };
        return held.one;
      };
    },
    async close() {
      closed = true;
      await clear();
    },
  };
}

function createProfiler(folder: string | undefined): Pick<Bench, "profiled" | "profileReport"> {
  const reports: string[] = [];
  return {
    async profiled(server, what, work) {
      if (!folder) return work();
      await forgetStatements(server.database.sql);
      const { result, profile } = await server.probe.profile(work);
      reports.push(`Where ${server.name}'s time goes: ${what}.`);
      if (profile) {
        const file = join(folder, `${server.name} ${what}.cpuprofile`.replaceAll(/[ /]+/g, "-"));
        writeFileSync(file, profile);
        reports.push(hotTable(profile));
      }
      reports.push(await statementTable(server.database.sql));
      return result;
    },
    profileReport: () => reports.splice(0).join("\n\n"),
  };
}
