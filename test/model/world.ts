/**
 * What a history runs in, and what can be broken in it: a Postgres of its own, several instances as processes, each
 * with a lossy proxy before its LISTEN connection and the WAL, and the engine of a bus where they use one. The intervals that heal are short, so that histories are.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { close, connect, type Sql } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";
import { type Engine, engine } from "../helpers/engine.ts";
import { type Cluster, cluster } from "./cluster.ts";
import { endServers, type Fleet, fleet } from "./fleet.ts";
import { type LossyProxy, lossyProxy } from "./lossy_proxy.ts";
import type { Step } from "./plan.ts";

export type Harm = Extract<Step, { instance: number } | { kind: `restart_${string}` | "freeze_bus" }>;

export interface World {
  /** Of the database, past every proxy. */
  readonly url: string;
  readonly sql: Sql;
  readonly fleet: Fleet;
  /** Does the damage. Resolves when it is done, not when it is over. */
  harm(step: Harm): Promise<void>;
  /** Resolves when nothing is broken any more. */
  mend(): Promise<void>;
  stop(): Promise<void>;
}

const TIMING = { sweepMs: [700, 1_000], beatMs: 400, beatTimeoutMs: 600, stuckMs: 3_000 } as const;

/** How the instances hear of new entries: a FEED, or the engine of a bus. */
export const FEEDS = ["notify", "wal", "redis", "nats"] as const;
export type Feed = (typeof FEEDS)[number];

export async function world(instances: number, feed: Feed = "notify"): Promise<World> {
  const bus = feed === "redis" || feed === "nats" ? await engine(feed) : undefined;
  const env = { DOMAIN: "off", ...(bus ? { FEED: "bus", BUS_URL: bus.url } : { FEED: feed }) };
  const server = await cluster();
  const sql = connect(server.url, { max: 2, name: "judge" });
  await migrate(sql, { domain: false });
  const proxies = await Promise.all(Array.from({ length: instances }, () => lossyProxy(server.url)));
  const running = await fleet(instances, (at) => ({
    databaseUrl: server.url,
    listenUrl: proxies[at]!.through(server.url),
    env,
    timing: TIMING,
  }));
  const mending = new Set<Promise<void>>();
  const later = (ms: number, mend: () => void | Promise<void>): void => {
    const done = sleep(ms)
      .then(mend)
      .finally(() => mending.delete(done));
    mending.add(done);
  };

  return {
    url: server.url,
    sql,
    fleet: running,
    harm: (step) => harm(step, { server, sql, fleet: running, proxies, bus, later }),
    async mend() {
      while (mending.size > 0) await Promise.all(mending);
      for (const proxy of proxies) {
        proxy.lose(false);
        proxy.stall(false);
      }
      await running.whole();
      await reachable(sql);
    },
    async stop() {
      await endServers();
      await close(sql, 1);
      await Promise.all(proxies.map((proxy) => proxy.close()));
      await server.stop();
      await bus?.stop("SIGKILL");
    },
  };
}

interface Parts {
  readonly bus: Engine | undefined;
  readonly server: Cluster;
  readonly sql: Sql;
  readonly fleet: Fleet;
  readonly proxies: readonly LossyProxy[];
  later(ms: number, mend: () => void | Promise<void>): void;
}

async function harm(step: Harm, { server, sql, fleet, proxies, bus, later }: Parts): Promise<void> {
  if (step.kind === "restart_postgres") {
    await server.down(step.how);
    await sleep(step.downMs);
    await server.up();
    return;
  }
  if (step.kind === "restart_bus") {
    await bus?.stop("SIGKILL");
    await sleep(step.downMs);
    await bus?.start();
    return;
  }
  if (step.kind === "freeze_bus") {
    await bus?.freeze();
    later(step.ms, () => bus?.thaw());
    return;
  }
  const proxy = proxies[step.instance]!;
  if (step.kind === "kill") await fleet.kill(step.instance);
  else if (step.kind === "lose") {
    proxy.lose(true);
    later(step.ms, () => proxy.lose(false));
  } else if (step.kind === "stall") {
    proxy.stall(true);
    later(step.ms, () => proxy.stall(false));
  } else {
    const listening = step.kind === "terminate_listen";
    // of whichever instance: from here they look alike
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name like 'tidings%' and application_name not in ('tidings judge', 'tidings writer')
        and (application_name in ('tidings listener', 'tidings wal')) = ${listening} order by random() limit 1`.catch(
      () => {},
    );
  }
}

/** The connection may be one that Postgres has ended since. */
async function reachable(sql: Sql): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await Promise.all([sql`select 1`, sql`select 1`]);
      return;
    } catch (error) {
      if (tries === 50) throw error;
      await sleep(200);
    }
  }
}
