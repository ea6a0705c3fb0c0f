/** FEED=bus over real engines: one instance reads, publishes to a subject per user or room, and may die at any time. */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, type SocketClient, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { ENGINE_PACKAGES, type Engine, type EngineName, engine, engineProgram } from "../helpers/engine.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, type InstanceOptions, instance, token } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { endServers, server } from "../model/fleet.ts";
import { greet, ids, message, pause, SWEEP_MS, upTo, WS } from "./feed_scene.ts";

const SSE = "/sse/notifications/";
const TIMING = { sweepMs: SWEEP_MS } as const;

function testOver(name: EngineName): void {
  const test = suite(`feed bus over ${name}`);
  const running: Instance[] = [];
  let db: TestDatabase;
  let bus: Engine;

  async function start(options: InstanceOptions = {}, url = db.url): Promise<Instance> {
    const one = await instance(url, {
      timing: TIMING,
      ...options,
      env: { FEED: "bus", BUS_URL: bus.url, ...options.env },
    });
    running.push(one);
    return one;
  }
  async function stop(one: Instance): Promise<void> {
    running.splice(running.indexOf(one), 1);
    await one.stop();
  }
  async function listenTo(app: { ws: string }, user: number): Promise<SocketClient> {
    const client = await socket(app.ws + WS, { headers: { authorization: `Bearer ${await token(user)}` } });
    await client.find("ready");
    return client;
  }
  const part = async (app: Instance, wanted: string): Promise<string | undefined> => {
    const headers = await app.auth("0", { scope: "metrics" });
    const text = await (await fetch(`${app.url}/metrics`, { headers })).text();
    return text.match(new RegExp(`tidings_feed_up\\{part="${wanted}"\\} (\\d)`))?.[1];
  };
  const relayOf = async (apps: readonly Instance[]): Promise<Instance | undefined> => {
    const parts = await Promise.all(apps.map((app) => part(app, "relay")));
    return apps[parts.indexOf("1")];
  };

  test.before.each(async () => {
    db = await database();
    await db.sql`insert into app."user" (username) select 'user' || n from generate_series(1, 9) n`;
    bus = await engine(name);
  });
  test.after.each(async () => {
    closeClients();
    await Promise.all(running.splice(0).map((one) => one.stop()));
    await endServers();
    await bus.stop("SIGKILL");
    await db.drop();
  });

  test("what is written reaches the streams on every instance once: entries, transient events, chat, revocation", async () => {
    const apps = [await start(), await start()];
    const clients = [await listenTo(apps[0]!, 7), await listenTo(apps[1]!, 7)];
    const events = await sse(apps[1]!.url + SSE, await apps[1]!.auth(7));
    await events.find("ready");
    await store(db.sql, 7, { message: "one" });
    await db.sql`select tidings.notify_user(7, '{"type":"hello"}')`;
    await db.sql`select tidings.send_notification(7, 'T', ${"x".repeat(200_000)}, 'long')`;
    await store(db.sql, 8, { message: "somebody else's" });
    await db.sql`select tidings.broadcast(array(select n::bigint from generate_series(1, 300) n), 'All', 'last', 'all')`;
    for (const one of [...clients, events]) {
      await one.find(message("last"));
      const came = one.outline().filter((line) => line !== "notification_update");
      assert.equal(came, ["ready", "notification 1", "hello", "notification 2", "notification 3"]);
    }
    const [room] = await db.sql<{ id: number }[]>`insert into app.room (kind) values ('group') returning id`;
    await db.sql`insert into app.room_member select ${room!.id}, n from generate_series(1, 2) n`;
    const chat = await socket(`${apps[1]!.ws}/ws/chat/group/${room!.id}/`, { headers: await apps[1]!.auth(2) });
    await chat.find("ready");
    await db.sql`insert into app.message (room_id, sender_id, content) values (${room!.id}, 1, 'hi')`;
    await chat.find("chat_message");
    await db.sql`delete from app.room_member where user_id = 2`;
    assert.is((await chat.closed).code, 4403);
    await db.sql`select tidings.revoke(7)`;
    for (const one of clients) assert.is((await one.closed).code, 4401);
  });

  test("one instance alone reads, from the WAL, and writers notify nobody", async () => {
    const apps = [await start(), await start(), await start()];
    const fed = async (): Promise<void> => {
      const [row] = await db.sql`select tidings.fed_by_wal() as fed,
        (select count(*)::int from pg_replication_slots where database = current_database()) as slots`;
      assert.equal({ ...row }, { fed: true, slots: 1 });
    };
    await eventually(fed);
    const relay = await relayOf(apps);
    assert.ok(relay, "there is a relay");
    const others = apps.filter((app) => app !== relay);
    assert.equal(await Promise.all(others.map((app) => part(app, "relay"))), ["0", "0"]);
    // stopped in order, another takes over
    running.splice(running.indexOf(relay!), 1);
    const client = await listenTo(others[0]!, 7);
    await relay!.stop();
    await store(db.sql, 7, { message: "in between" });
    await client.find(message("in between"), 3_000);
    await eventually(fed);
  });

  test("the relay is killed: another takes over within two seconds, and nothing is lost or doubled", async () => {
    const settings = { databaseUrl: db.url, env: { FEED: "bus", BUS_URL: bus.url }, timing: TIMING };
    const victim = await server(settings);
    const app = await start();
    assert.is(await part(app, "relay"), "0");
    const client = await listenTo(app, 7);
    await store(db.sql, 7, { message: "before" });
    await client.find(message("before"));
    let stored = 1;
    const writing = (async () => {
      while (stored < 120) {
        await store(db.sql, 7, { message: String(++stored) });
        await pause(20);
      }
    })();
    const killed = performance.now();
    await victim.end("SIGKILL");
    await eventually(async () => assert.is(await part(app, "relay"), "1"));
    assert.ok(performance.now() - killed < 2_000, "it took over within two seconds");
    await writing;
    await eventually(() => assert.is(client.all("notification").length, 120));
    assert.equal(ids(client), upTo(120));
  });

  test("the engine is restarted under load: streams stay open, and nothing is lost or doubled", async () => {
    const apps = [await start(), await start()];
    const clients = [await listenTo(apps[0]!, 7), await listenTo(apps[1]!, 7)];
    for (let n = 1; n <= 60; n++) {
      if (n === 20) await bus.stop("SIGKILL");
      if (n === 40) await bus.start();
      await store(db.sql, 7, { message: String(n) });
    }
    // found by reading while the bus is away, by announcement when it is back
    for (const one of clients) {
      await eventually(() => assert.is(one.all("notification").length, 60));
      assert.equal(ids(one), upTo(60));
    }
    await eventually(async () => assert.is(await part(apps[0]!, "bus"), "1"));
    await store(db.sql, 7, { message: "after" });
    for (const one of clients) await one.find(message("after"), 2_000);
  });

  test("a frozen engine is noticed; entries are found by reading, and announced again when it thaws", async () => {
    const app = await start();
    const client = await listenTo(app, 7);
    await bus.freeze();
    await store(db.sql, 7, { message: "frozen" });
    await client.find(message("frozen"), 15_000);
    await eventually(async () => assert.is((await fetch(`${app.url}/readyz`)).status, 503));
    // a new stream opens all the same
    const late = await listenTo(app, 7);
    await store(db.sql, 7, { message: "still" });
    await late.find(message("still"));
    bus.thaw();
    await eventually(async () => assert.is((await fetch(`${app.url}/readyz`)).status, 200));
    await store(db.sql, 7, { message: "thawed" });
    await client.find(message("thawed"), 2_000);
    assert.equal(ids(client), [1, 2, 3]);
  });

  test("a start while the engine is away serves, and says that it is not ready", async () => {
    await bus.stop();
    const app = await start();
    assert.ok(app.log.some((line) => line.includes("the bus does not answer")));
    const client = await listenTo(app, 7);
    await store(db.sql, 7, { message: "without a bus" });
    await client.find(message("without a bus"));
    await bus.start();
    await eventually(async () => assert.is((await fetch(`${app.url}/readyz`)).status, 200));
    await store(db.sql, 7, { message: "with it" });
    await client.find(message("with it"), 2_000);
  });

  test("beside instances on NOTIFY, and with a relay that may not read the WAL, all hear of all", async () => {
    const role = `bus_${db.name.slice(-12)}`;
    await db.sql.unsafe(`create role ${role} login password 'only for this test'`);
    await db.sql`select tidings.grant_server(${role}::text::regrole)`;
    const url = Object.assign(new URL(db.url), { username: role, password: "only for this test" }).href;
    try {
      const plain = await start({ env: { FEED: "notify" } });
      const app = await start({}, url);
      await eventually(() =>
        assert.ok(app.log.some((line) => line.includes("NOTIFY is used, for the WAL cannot be read"))),
      );
      const clients = [await listenTo(plain, 7), await listenTo(app, 7)];
      await Promise.all(upTo(50).map((n) => store(db.sql, 7, { message: String(n) })));
      for (const one of clients) {
        await eventually(() => assert.is(one.all("notification").length, 50));
        assert.equal(ids(one), upTo(50));
      }
    } finally {
      closeClients();
      await Promise.all(running.splice(0).map((one) => one.stop()));
      await db.sql.unsafe(`drop owned by ${role}; drop role ${role}`);
    }
  });

  test("beside one that reads the WAL for NOTIFY, which comes and goes, each event is told once", async () => {
    const client = await listenTo(await start(), 7);
    const greeted = greet(db.sql);
    for (let round = 0; round < 2; round++) {
      const other = await start({ env: { FEED: "wal" } });
      await eventually(async () => assert.is(await part(other, "wal"), "1"));
      await pause(1_200);
      await stop(other);
      await pause(1_200);
    }
    const n = await greeted();
    await client.find((frame) => frame.type === "hello" && frame.n === n);
    assert.equal(
      client.all("hello").map((frame) => frame.n),
      upTo(n),
    );
  });

  test("when the one that publishes stops, events are not told twice, whoever else reads the WAL", async () => {
    const relay = await start();
    await eventually(async () => assert.is(await part(relay, "wal"), "1"));
    await start({ env: { FEED: "wal" } });
    const client = await listenTo(await start(), 7);
    await pause(1_200);
    const greeted = greet(db.sql);
    await pause(300);
    await stop(relay);
    await pause(2_500);
    const n = await greeted();
    await client.find((frame) => frame.type === "hello" && frame.n === n);
    const told = client.all("hello").map((frame) => frame.n);
    // who takes over hears and reads for a moment
    assert.ok(told.length - new Set(told).size < 5, `${told.length} told of ${n}`);
    // a heartbeat, and starting to read
    assert.ok(n - told.length < n / 2, `${n - told.length} of ${n} events missed while another took over`);
  });

  test("when the one that publishes stands still, entries are found by reading, and another takes over", async () => {
    const victim = await server({ databaseUrl: db.url, env: { FEED: "bus", BUS_URL: bus.url }, timing: TIMING });
    await pause(2_000);
    const app = await start();
    const client = await listenTo(app, 7);
    process.kill(victim.pid, "SIGSTOP");
    await store(db.sql, 7, { message: "while it stands still" });
    await client.find(message("while it stands still"), 6_000);
    await eventually(async () => assert.is(await part(app, "relay"), "1"));
    await store(db.sql, 7, { message: "taken over" });
    await client.find(message("taken over"), 2_000);
    process.kill(victim.pid, "SIGCONT");
    await pause(500);
    assert.equal(ids(client), [1, 2]);
  });

  test.run();
}

for (const name of ["redis", "nats"] as const) {
  if (engineProgram(name)) testOver(name);
  else {
    const test = suite(`feed bus over ${name}`);
    test.skip(`${ENGINE_PACKAGES[name]} is not installed`, () => {});
    test.run();
  }
}
