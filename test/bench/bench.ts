/**
 * What every scenario is handed: a Postgres, databases on it, servers and clients as child processes, a place for its
 * figures. Everything made here is stopped by `stop()`, also what a scenario that was cut short still tries to make.
 */
import process from "node:process";
import { channelsMissing, startChannels } from "./channels.ts";
import { type Cluster, createDatabase, startCluster } from "./cluster.ts";
import type { Contender, Database, Workshop } from "./contender.ts";
import { createFigures, type Figure } from "./figures.ts";
import { type Floor, startFloor } from "./floor.ts";
import type { LoadHandlers, Target } from "./load_process.ts";
import { nchanMissing, startNchan } from "./nchan.ts";
import { createProfiler, type Profiler } from "./profiler.ts";
import type { Child } from "./rpc.ts";
import { startSocketIo } from "./socketio.ts";
import { startTidings, type Tidings, type TidingsOptions } from "./tidings.ts";
import { createWorkplace } from "./workplace.ts";
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
  /** Entries of the scenario partition, and the layouts it measures. */
  readonly rows?: string | undefined;
  readonly layouts?: string | undefined;
  /** Those to measure beside the floor. */
  readonly rivals: readonly Rival[];
}

export interface Servers {
  /** An empty database, with the table `source` that writers insert into. */
  database(): Promise<Database>;
  floor(database: Database): Promise<Floor>;
  /** @param main main file of the build; default the one in dist/ */
  tidings(database: Database, name?: string, main?: string, env?: TidingsOptions["env"]): Promise<Tidings>;
  /** The rivals of this run that are in `among`, each on a database of its own. */
  rivalsStarted(among?: readonly Rival[]): Promise<Contender[]>;
  /** Floor, Tidings, the other build where there is one, and the rivals, each on a database of its own. */
  contenders(among?: readonly Rival[], env?: TidingsOptions["env"]): Promise<[Floor, Tidings, ...Contender[]]>;
}

export interface Bench extends BenchOptions, Servers, Profiler {
  /** The one of three sizes that this run is of. */
  size(full: number, quick: number, tiny: number): number;
  /** A load process for each, with a stream open to each of its targets. */
  opened(
    contenders: readonly Contender[],
    targets: (one: Contender) => Promise<Target[]>,
  ): Promise<Map<Contender, Child<LoadHandlers>>>;
  load(): Child<LoadHandlers>;
  writer(): Child<WriterHandlers>;
  /** Done when the scenario is over, before the servers made earlier are stopped. */
  undo(one: () => Promise<unknown>): void;
  /** CPU milliseconds of Postgres so far. */
  postgresCpu(): number;
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

  const load = (): Child<LoadHandlers> => child("load_process.ts");
  return {
    ...options,
    ...createProfiler(options.profiles),
    size: (full, quick, tiny) => (options.tiny ? tiny : options.quick ? quick : full),
    postgres: cluster.description,
    ...createServers(cluster, shop, options),
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
    undo: shop.undo,
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

function createServers(cluster: Cluster, shop: Workshop, options: BenchOptions): Servers {
  const database: Servers["database"] = () => createDatabase(cluster, shop);
  const floor: Servers["floor"] = (of) => startFloor(shop, of);
  const tidings: Servers["tidings"] = (of, name, main, env) =>
    startTidings(shop, of, { ...(name && { name }), ...(main && { main }), ...(env && { env }) });
  const rivalsStarted: Servers["rivalsStarted"] = (among = options.rivals) => {
    const wanted = options.rivals.filter((one) => among.includes(one));
    return Promise.all(wanted.map(async (one) => RIVALS[one].start(shop, await database())));
  };
  return {
    database,
    floor,
    tidings,
    rivalsStarted,
    async contenders(among, env) {
      const { against } = options;
      const [first, ours, other, rivals] = await Promise.all([
        database().then(floor),
        database().then((of) => tidings(of, undefined, undefined, env)),
        against ? database().then((of) => tidings(of, "against", against, env)) : null,
        rivalsStarted(among),
      ]);
      return [first, ours, ...(other ? [other] : []), ...rivals];
    },
  };
}
