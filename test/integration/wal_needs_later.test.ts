/** What reading the WAL needs of the publication: found at each reconnect and in between, and never made do without. */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TidingsError } from "../../src/errors.ts";
import { eventually } from "../helpers/eventually.ts";
import { store } from "../helpers/streams.ts";
import { cutReader } from "./feed_scene.ts";
import { MEND, needsScene, RIGHT, refusedWith, TABLE } from "./wal_needs_scene.ts";

const test = suite("wal needs later");
const scene = needsScene(test);

const endSenders = (): Promise<unknown> =>
  scene.feed.sql`select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()`;

for (const { made, mend, first = "", since = 14 } of [
  { made: `alter publication tidings drop table ${TABLE}`, mend: MEND.add },
  { made: "alter publication tidings set (publish = 'update')", mend: MEND.settings },
  {
    first: `create publication tidings for tables in schema tidings with (${RIGHT})`,
    made: "alter publication tidings drop tables in schema tidings",
    mend: MEND.add,
    since: 15,
  },
]) {
  test(`while it is read, "${made}" is noticed: NOTIFY until it is mended`, async () => {
    if ((await scene.major()) < since) return;
    await scene.feed.sql.unsafe(first);
    const app = await scene.start();
    const client = await scene.feed.listenTo(app, 7);
    await scene.feed.untilFed(true);
    await scene.hears(client, "before");
    await scene.feed.sql.unsafe(made);
    await scene.hears(client, "at once");
    await scene.feed.untilFed(false);
    await scene.hears(client, "by NOTIFY");
    assert.equal(await scene.slots(), []);
    const warnings = app.log.filter((line) => line.startsWith("warn") && line.includes("What mends it"));
    assert.is(warnings.length, 1);
    assert.ok(warnings[0]!.includes(mend), warnings[0]);
    await scene.feed.sql.unsafe(mend);
    await scene.feed.untilFed(true);
    await scene.hears(client, "by the WAL");
    assert.is(client.all("notification").length, 4);
  });
}

test("what is found wrong when it is to be read again is told, once", async () => {
  const app = await scene.start();
  await scene.feed.untilFed(true);
  await scene.feed.sql.begin(async (sql) => {
    await sql.unsafe("alter publication tidings set table tidings.inbox");
    await sql`select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()`;
  });
  await eventually(() => assert.ok(app.log.some((line) => line.startsWith("warn") && line.includes(MEND.add))));
  // some attempts more
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  await scene.feed.sql.unsafe(MEND.add);
  await scene.feed.untilFed(true);
  assert.is(app.log.filter((line) => line.startsWith("warn") && line.includes(MEND.add)).length, 1);
});

test("while it is read, a publication that is dropped or replaced is noticed, and made again", async () => {
  const client = await scene.feed.listenTo(await scene.start(), 7);
  for (const change of ["drop publication tidings", MEND.anew]) {
    await scene.feed.untilFed(true);
    const before = await scene.slots();
    const [first, ...rest] = change.split("; ");
    await scene.feed.sql.unsafe(first!);
    await store(scene.feed.sql, 7, { message: change });
    for (const statement of rest) await scene.feed.sql.unsafe(statement);
    await client.find((frame) => frame.data?.message === change, 5_000);
    await eventually(async () => {
      const after = await scene.slots();
      assert.ok(after.length === 1 && after[0] !== before[0]);
    });
  }
  await scene.feed.untilFed(true);
  await scene.hears(client, "by the WAL");
});

test("what is wrong at the first attempt rejects; what is wrong at a reconnect is never read from, and tried again", async () => {
  await scene.feed.sql.unsafe(`create publication tidings with (${RIGHT})`);
  const error = await scene
    .read()
    .wal.start()
    .catch((thrown: TidingsError) => thrown);
  assert.is(`${error?.code}: ${error?.message}`, refusedWith(`does not publish ${TABLE}`, MEND.add));
  await scene.feed.sql.unsafe(MEND.add);
  const { wal, told, errors, ups } = scene.read();
  await wal.start();
  await store(scene.feed.sql, 7, { message: "right" });
  await eventually(() => assert.equal(told, ["right"]));
  await scene.feed.sql.unsafe(`alter publication tidings set table tidings.inbox`);
  await endSenders();
  await eventually(() => assert.ok(errors.filter((text) => text.includes(MEND.add)).length >= 2, errors.join("\n")));
  assert.is(ups(), 1);
  await scene.feed.sql.unsafe(MEND.add);
  await eventually(() => assert.is(ups(), 2));
  await store(scene.feed.sql, 7, { message: "mended" });
  await eventually(() => assert.equal(told, ["right", "mended"]));
});

test("a publication that is altered while the slot waits for an open transaction is not read from", async () => {
  const open = scene.feed.db.connect({ max: 1 });
  await open`begin`;
  await store(open, 8, { message: "open" });
  const { wal, errors } = scene.read();
  const started = wal.start();
  started.catch(() => {});
  await eventually(async () => assert.is((await scene.slots()).length, 1));
  await scene.feed.sql.unsafe(`alter publication tidings set table tidings.inbox`);
  await open`commit`;
  const error = await started.catch((thrown: TidingsError) => thrown);
  assert.is(`${error?.code}: ${error?.message}`, refusedWith(`does not publish ${TABLE}`, MEND.add));
  assert.is(errors.length, 1);
});

test("a connection that is lost while the publication is made costs a moment, not the WAL", async () => {
  const inTheWay = scene.feed.db.connect({ max: 1 });
  await inTheWay`begin`;
  await inTheWay`lock table tidings.notification in share update exclusive mode`;
  const client = await scene.feed.listenTo(await scene.start(), 7);
  await scene.hears(client, "by NOTIFY");
  await eventually(async () => {
    const ended = await scene.feed.sql`select application_name as name, pg_terminate_backend(pid) from pg_stat_activity
      where query like 'create publication%' and wait_event_type = 'Lock' and datname = current_database()`;
    assert.equal(
      ended.map(({ name }) => name),
      ["tidings wal"],
    );
  });
  await inTheWay`rollback`;
  await scene.feed.untilFed(true);
  await scene.hears(client, "by the WAL");
});

test("a mistake met by who takes over is tried again, and the WAL read once it is mended", async () => {
  const app = await scene.start();
  await scene.feed.untilFed(true);
  await scene.feed.sql.begin(async (sql) => {
    await sql.unsafe("alter publication tidings set table tidings.inbox");
    await cutReader(sql);
  });
  await eventually(() =>
    assert.ok(app.log.some((line) => line.includes("NOTIFY is used, for the WAL cannot be read"))),
  );
  await scene.feed.untilFed(false);
  await scene.feed.sql.unsafe(MEND.add);
  await eventually(async () => assert.is((await scene.slots()).length, 1), { deadlineMs: 25_000 });
  await scene.feed.untilFed(true);
});

test.run();
