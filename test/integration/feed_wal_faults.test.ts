/** FEED=wal when the one that reads dies, stands still, or loses one of its connections: the others go on, and nothing is lost or doubled. */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { proxyFor } from "../helpers/proxy.ts";
import { store } from "../helpers/streams.ts";
import { cutReader, feedScene, greet, hello, ids, message, pause, SWEEP_MS, upTo } from "./feed_scene.ts";

const test = suite("feed wal faults");
const scene = feedScene(test);

test("the instance that reads is killed: another does within two seconds, and nothing is lost or doubled", async () => {
  const victim = await scene.victim();
  const app = await scene.start("wal", { timing: { sweepMs: SWEEP_MS } });
  await scene.untilFed(true);
  const client = await scene.listenTo(app, 7);
  let stored = 0;
  const writing = (async () => {
    while (stored < 120) {
      await store(scene.sql, 7, { message: String(++stored) });
      await pause(20);
    }
  })();
  const before = await scene.reader();
  const killed = performance.now();
  await victim.end("SIGKILL");
  await client.find(message(String(stored + 1)), 2_500);
  await eventually(async () => assert.not.equal((await scene.walSenders())[0]?.slot ?? before.slot, before.slot));
  assert.ok(performance.now() - killed < 2_000, `it took ${performance.now() - killed} ms`);
  await scene.untilFed(true);
  await writing;
  await eventually(() => assert.is(client.all("notification").length, 120));
  assert.equal(ids(client), upTo(120));
});

test("what the one that read took with it is found by those who only hear, when it is gone", async () => {
  const victim = await scene.victim();
  await scene.untilFed(true);
  const app = await scene.start("notify");
  const client = await scene.listenTo(app, 7);
  process.kill(victim.pid, "SIGSTOP");
  await store(scene.sql, 7, { message: "silent" });
  await pause(500);
  assert.equal(ids(client), []);
  await victim.end("SIGKILL");
  await client.find(message("silent"), 2_000);
  await scene.untilFed(false);
});

test("one that reads and stops running is done without: others look, then one of them takes over, and it comes back as another", async () => {
  const victim = await scene.victim();
  await scene.untilFed(true);
  const apps = [await scene.start("notify"), await scene.start("wal", { timing: { sweepMs: SWEEP_MS } })];
  const clients = await Promise.all(apps.map((app) => scene.listenTo(app, 7)));
  const before = await scene.reader();
  process.kill(victim.pid, "SIGSTOP");
  await store(scene.sql, 7, { message: "while it stands still" });
  for (const one of clients) await one.find(message("while it stands still"), 6_000);
  await scene.untilReadAnew(before.slot);
  await hello(scene.sql, 1);
  process.kill(victim.pid, "SIGCONT");
  for (let n = 2; n <= 200; n++) {
    await hello(scene.sql, n);
    await pause(5);
  }
  for (const one of clients) {
    await one.find((frame) => frame.type === "hello" && frame.n === 200);
    assert.equal(
      one.all("hello").map(({ n }) => n),
      upTo(200),
    );
  }
  await eventually(async () => assert.is((await scene.walSenders()).length, 1));
});

test("one whose LISTEN alone is lost announces nothing any more: no event is told twice", async () => {
  const apps = [await scene.start("wal"), await scene.start("wal"), await scene.start("notify")];
  await scene.untilFed(true);
  const clients = await Promise.all(apps.map((app) => scene.listenTo(app, 7)));
  const greeted = greet(scene.sql);
  for (let round = 0; round < 5; round++) {
    const before = await scene.reader();
    await cutReader(scene.sql);
    await scene.untilReadAnew(before.slot);
  }
  await pause(100);
  const n = await greeted();
  for (const one of clients) {
    await one.find((frame) => frame.type === "hello" && frame.n === n);
    const told = one.all("hello").map((frame) => frame.n);
    assert.is(new Set(told).size, told.length, `${told.length} told`);
  }
});

test("a killed WAL sender: the stream goes on by NOTIFY, then by the WAL again, and nothing is lost", async () => {
  const app = await scene.start("wal");
  await scene.untilFed(true);
  const client = await scene.listenTo(app, 7);
  for (let round = 0; round < 5; round++) {
    const before = await scene.reader();
    const storing = Array.from({ length: 10 }, (_, n) => store(scene.sql, 7, { message: `${round}.${n}` }));
    await scene.sql`select pg_terminate_backend(${before.pid})`;
    await Promise.all(storing);
    await scene.untilReadAnew(before.slot);
  }
  await eventually(() => assert.is(ids(client).length, 50));
  assert.equal(ids(client), upTo(50));
});

test("a half-open connection to the WAL is noticed, and healed", async () => {
  const proxy = await proxyFor(scene.db.url);
  const app = await scene.start("wal", { listenUrl: proxy.through(scene.db.url) });
  await scene.untilFed(true);
  const client = await scene.listenTo(app, 7);
  proxy.stall();
  await store(scene.sql, 7, { message: "unheard" });
  await eventually(() => assert.ok(app.log.some((line) => line.includes("LISTEN is down"))));
  proxy.resume();
  proxy.cut();
  await client.find(message("unheard"));
  await scene.untilFed(true);
  await app.stop();
  await proxy.close();
});

test("while what is read cannot be announced, writers announce; and no more when it can be", async () => {
  const apps = [await scene.start("wal"), await scene.start("notify")];
  await scene.untilFed(true);
  const clients = await Promise.all(apps.map((app) => scene.listenTo(app, 7)));
  await scene.sql`alter function tidings.announce_decoded rename to announce_decoded_not`;
  await store(scene.sql, 7, { message: "silenced" });
  await scene.untilFed(false);
  for (const one of clients) await one.find(message("silenced"));
  await hello(scene.sql, 1);
  for (const one of clients) await one.find("hello", 3_000);
  await scene.sql`alter function tidings.announce_decoded_not rename to announce_decoded`;
  await scene.untilFed(true);
  await store(scene.sql, 7, { message: "by WAL" });
  for (const one of clients) {
    await one.find(message("by WAL"));
    assert.equal(ids(one), [1, 2]);
  }
});

test("one that is cut off from Postgres without a word silences nobody for long, and stops in the end", async () => {
  const proxy = await proxyFor(scene.db.url);
  const sick = await scene.start("wal", {}, proxy.through(scene.db.url));
  await scene.untilFed(true);
  const client = await scene.listenTo(await scene.start("notify"), 7);
  proxy.stall();
  await store(scene.sql, 7, { message: "silenced" });
  await client.find(message("silenced"), 6_000);
  await scene.untilFed(false);
  await hello(scene.sql, 1);
  await client.find("hello", 3_000);
  const asked = performance.now();
  await scene.stop(sick);
  // 5 s each for what works, for what hears, and for the pool
  assert.ok(performance.now() - asked < 17_000, `it took ${performance.now() - asked} ms`);
  await proxy.close();
  await eventually(async () => assert.is((await scene.walSenders()).length, 0));
});

test.run();
