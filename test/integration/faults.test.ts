/**
 * What goes wrong around an instance, one fault at a time, on a Postgres of this file's own: streams stay open wherever
 * they can, nothing is lost, and all is well again within a bounded time.
 */
// @alone
// @timeout 60
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect, type Sql } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, type InstanceOptions, instance, token } from "../helpers/instance.ts";
import { store, storeMany } from "../helpers/streams.ts";
import { checkFollower, storedOf } from "../model/check.ts";
import { type Cluster, cluster } from "../model/cluster.ts";
import { endServers, server } from "../model/fleet.ts";
import { type LossyProxy, lossyProxy } from "../model/lossy_proxy.ts";
import { type Scene, scene } from "../model/scene.ts";

const test = suite("faults");
let postgres: Cluster;
let sql: Sql;
let proxy: LossyProxy;
let scenery: Scene;

test.before(async () => {
  postgres = await cluster();
  sql = connect(postgres.url, { max: 4, name: "test" });
  await migrate(sql, { domain: false });
  scenery = scene(sql);
});
test.before.each(async () => {
  proxy = await lossyProxy(postgres.url);
});
test.after.each(async () => {
  await scenery.clear();
  await endServers();
  await proxy.close();
});
test.after(async () => {
  await close(sql, 1);
  await postgres?.stop();
});

/** Hears of entries through the proxy. */
const start = (options: InstanceOptions = {}): Promise<Instance> =>
  scenery.start(postgres.url, { listenUrl: proxy.through(postgres.url), ...options });
const follow: Scene["follow"] = (pick) => scenery.follow(pick);
const reach: Scene["reach"] = (...args) => scenery.reach(...args);
const untouched: Scene["untouched"] = (...args) => scenery.untouched(...args);

const listeners = (): Promise<{ pid: number }[]> => sql<{ pid: number }[]>`
  select pid from pg_stat_activity where application_name = 'tidings listener'`;

test("a LISTEN connection that Postgres ends is made anew, and what was stored meanwhile arrives", async () => {
  const app = await start();
  const { user, clients } = await follow(() => app.url);
  for (let round = 1; round <= 3; round++) {
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tidings listener'`;
    await storeMany(sql, user, 5);
    await reach(clients, 5 * round, 15_000);
  }
  await untouched(user, clients);
});

test("a half-open LISTEN connection is noticed by its heartbeat, and its backend is ended, locks and all", async () => {
  const app = await start({ timing: { beatMs: 300, beatTimeoutMs: 300 } });
  const { user, clients } = await follow(() => app.url);
  const [old] = await listeners();
  await eventually(async () => {
    const held =
      await sql`select from pg_locks where locktype = 'advisory' and classid = 1953063017 and pid = ${old!.pid}`;
    return held.length > 0;
  });
  proxy.freeze();
  await store(sql, user);
  const ms = await reach(clients, 1, 15_000);
  console.log(`healed in ${ms} ms (heartbeat 300 + 300 ms)`);
  await eventually(async () => (await listeners()).every(({ pid }) => pid !== old!.pid));
  assert.is((await listeners()).length, 1);
  await store(sql, user);
  await reach(clients, 2, 5_000);
  await untouched(user, clients);
});

test("with every NOTIFY lost the sweep brings what is stored", async () => {
  const app = await start({ timing: { sweepMs: [300, 500] } });
  const { user, clients } = await follow(() => app.url);
  proxy.lose(true);
  for (let id = 1; id <= 3; id++) {
    await store(sql, user);
    await reach(clients, id, 15_000);
  }
  assert.ok(proxy.lost >= 3, `${proxy.lost} were lost`);
  await untouched(user, clients);
});

test("Postgres away for 10 s: streams stay open, readiness and REST say so, and nothing is lost", async () => {
  const app = await start();
  const { user, clients } = await follow(() => app.url);
  const headers = { authorization: `Bearer ${await token(user)}` };
  await store(sql, user);
  await reach(clients, 1, 5_000);
  await postgres.down("fast");
  const downAt = performance.now();
  await eventually(async () => assert.is((await fetch(`${app.url}/readyz`)).status, 503), { deadlineMs: 10_000 });
  const answer = await fetch(`${app.url}/api/notifications`, { headers });
  assert.is(answer.status, 503);
  assert.ok(Number(answer.headers.get("retry-after")) > 0);
  assert.is((await fetch(`${app.url}/healthz`)).status, 200);
  await sleep(10_000 - (performance.now() - downAt));
  await postgres.up();
  await eventually(() => storeMany(sql, user, 3).then(() => true), { deadlineMs: 15_000, everyMs: 100 });
  const ms = await reach(clients, 4, 30_000);
  console.log(`caught up ${ms} ms after Postgres was back`);
  await eventually(async () => assert.is((await fetch(`${app.url}/readyz`)).status, 200), { deadlineMs: 15_000 });
  await untouched(user, clients);
});

test("Postgres crashing under load loses nothing that was acknowledged", async () => {
  const app = await start();
  const { user, clients } = await follow(() => app.url);
  let acknowledged = 0;
  let writing = true;
  const writer = (async () => {
    while (writing) {
      await store(sql, user).then(
        () => acknowledged++,
        () => sleep(50),
      );
    }
  })();
  await eventually(() => acknowledged > 20);
  await postgres.down("crash");
  await postgres.up();
  const before = acknowledged;
  await eventually(() => acknowledged > before + 20, { deadlineMs: 30_000 });
  writing = false;
  await writer;
  const stored = await storedOf(sql, user);
  assert.ok(stored.length >= acknowledged, `${stored.length} of ${acknowledged}`);
  await reach(clients, stored.length, 30_000);
  await untouched(user, clients);
});

test("an instance killed while 200 clients receive: all go on at another one, nothing lost, nothing twice", async () => {
  const settings = { databaseUrl: postgres.url, env: { DOMAIN: "off" } };
  const servers = await Promise.all([server(settings), server(settings)]);
  const urls = servers.map(({ url }) => url);
  let turn = 0;
  const many = await Promise.all(Array.from({ length: 100 }, () => follow(() => urls[turn++ % urls.length])));
  const ids = many.map(({ user }) => user);
  let writing = true;
  const writer = (async () => {
    while (writing) await sql`select tidings.broadcast(${ids}::bigint[], 'T', 'x', 'note')`;
  })();
  const clients = many.flatMap((one) => one.clients);
  await eventually(() => clients.every(({ cursor }) => cursor! > 5), { deadlineMs: 20_000 });
  urls.shift();
  await servers[0].end("SIGKILL");
  const at = Math.max(...clients.map(({ cursor }) => cursor!));
  await eventually(() => clients.every(({ cursor }) => cursor! > at), { deadlineMs: 30_000 });
  writing = false;
  await writer;
  for (const { user, clients } of many) {
    const stored = await storedOf(sql, user);
    await reach(clients, stored.length, 30_000);
    assert.equal(
      clients.flatMap((client) => checkFollower(client, stored)),
      [],
    );
  }
  assert.is(clients.filter(({ connections }) => connections > 1).length, 100);
});

test("a read-only database refuses writers with a 503; streams live on, and all is well when it is over", async () => {
  const app = await start();
  const { user, clients } = await follow(() => app.url);
  await store(sql, user);
  await reach(clients, 1, 5_000);
  const headers = {
    authorization: `Bearer ${await token(user, { scope: "publish" })}`,
    "content-type": "application/json",
  };
  const publish = (): Promise<Response> =>
    fetch(`${app.url}/api/publish`, { method: "POST", headers, body: JSON.stringify({ to: user, message: "hello" }) });
  const readOnly = async (on: boolean): Promise<void> => {
    await sql.unsafe(`alter system set default_transaction_read_only = ${on}`);
    await sql`select pg_reload_conf()`;
  };
  await readOnly(true);
  try {
    const writable = connect(`${postgres.url}?default_transaction_read_only=off`, { max: 1, name: "test" });
    await eventually(async () => assert.is((await publish()).status, 503));
    assert.is((await fetch(`${app.url}/api/notifications/1/read`, { method: "POST", headers })).status, 503);
    assert.is((await fetch(`${app.url}/api/notifications`, { headers })).status, 200);
    await store(writable, user);
    await reach(clients, 2, 15_000);
    await close(writable);
  } finally {
    const admin = connect(`${postgres.url}?default_transaction_read_only=off`, { max: 1, name: "test" });
    await admin.unsafe("alter system reset default_transaction_read_only");
    await admin`select pg_reload_conf()`;
    await close(admin);
  }
  await eventually(async () => assert.is((await publish()).status, 202));
  await reach(clients, 3, 15_000);
  await untouched(user, clients);
});

test("with every connection of the pool waiting for a lock, open streams live on; released, all is answered", async () => {
  const app = await start({ poolSize: 3 });
  const { user, clients } = await follow(() => app.url);
  await storeMany(sql, user, 10);
  await reach(clients, 10, 5_000);
  const headers = { authorization: `Bearer ${await token(user)}` };
  let answers: Promise<Response[]> | undefined;
  await sql.begin(async (tx) => {
    await tx`select from tidings.notification where user_id = ${String(user)} for update`;
    const marking = Array.from({ length: 10 }, (_, at) =>
      fetch(`${app.url}/api/notifications/${at + 1}/read`, { method: "POST", headers }),
    );
    answers = Promise.all(marking);
    await eventually(async () => {
      const waiting = await sql`select from pg_stat_activity where wait_event_type = 'Lock'`;
      assert.is(waiting.length, 3);
    });
    await store(sql, user);
    await reach(clients, 11, 5_000);
    assert.is((await fetch(`${app.url}/readyz`)).status, 503);
  });
  assert.equal(new Set((await answers!).map(({ status }) => status)), new Set([200]));
  assert.is((await fetch(`${app.url}/readyz`)).status, 200);
  await untouched(user, clients);
});

test("an instance stops in bounded time although its database has gone silent", async () => {
  const app = await instance(proxy.through(postgres.url), { env: { DOMAIN: "off" } });
  const { user, clients } = await follow(() => app.url);
  await store(sql, user);
  await reach(clients, 1, 5_000);
  proxy.freeze();
  const began = performance.now();
  await app.stop();
  const ms = Math.round(performance.now() - began);
  console.log(`stopped in ${ms} ms`);
  assert.ok(ms < 25_000);
});

test.run();
