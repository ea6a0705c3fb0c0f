/** What the tests of the publication share: statements that make and mend it, a start that is refused, the WAL read alone. */
import type { suite } from "uvu";
import { partition } from "../../src/db/partition.ts";
import { createWal, type Wal } from "../../src/db/wal.ts";
import type { TidingsError } from "../../src/errors.ts";
import type { SocketClient } from "../helpers/clients.ts";
import type { Instance } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { type FeedScene, feedScene, SWEEP_MS } from "./feed_scene.ts";

const TIMING = { sweepMs: SWEEP_MS, beatMs: 100, beatTimeoutMs: 1_000 } as const;
export const TABLE = "tidings.notification";
export const RIGHT = "publish = 'insert', publish_via_partition_root = true";
export const MEND = {
  settings: `alter publication tidings set (${RIGHT})`,
  viaRoot: "alter publication tidings set (publish_via_partition_root = true)",
  add: `alter publication tidings add table ${TABLE}`,
  anew: `alter publication tidings drop table ${TABLE}; alter publication tidings add table ${TABLE}`,
};

export const refusedWith = (text: string, mend: string): string =>
  `configuration: The WAL cannot be read: the publication tidings ${text}. What mends it: ${mend}.`;

export interface NeedsScene {
  readonly feed: FeedScene;
  start(url?: string): Promise<Instance>;
  /** What a start is refused with. */
  refusal(url?: string): Promise<string>;
  slots(): Promise<string[]>;
  major(): Promise<number>;
  /** An entry is stored, and heard. */
  hears(client: SocketClient, text: string): Promise<void>;
  partitioned(): Promise<boolean>;
  /** The WAL alone. The publication is not looked at while it is read. */
  read(): { wal: Wal; told: unknown[]; errors: string[]; ups(): number };
}

export function needsScene(test: ReturnType<typeof suite>): NeedsScene {
  const reading: Wal[] = [];
  // before the database goes
  test.after.each(async () => {
    await Promise.all(reading.splice(0).map((one) => one.stop()));
  });
  const feed = feedScene(test);
  const start = (url?: string): Promise<Instance> => feed.start("wal", { timing: TIMING }, url);
  return {
    feed,
    start,
    refusal: (url) =>
      start(url).then(
        () => "it started",
        (error: TidingsError) => `${error.code}: ${error.message}`,
      ),
    slots: async () => (await feed.walSenders()).map(({ slot }) => slot),
    async major() {
      const [row] = await feed.sql<{ n: number }[]>`select current_setting('server_version_num')::int / 10000 as n`;
      return row!.n;
    },
    async hears(client, text) {
      await store(feed.sql, 7, { message: text });
      await client.find((frame) => frame.data?.message === text, 5_000);
    },
    partitioned: () =>
      partition(feed.db.url, {
        partitions: 2,
        batch: 1_000,
        signal: new AbortController().signal,
        tell() {},
        progress() {},
      }),
    read() {
      const [told, errors]: [unknown[], string[]] = [[], []];
      let ups = 0;
      const wal = createWal({
        url: feed.db.url,
        connection: () => null,
        onCommit: (_xid, all) => told.push(...(all ?? []).map((one) => (typeof one === "string" ? one : one.message))),
        onUp: () => ups++,
        onDown() {},
        onError: (error) => errors.push(error.message),
      });
      reading.push(wal);
      return { wal, told, errors, ups: () => ups };
    },
  };
}
