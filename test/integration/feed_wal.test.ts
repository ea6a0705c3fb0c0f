/** FEED=wal: one instance reads the WAL and announces for the writers, and they do again wherever it is not to be had. */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect } from "../../src/db/client.ts";
import type { TidingsError } from "../../src/errors.ts";
import { closeClients, type SocketClient, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, type InstanceOptions, instance } from "../helpers/instance.ts";
import { proxyFor } from "../helpers/proxy.ts";
import { store } from "../helpers/streams.ts";
import { endServers, server } from "../model/fleet.ts";
import { hear } from "../sql/scene.ts";

const test = suite("feed wal");
const WS = "/ws/notifications/";
const SSE = "/sse/notifications/";
const TIMING = { sweepMs: [60_000, 60_000], beatMs: 100, beatTimeoutMs: 300 } as const;
const running: Instance[] = [];
let db: TestDatabase;

async function start(feed: "notify" | "wal", options: InstanceOptions = {}, url = db.url): Promise<Instance> {
  const one = await instance(url, { timing: TIMING, ...options, env: { FEED: feed, ...options.env } });
  running.push(one);
  return one;
}
const untilFed = (wanted: boolean): Promise<unknown> =>
  eventually(async () => {
    const [row] = await db.sql<{ fed: boolean }[]>`select tidings.fed_by_wal() as fed`;
    assert.is(row!.fed, wanted);
  });
const walSenders = (): Promise<{ pid: number; slot: string }[]> => db.sql<{ pid: number; slot: string }[]>`
  select active_pid as pid, slot_name as slot from pg_replication_slots where database = current_database()`;

async function listenTo(app: Instance, user: number): Promise<SocketClient> {
  const client = await socket(app.ws + WS, { headers: await app.auth(user) });
  await client.find("ready");
  return client;
}
const ids = (client: SocketClient): unknown[] => client.all("notification").map(({ id }) => id);
const message = (text: string) => (frame: { data?: Record<string, unknown> }) => frame.data?.message === text;

test.before.each(async () => {
  db = await database();
});
test.after.each(async () => {
  closeClients();
  await Promise.all(running.splice(0).map((one) => one.stop()));
  await endServers();
  await db.drop();
});

test("entries and transient events come from the WAL on both transports, in order, many in one NOTIFY", async () => {
  const app = await start("wal");
  await untilFed(true);
  const heard = await hear(db.url);
  const streams = [await listenTo(app, 7), await sse(app.url + SSE, await app.auth(7))];
  await streams[1]!.find("ready");
  await store(db.sql, 7, { message: "one" });
  await db.sql`select tidings.notify_user(7, '{"type":"hello","n":1}')`;
  await db.sql`select tidings.send_notification(7, 'T', 'with event', 'both', '{"a":1}', '{"type":"thing","x":"ü"}')`;
  await db.sql`select tidings.send_notification(7, 'T', ${"x".repeat(100_000)}, 'long')`;
  await db.sql`select tidings.broadcast(array(select n::bigint from generate_series(1, 1500) n), 'All', 'to all', 'all')`;
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
  const app = await start("wal");
  await untilFed(true);
  const client = await listenTo(app, 7);
  const headers = await app.auth(7);
  for (let n = 1; n <= 100; n++) {
    await db.sql`select tidings.notify_user(7, ${JSON.stringify({ type: "big", n, pad: "x".repeat(9_000) })}::text::jsonb)`;
    await store(db.sql, 7, { message: String(n) });
    await client.find((frame) => frame.id === n);
    const answer = await fetch(`${app.url}/api/notifications/${n}/read`, { method: "POST", headers });
    assert.is(answer.status, 200);
  }
  await eventually(() => assert.is(client.all("big").length, 100));
});

test("what is rolled back is not heard, and what commits later comes later", async () => {
  const app = await start("wal");
  await untilFed(true);
  const client = await listenTo(app, 7);
  const late = db.connect({ max: 1 });
  await late`begin`;
  await store(late, 7, { message: "late" });
  await db.sql
    .begin(async (sql) => {
      await sql`select tidings.send_notification(7, 'T', 'never', 'note')`;
      throw new Error("rolled back");
    })
    .catch(() => {});
  await store(db.sql, 7, { message: "first" });
  await client.find(message("first"));
  await late`commit`;
  await client.find(message("late"));
  assert.equal(client.outline(), ["ready", "notification 1", "notification 2"]);
});

test("beside instances on NOTIFY all hear of all, whoever of them is the relay", async () => {
  const old = await start("notify");
  const fresh = await start("wal");
  const clients = [await listenTo(old, 7), await listenTo(fresh, 7)];
  await untilFed(false);
  await store(db.sql, 7, { message: "by NOTIFY" });
  for (const one of clients) await one.find(message("by NOTIFY"));
  running.splice(running.indexOf(old), 1);
  await old.stop();
  await untilFed(true);
  await store(db.sql, 7, { message: "by WAL" });
  await clients[1]!.find(message("by WAL"));
  const back = await start("notify");
  clients.push(await listenTo(back, 7));
  await store(db.sql, 7, { message: "to both" });
  await db.sql`select tidings.notify_user(7, '{"type":"hello"}')`;
  for (const one of clients.slice(1)) {
    await one.find(message("to both"));
    await one.find("hello");
  }
  await untilFed(true);
  // without its relay, the one that is left looks for what nobody announced
  running.splice(running.indexOf(fresh), 1);
  await Promise.all([fresh.stop(), store(db.sql, 7, { message: "in between" })]);
  await clients[2]!.find(message("in between"), 2_000);
  await untilFed(false);
  assert.equal(ids(clients[1]!), [1, 2, 3]);
  assert.is(clients[1]!.all("hello").length, 1);
});

test("the instance that reads is killed: another does within two seconds, and nothing is lost or doubled", async () => {
  const victim = await server({ databaseUrl: db.url, env: { FEED: "wal" }, timing: { sweepMs: TIMING.sweepMs } });
  const app = await start("wal", { timing: { sweepMs: TIMING.sweepMs } });
  await untilFed(true);
  const client = await listenTo(app, 7);
  let stored = 0;
  const writing = (async () => {
    while (stored < 120) {
      await store(db.sql, 7, { message: String(++stored) });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  const before = (await walSenders())[0]!;
  const killed = performance.now();
  await victim.end("SIGKILL");
  await client.find(message(String(stored + 1)), 2_500);
  await eventually(async () => assert.not.equal((await walSenders())[0]?.slot ?? before.slot, before.slot));
  assert.ok(performance.now() - killed < 2_000, `it took ${performance.now() - killed} ms`);
  await untilFed(true);
  await writing;
  await eventually(() => assert.is(client.all("notification").length, 120));
  assert.equal(
    ids(client),
    Array.from({ length: 120 }, (_, at) => at + 1),
  );
});

test("what the one that read took with it is found by those who only hear, when it is gone", async () => {
  const victim = await server({ databaseUrl: db.url, env: { FEED: "wal" }, timing: { sweepMs: TIMING.sweepMs } });
  await untilFed(true);
  const app = await start("notify");
  const client = await listenTo(app, 7);
  process.kill(victim.pid, "SIGSTOP");
  await store(db.sql, 7, { message: "silent" });
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(ids(client), []);
  await victim.end("SIGKILL");
  await client.find(message("silent"), 2_000);
  await untilFed(false);
});

test("busy writers on NOTIFY are not taken for one who silences it: nobody looks into the tables for them", async () => {
  const app = await start("notify");
  const heads = async (): Promise<number> => {
    const headers = await app.auth(0, { scope: "metrics" });
    const text = await (await fetch(`${app.url}/metrics`, { headers })).text();
    return Number(/query_seconds_count\{query="heads"\} (\d+)/.exec(text)?.[1] ?? 0);
  };
  await listenTo(app, 7);
  const before = await heads();
  let going = true;
  const busy = Array.from({ length: 4 }, async () => {
    const writer = db.connect({ max: 1 });
    // as a commit that takes its time
    while (going) await writer.unsafe("begin; select tidings.fed_by_wal(); select pg_sleep(0.05); commit").simple();
  });
  // several heartbeats
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  going = false;
  await Promise.all(busy);
  assert.is(await heads(), before);
});

test("a killed WAL sender: the stream goes on by NOTIFY, then by the WAL again, and nothing is lost", async () => {
  const app = await start("wal");
  await untilFed(true);
  const client = await listenTo(app, 7);
  for (let round = 0; round < 5; round++) {
    const before = (await walSenders())[0];
    const storing = Array.from({ length: 10 }, (_, n) => store(db.sql, 7, { message: `${round}.${n}` }));
    await db.sql`select pg_terminate_backend(${before!.pid})`;
    await Promise.all(storing);
    await eventually(async () => assert.not.equal((await walSenders())[0]?.slot ?? before!.slot, before!.slot));
    await untilFed(true);
  }
  await eventually(() => assert.is(ids(client).length, 50));
  assert.equal(
    ids(client),
    Array.from({ length: 50 }, (_, at) => at + 1),
  );
});

test("a half-open connection to the WAL is noticed, and healed", async () => {
  const proxy = await proxyFor(db.url);
  const app = await start("wal", { listenUrl: proxy.through(db.url) });
  await untilFed(true);
  const client = await listenTo(app, 7);
  proxy.stall();
  await store(db.sql, 7, { message: "unheard" });
  await eventually(() => assert.ok(app.log.some((line) => line.includes("LISTEN is down"))));
  proxy.resume();
  proxy.cut();
  await client.find(message("unheard"));
  await untilFed(true);
  await app.stop();
  await proxy.close();
});

test("an open transaction does not hold up the start: NOTIFY is used until the WAL can be read", async () => {
  const open = db.connect({ max: 1 });
  await open`begin`;
  await store(open, 8, { message: "open" });
  const app = await start("wal");
  const client = await listenTo(app, 7);
  await store(db.sql, 7, { message: "by NOTIFY" });
  await client.find(message("by NOTIFY"));
  await eventually(() => assert.ok(app.log.some((line) => line.includes("the WAL is not read yet"))));
  await open`commit`;
  await untilFed(true);
  await store(db.sql, 7, { message: "by WAL" });
  await client.find(message("by WAL"));
});

test("one of two instances has a slot, and a stop leaves none behind", async () => {
  const apps = [await start("wal"), await start("wal")];
  await untilFed(true);
  assert.is((await walSenders()).length, 1);
  await Promise.all(apps.map((one) => one.stop()));
  await eventually(async () => assert.is((await walSenders()).length, 0));
});

test("a start without the right to read the WAL is refused with what to do; so is a database without the publication", async () => {
  const role = `wal_${db.name.slice(-12)}`;
  await db.sql.unsafe(`create role ${role} login password 'only for this test'`);
  await db.sql`select tidings.grant_server(${role}::text::regrole)`;
  const url = Object.assign(new URL(db.url), { username: role, password: "only for this test" }).href;
  const refusal = (): Promise<string> =>
    start("wal", {}, url).then(
      () => "it started",
      (error: TidingsError) => `${error.code}: ${error.message}`,
    );
  try {
    const needs = /^configuration: The WAL cannot be read: .*What mends it: /.source;
    assert.match(await refusal(), new RegExp(`${needs}alter role "${role}" replication\\.$`));
    await db.sql.unsafe(`alter role ${role} replication`);
    assert.match(
      await refusal(),
      new RegExp(`${needs}as the role that migrates: create publication tidings for table`),
    );
    const owner = await start("wal");
    await untilFed(true);
    const app = await start("wal", {}, url);
    await owner.stop();
    await untilFed(true);
    await app.stop();
  } finally {
    await Promise.all(running.splice(0).map((one) => one.stop()));
    const admin = connect(db.url, { max: 1 });
    await admin.unsafe(`drop owned by ${role}; drop role ${role}`);
    await close(admin);
  }
});

test.run();
