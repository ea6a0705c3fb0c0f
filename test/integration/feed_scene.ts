/** What the tests of FEED=wal share: a database for each test, instances on it, and who reads its WAL. */
import type { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { closeClients, type SocketClient, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, type InstanceOptions, instance } from "../helpers/instance.ts";
import { endServers, server } from "../model/fleet.ts";

export const WS = "/ws/notifications/";
/** No sweep by itself heals what a test looks at. */
export const SWEEP_MS = [60_000, 60_000] as const;
const TIMING = { sweepMs: SWEEP_MS, beatMs: 100, beatTimeoutMs: 300 } as const;

export interface FeedScene {
  readonly db: TestDatabase;
  readonly sql: Sql;
  /** An instance with quick heartbeats, unless told otherwise; stopped at the end of the test. */
  start(feed: "notify" | "wal", options?: InstanceOptions, url?: string): Promise<Instance>;
  /** One with FEED=wal in a process of its own. */
  victim(): ReturnType<typeof server>;
  stop(one: Instance): Promise<void>;
  stopAll(): Promise<unknown>;
  listenTo(app: Instance, user: number): Promise<SocketClient>;
  untilFed(wanted: boolean): Promise<unknown>;
  walSenders(): Promise<{ pid: number; slot: string }[]>;
  /** The one that reads, once it is alone. */
  reader(): Promise<{ pid: number; slot: string }>;
  /** Resolves when another slot is read than before, for all. */
  untilReadAnew(before: string): Promise<void>;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
export const ids = (client: SocketClient): unknown[] => client.all("notification").map(({ id }) => id);
export const upTo = (n: number): number[] => Array.from({ length: n }, (_, at) => at + 1);
export const message = (text: string) => (frame: { data?: Record<string, unknown> }) => frame.data?.message === text;

/** Ends the LISTEN connection of the one that reads the WAL for NOTIFY, and that alone. */
export const cutReader = async (sql: Pick<Sql, "unsafe">): Promise<unknown> =>
  sql.unsafe(`
    select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and classid = 1953063017
      and objid = 7 and database = (select oid from pg_database where datname = current_database())`);

/** Tells user 7 of `{type: "hello", n}`. */
export const hello = async (sql: Sql, n: number): Promise<unknown> =>
  sql`select tidings.notify_user(7, ${JSON.stringify({ type: "hello", n })}::text::jsonb)`;

/** The same with n from 1 on, every few milliseconds, until what is returned is called: that resolves with the last n. */
export function greet(sql: Sql): () => Promise<number> {
  let n = 0;
  let going = true;
  const greeting = (async () => {
    while (going) {
      await hello(sql, ++n);
      await pause(2);
    }
    return n;
  })();
  return () => {
    going = false;
    return greeting;
  };
}

export function feedScene(test: ReturnType<typeof suite>): FeedScene {
  const running = new Set<Instance>();
  let db: TestDatabase;
  test.before.each(async () => {
    db = await database();
  });
  test.after.each(async () => {
    closeClients();
    await scene.stopAll();
    await endServers();
    await db.drop();
  });
  const scene: FeedScene = {
    get db() {
      return db;
    },
    get sql() {
      return db.sql;
    },
    async start(feed, options = {}, url = db.url) {
      const one = await instance(url, { timing: TIMING, ...options, env: { FEED: feed, ...options.env } });
      running.add(one);
      return one;
    },
    victim: () => server({ databaseUrl: db.url, env: { FEED: "wal" }, timing: { sweepMs: SWEEP_MS } }),
    async stop(one) {
      running.delete(one);
      await one.stop();
    },
    stopAll: () => Promise.all([...running].map((one) => scene.stop(one))),
    async listenTo(app, user) {
      const client = await socket(app.ws + WS, { headers: await app.auth(user) });
      await client.find("ready");
      return client;
    },
    untilFed: (wanted) =>
      eventually(async () => {
        const [row] = await db.sql<{ fed: boolean }[]>`select tidings.fed_by_wal() as fed`;
        assert.is(row!.fed, wanted);
      }),
    walSenders: async () => db.sql<{ pid: number; slot: string }[]>`
      select active_pid as pid, slot_name as slot from pg_replication_slots where database = current_database()`,
    reader: () =>
      eventually(async () => {
        const [one, ...more] = await scene.walSenders();
        return more.length === 0 && one !== undefined && one;
      }) as Promise<{ pid: number; slot: string }>,
    async untilReadAnew(before) {
      await eventually(async () => assert.ok((await scene.walSenders()).some(({ slot }) => slot !== before)));
      await scene.untilFed(true);
    },
  };
  return scene;
}
