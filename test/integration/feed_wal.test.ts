/** FEED=wal: one instance reads the WAL and announces for the writers, and they do again wherever it is not to be had. */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect } from "../../src/db/client.ts";
import type { TidingsError } from "../../src/errors.ts";
import { sse } from "../helpers/clients.ts";
import { eventually } from "../helpers/eventually.ts";
import { store } from "../helpers/streams.ts";
import { hear } from "../sql/scene.ts";
import { feedScene, ids, message, pause, SWEEP_MS } from "./feed_scene.ts";

const test = suite("feed wal");
const scene = feedScene(test);

test("entries and transient events come from the WAL on both transports, in order, many in one NOTIFY", async () => {
  const app = await scene.start("wal");
  await scene.untilFed(true);
  const heard = await hear(scene.db.url);
  const streams = [await scene.listenTo(app, 7), await sse(`${app.url}/sse/notifications/`, await app.auth(7))];
  await streams[1]!.find("ready");
  // the sweep of the start is over by then
  await pause(400);
  await store(scene.sql, 7, { message: "one" });
  await scene.sql`select tidings.notify_user(7, '{"type":"hello","n":1}')`;
  await scene.sql`select tidings.send_notification(7, 'T', 'with event', 'both', '{"a":1}', '{"type":"thing","x":"ü"}')`;
  await scene.sql`select tidings.send_notification(7, 'T', ${"x".repeat(100_000)}, 'long')`;
  await scene.sql`select tidings.broadcast(array(select n::bigint from generate_series(1, 1500) n), 'All', 'to all', 'all')`;
  for (const one of streams) {
    await one.find((frame) => frame.id === 4 && frame.type === "notification");
    const entries = ["notification 1", "hello", "thing 2", "notification 2", "notification 3", "notification 4"];
    assert.equal(one.outline(), ["ready", ...entries]);
    assert.is(one.frames.at(-2)!.data!.message, "x".repeat(100_000));
  }
  await eventually(() => assert.is(heard.entries().length, 1503));
  assert.ok(heard.texts.length < 200, `${heard.texts.length} NOTIFYs`);
  await heard.stop();
  // by the fast path all but the long one
  const metrics = await (
    await fetch(`${app.url}/metrics`, { headers: await app.auth(0, { scope: "metrics" }) })
  ).text();
  assert.match(metrics, /tidings_sends_total\{transport="sse",result="fast"\} 3\n/);
  assert.match(metrics, /tidings_sends_total\{transport="sse",result="read"\} 1\n/);
});

test("what is told of can be read by then: events too big to travel, and a client that asks at once", async () => {
  const app = await scene.start("wal");
  await scene.untilFed(true);
  const client = await scene.listenTo(app, 7);
  const headers = await app.auth(7);
  for (let n = 1; n <= 100; n++) {
    await scene.sql`select tidings.notify_user(7, ${JSON.stringify({ type: "big", n, pad: "x".repeat(9_000) })}::text::jsonb)`;
    await store(scene.sql, 7, { message: String(n) });
    await client.find((frame) => frame.id === n);
    const answer = await fetch(`${app.url}/api/notifications/${n}/read`, { method: "POST", headers });
    assert.is(answer.status, 200);
  }
  await eventually(() => assert.is(client.all("big").length, 100));
});

test("a message that fits no NOTIFY, which nobody of ours writes, is dropped, and all beside it is told", async () => {
  const client = await scene.listenTo(await scene.start("wal"), 7);
  await scene.untilFed(true);
  const long = JSON.stringify({ type: "notify", group: "user_7", payload: { type: "long", pad: "x".repeat(9_000) } });
  await scene.sql.begin(async (sql) => {
    await sql`select tidings.notify_user(7, '{"type":"hello","n":1}')`;
    await sql`select pg_logical_emit_message(true, 'tidings', ${long})`;
    await sql`select pg_logical_emit_message(true, 'tidings', 'no JSON')`;
    await sql`select tidings.notify_user(7, '{"type":"hello","n":2}')`;
  });
  await client.find((frame) => frame.n === 2);
  assert.equal(client.outline(), ["ready", "hello", "hello"]);
});

test("what is rolled back is not heard, and what commits later comes later", async () => {
  const app = await scene.start("wal");
  await scene.untilFed(true);
  const client = await scene.listenTo(app, 7);
  const late = scene.db.connect({ max: 1 });
  await late`begin`;
  await store(late, 7, { message: "late" });
  await scene.sql
    .begin(async (sql) => {
      await sql`select tidings.send_notification(7, 'T', 'never', 'note')`;
      throw new Error("rolled back");
    })
    .catch(() => {});
  await store(scene.sql, 7, { message: "first" });
  await client.find(message("first"));
  await late`commit`;
  await client.find(message("late"));
  assert.equal(client.outline(), ["ready", "notification 1", "notification 2"]);
});

test("equal events are told as often as they were written, by NOTIFY too", async () => {
  const big = JSON.stringify({ type: "big", pad: "x".repeat(5_000) });
  for (const feed of ["notify", "wal"] as const) {
    const app = await scene.start(feed);
    await scene.untilFed(feed === "wal");
    const client = await scene.listenTo(app, 7);
    await scene.sql`select tidings.notify_user(7, ${big}::text::jsonb) from generate_series(1, 40)`;
    const writers = Array.from({ length: 4 }, async () => {
      for (let n = 0; n < 10; n++) await scene.sql`select tidings.notify_user(7, ${big}::text::jsonb)`;
    });
    await Promise.all(writers);
    await eventually(() => assert.is(client.all("big").length, 80));
    await scene.sql`select tidings.notify_user(7, '{"type":"tick"}') from generate_series(1, 2500)`;
    await eventually(() => assert.is(client.all("tick").length, 2500));
    await scene.stop(app);
  }
});

test("a prepared transaction is told of once it is committed, and whoever writes to the same user waits for that", async () => {
  const [row] = await scene.sql`select current_setting('max_prepared_transactions')::int > 0 as may`;
  if (!row!.may) return;
  const client = await scene.listenTo(await scene.start("wal"), 7);
  await scene.untilFed(true);
  const other = scene.db.connect({ max: 1 });
  await other`begin`;
  await store(other, 7, { message: "prepared" });
  await other.unsafe(`prepare transaction '${scene.db.name}'`);
  const next = store(scene.sql, 7, { message: "next" });
  await store(scene.sql, 8, { message: "of another" });
  await pause(300);
  assert.equal(client.outline(), ["ready"]);
  await scene.sql.unsafe(`commit prepared '${scene.db.name}'`);
  await next;
  await client.find(message("next"));
  assert.equal(client.outline(), ["ready", "notification 1", "notification 2"]);
});

test("beside instances on NOTIFY all hear of all, whoever of them is the relay", async () => {
  const old = await scene.start("notify");
  const fresh = await scene.start("wal");
  const clients = [await scene.listenTo(old, 7), await scene.listenTo(fresh, 7)];
  // though the relay of busy writers is the other
  await scene.untilFed(true);
  await store(scene.sql, 7, { message: "by WAL" });
  for (const one of clients) await one.find(message("by WAL"));
  await scene.stop(old);
  await store(scene.sql, 7, { message: "without the other" });
  await clients[1]!.find(message("without the other"));
  const back = await scene.start("notify");
  clients.push(await scene.listenTo(back, 7));
  await store(scene.sql, 7, { message: "to both" });
  await scene.sql`select tidings.notify_user(7, '{"type":"hello"}')`;
  for (const one of clients.slice(1)) {
    await one.find(message("to both"));
    await one.find("hello");
  }
  await scene.untilFed(true);
  // without its relay, the one that is left looks for what nobody announced
  await Promise.all([scene.stop(fresh), store(scene.sql, 7, { message: "in between" })]);
  await clients[2]!.find(message("in between"), 2_000);
  await scene.untilFed(false);
  await store(scene.sql, 7, { message: "by NOTIFY" });
  await clients[2]!.find(message("by NOTIFY"));
  assert.equal(ids(clients[1]!), [1, 2, 3]);
  assert.is(clients[1]!.all("hello").length, 1);
});

test("busy writers on NOTIFY are not taken for one who silences it: nobody looks into the tables for them", async () => {
  const app = await scene.start("notify");
  const heads = async (): Promise<number> => {
    const headers = await app.auth(0, { scope: "metrics" });
    const text = await (await fetch(`${app.url}/metrics`, { headers })).text();
    return Number(/query_seconds_count\{query="heads"\} (\d+)/.exec(text)?.[1] ?? 0);
  };
  await scene.listenTo(app, 7);
  const before = await heads();
  let going = true;
  const busy = Array.from({ length: 4 }, async () => {
    const writer = scene.db.connect({ max: 1 });
    // as a commit that takes its time
    while (going) await writer.unsafe("begin; select tidings.fed_by_wal(); select pg_sleep(0.05); commit").simple();
  });
  // several heartbeats
  await pause(1_500);
  going = false;
  await Promise.all(busy);
  assert.is(await heads(), before);
});

test("an open transaction does not hold up the start: NOTIFY is used until the WAL can be read", async () => {
  const open = scene.db.connect({ max: 1 });
  await open`begin`;
  await store(open, 8, { message: "open" });
  const app = await scene.start("wal");
  const client = await scene.listenTo(app, 7);
  await store(scene.sql, 7, { message: "by NOTIFY" });
  await client.find(message("by NOTIFY"));
  await eventually(() => assert.ok(app.log.some((line) => line.includes("the WAL is not read yet"))));
  await open`commit`;
  await scene.untilFed(true);
  await store(scene.sql, 7, { message: "by WAL" });
  await client.find(message("by WAL"));
});

test("one of two instances has a slot, and a stop leaves none behind", async () => {
  const apps = [await scene.start("wal"), await scene.start("wal")];
  await scene.untilFed(true);
  assert.is((await scene.walSenders()).length, 1);
  await Promise.all(apps.map((one) => one.stop()));
  await eventually(async () => assert.is((await scene.walSenders()).length, 0));
  // heartbeats that overlap
  for (const beatMs of [1, 3, 5, 8]) {
    const one = await scene.start("wal", { timing: { sweepMs: SWEEP_MS, beatMs, beatTimeoutMs: 1_000 } });
    await scene.untilFed(true);
    assert.is((await scene.walSenders()).length, 1);
    await scene.stop(one);
    await eventually(async () => assert.is((await scene.walSenders()).length, 0));
  }
});

test("a start without the right to read the WAL is refused with what to do; so is a database without the publication", async () => {
  const role = `wal_${scene.db.name.slice(-12)}`;
  await scene.sql.unsafe(`create role ${role} login password 'only for this test'`);
  await scene.sql`select tidings.grant_server(${role}::text::regrole)`;
  const url = Object.assign(new URL(scene.db.url), { username: role, password: "only for this test" }).href;
  const refusal = (): Promise<string> =>
    scene.start("wal", {}, url).then(
      () => "it started",
      (error: TidingsError) => `${error.code}: ${error.message}`,
    );
  try {
    const needs = /^configuration: The WAL cannot be read: .*What mends it: /.source;
    assert.match(await refusal(), new RegExp(`${needs}alter role "${role}" replication\\.$`));
    await scene.sql.unsafe(`alter role ${role} replication`);
    assert.match(
      await refusal(),
      new RegExp(`${needs}as the role that migrates: create publication tidings for table`),
    );
    const owner = await scene.start("wal");
    await scene.untilFed(true);
    const app = await scene.start("wal", {}, url);
    await owner.stop();
    await scene.untilFed(true);
    await app.stop();
  } finally {
    await scene.stopAll();
    const admin = connect(scene.db.url, { max: 1 });
    await admin.unsafe(`drop owned by ${role}; drop role ${role}`);
    await close(admin);
  }
});

test.run();
