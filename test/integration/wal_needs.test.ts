/** What reading the WAL needs of the publication: found at the start, with what mends it. */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Finding } from "../../src/cli/doctor.ts";
import { feed } from "../../src/cli/doctor_feed.ts";
import { readConfig } from "../../src/config.ts";
import { close, connect } from "../../src/db/client.ts";
import { MEND, needsScene, RIGHT, refusedWith, TABLE } from "./wal_needs_scene.ts";

const test = suite("wal needs");
const scene = needsScene(test);

function examine(): Promise<Finding> {
  const found = {
    config: readConfig({ FEED: "wal" }),
    url: scene.feed.db.url,
    listenUrl: scene.feed.db.url,
    embedded: false,
  };
  return feed({ sql: scene.feed.sql, database: { ...found, stop: async () => {} }, fix: false, progress() {} });
}

interface Wrong {
  readonly what: string;
  readonly made: string;
  readonly text: string;
  readonly mend: string;
  /** Postgres has such a thing since this version. */
  readonly since?: number;
}

const WRONG: readonly Wrong[] = [
  { what: "of nothing", made: `with (${RIGHT})`, text: `does not publish ${TABLE}`, mend: MEND.add },
  {
    what: "of another table",
    made: `for table tidings.inbox with (${RIGHT})`,
    text: `does not publish ${TABLE}`,
    mend: MEND.add,
  },
  {
    what: "without inserts",
    made: `for table ${TABLE} with (publish = 'truncate', publish_via_partition_root = true)`,
    text: "publishes no inserts",
    mend: MEND.settings,
  },
  {
    what: "of all tables, without inserts",
    made: "for all tables with (publish = 'truncate')",
    text: "publishes no inserts",
    mend: MEND.settings,
  },
  {
    what: "that would not outlive a partitioning",
    made: `for table ${TABLE} with (publish = 'insert')`,
    text: "publishes partitions under their own names",
    mend: MEND.viaRoot,
  },
  {
    what: "with a filter",
    made: `for table ${TABLE} where (user_id <> '7') with (${RIGHT})`,
    text: `leaves out rows of ${TABLE}`,
    mend: MEND.anew,
    since: 15,
  },
  {
    what: "with a list of columns",
    made: `for table ${TABLE} (user_id, id, message) with (${RIGHT})`,
    text: `leaves out columns of ${TABLE}`,
    mend: MEND.anew,
    since: 15,
  },
];

for (const { what, made, text, mend, since = 14 } of WRONG) {
  test(`a publication ${what} is refused with what mends it, and doctor says the same`, async () => {
    if ((await scene.major()) < since) return;
    await scene.feed.sql.unsafe(`create publication tidings ${made}`);
    assert.is(await scene.refusal(), refusedWith(text, mend));
    assert.equal(await examine(), { state: "fail", text: `the publication tidings ${text}`, mend });
    await scene.feed.sql.unsafe(mend);
    assert.is((await examine()).state, "ok");
    const client = await scene.feed.listenTo(await scene.start(), 7);
    await scene.feed.untilFed(true);
    await scene.hears(client, "by the WAL");
  });
}

test("a publication of the partitions, under their own names or one of them alone, is refused", async () => {
  await scene.partitioned();
  await scene.feed.sql.unsafe(`create publication tidings for table ${TABLE}`);
  assert.is(await scene.refusal(), refusedWith("publishes partitions under their own names", MEND.viaRoot));
  const [leaf] = await scene.feed.sql`select inhrelid::regclass::text as name from pg_inherits
    where inhparent = ${TABLE}::regclass limit 1`;
  await scene.feed.sql.unsafe(`alter publication tidings set table ${leaf!.name}`);
  await scene.feed.sql.unsafe(MEND.viaRoot);
  assert.is(await scene.refusal(), refusedWith(`does not publish ${TABLE}`, MEND.add));
  await scene.feed.sql.unsafe(MEND.add);
  const client = await scene.feed.listenTo(await scene.start(), 7);
  await scene.feed.untilFed(true);
  await scene.hears(client, "by the WAL");
});

const ENOUGH: [what: string, made: string, since: number][] = [
  ["of all tables", `for all tables with (${RIGHT})`, 14],
  ["of the schema", `for tables in schema tidings with (${RIGHT})`, 15],
  ["with a list of all columns", `for table ${TABLE} (COLUMNS) with (${RIGHT})`, 15],
];
for (const [what, made, since] of ENOUGH) {
  test(`a publication ${what} will do, partitioned too`, async () => {
    if ((await scene.major()) < since) return;
    const [row] = await scene.feed.sql`select string_agg(attname, ', ') as columns from pg_attribute
      where attrelid = ${TABLE}::regclass and attnum > 0`;
    await scene.feed.sql.unsafe(`create publication tidings ${made.replace("COLUMNS", row!.columns)}`);
    const client = await scene.feed.listenTo(await scene.start(), 7);
    await scene.feed.untilFed(true);
    await scene.hears(client, "plain");
    await scene.partitioned();
    await scene.feed.untilFed(true);
    await scene.hears(client, "partitioned");
  });
}

test("who may not alter the publication is told who may", async () => {
  const [server, other] = ["server", "other"].map((name) => `wal_${name}_${scene.feed.db.name.slice(-12)}`);
  await scene.feed.sql.unsafe(
    `create role ${server} login replication password 'only for this test'; create role ${other}`,
  );
  await scene.feed.sql`select tidings.grant_server(${server!}::text::regrole)`;
  await scene.feed.sql.unsafe(
    `create publication tidings with (${RIGHT}); alter publication tidings owner to ${other}`,
  );
  const url = Object.assign(new URL(scene.feed.db.url), { username: server, password: "only for this test" }).href;
  try {
    const mend = `as the role "${other}": ${MEND.add}`;
    assert.is(await scene.refusal(url), refusedWith(`does not publish ${TABLE}`, mend));
    await scene.feed.sql`drop publication tidings`;
    assert.match(
      await scene.refusal(url),
      /tidings is missing.*as the role that migrates: create publication tidings for table/,
    );
  } finally {
    const admin = connect(scene.feed.db.url, { max: 1 });
    await admin.unsafe(`drop owned by ${server}, ${other}; drop role ${server}, ${other}`);
    await close(admin);
  }
});

test.run();
