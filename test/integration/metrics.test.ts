/** /metrics, its names and its guard, and /readyz while the instance drains. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Runtime } from "../../src/transport/runtime.ts";
import { closeClients, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import { store, storeMany } from "../helpers/streams.ts";

const test = suite("metrics");
let db: TestDatabase;
let app: Instance;

test.before(async () => {
  db = await database({ domain: false });
  app = await instance(db.url, { env: { DOMAIN: "off" } });
});
test.after.each(closeClients);
test.after(async () => {
  await app?.stop();
  await db?.drop();
});

async function scrape(): Promise<(name: string) => number> {
  const response = await fetch(`${app.url}/metrics`, { headers: await app.auth("prometheus", { scope: "metrics" }) });
  assert.is(response.status, 200);
  assert.match(String(response.headers.get("content-type")), /^text\/plain; version=0\.0\.4/);
  const lines = (await response.text()).split("\n");
  return (name) => {
    const line = lines.find((each) => each.startsWith(`${name} `));
    assert.ok(line, `there is no ${name}`);
    return Number(line.slice(name.length + 1));
  };
}

test("it wants a service token: none is 401, a user's is 403; the status page too", async () => {
  for (const path of ["/metrics", "/status", "/status/samples"]) {
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await fetch(app.url + path, { headers })).status;
    assert.is(await status({}), 401, path);
    assert.is(await status(await app.auth(1)), 403, path);
    assert.is(await status(await app.auth("x", { scope: "other" })), 403, path);
    assert.is(await status(await app.auth("x", { scope: "metrics" })), 200, path);
    assert.is(await status(await app.auth("x", { scope: "publish" })), 200, path);
  }
});

test("it counts streams, sends by path, delivery time, replays, closes, resets, requests and queries", async () => {
  const before = await scrape();
  const stream = await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(1) });
  await stream.find("ready");
  const events = await sse(`${app.url}/sse/notifications/?last_event_id=999`, await app.auth(2));
  await events.find("reset");
  await store(db.sql, 1);
  await stream.find("notification");
  await storeMany(db.sql, 3, 4);
  const resumed = await socket(`${app.ws}/ws/notifications/?last_event_id=0`, { headers: await app.auth(3) });
  await resumed.find((frame) => frame.id === 4);
  const refused = await socket(`${app.ws}/ws/notifications/`);
  assert.is((await refused.closed).code, 4401);
  await fetch(`${app.url}/api/notifications/7/read`, { method: "POST", headers: await app.auth(1) });
  const now = await scrape();
  assert.equal([now('tidings_streams{transport="websocket"}'), now('tidings_streams{transport="sse"}')], [2, 1]);
  assert.is(now('tidings_sends_total{transport="websocket",result="fast"}'), 1);
  assert.is(now('tidings_sends_total{transport="websocket",result="read"}'), 4);
  assert.is(now('tidings_delivery_seconds_count{path="fast"}'), 1);
  assert.is(now("tidings_replay_rows_total") - before("tidings_replay_rows_total") >= 4, true);
  assert.is(now('tidings_closes_total{code="4401"}'), 1);
  assert.is(now("tidings_resets_total"), 1);
  assert.is(now('tidings_http_seconds_count{method="POST",route="/api/notifications/:id/read",status="404"}'), 1);
  assert.ok(now('tidings_query_seconds_count{query="open"}') >= 3);
  stream.close();
  await eventually(async () => assert.is((await scrape())('tidings_streams{transport="websocket"}'), 1));
  assert.is((await scrape())('tidings_closes_total{code="1000"}'), 1);
});

test("it tells LISTEN and its age, the NOTIFY queue, slow readers, the pool, and the queue and results of e-mail", async () => {
  const now = await scrape();
  assert.is(now("tidings_listen_up"), 1);
  assert.ok(now("tidings_listen_age_seconds") > 0);
  assert.ok(now("tidings_notify_queue_usage") >= 0);
  assert.is(now("tidings_slow_readers_total"), 0);
  assert.ok(now('tidings_pool_connections{state="active"}') >= 1);
  assert.ok(
    now('tidings_pool_connections{state="active"}') + now('tidings_pool_connections{state="idle"}') <= 10,
    "one instance's",
  );
  for (const state of ["pending", "sending", "unknown", "dead"])
    assert.is(now(`tidings_email_queue{state="${state}"}`), 0);
});

test("a count that is wrong shows as drift", async () => {
  await db.sql`truncate tidings.inbox, tidings.notification`;
  await storeMany(db.sql, 50, 3);
  assert.is((await scrape())("tidings_inbox_drift"), 0);
  await db.sql`update tidings.inbox set unread_count = 5 where user_id = '50'`;
  assert.is((await scrape())("tidings_inbox_drift"), 1);
  await db.sql`select tidings.recount('50')`;
  assert.is((await scrape())("tidings_inbox_drift"), 0);
});

test("no path a client makes up becomes a label", async () => {
  await fetch(`${app.url}/nothing/here/at-all`);
  const response = await fetch(`${app.url}/metrics`, { headers: await app.auth("p", { scope: "metrics" }) });
  assert.not.match(await response.text(), "at-all");
});

test("readyz names draining while the instance ends", async () => {
  const other = await instance(db.url, { env: { DOMAIN: "off", DRAIN_SECONDS: "1" } });
  const open = await Promise.all(
    [1, 2, 3, 4].map(async (user) => sse(`${other.url}/sse/notifications/`, await other.auth(user))),
  );
  await Promise.all(open.map((each) => each.find("ready")));
  const routes = other.service.app({} as Runtime);
  assert.is((await routes.request("/readyz")).status, 200);
  const stopped = other.stop();
  const answer = await routes.request("/readyz");
  assert.is(answer.status, 503);
  assert.equal(((await answer.json()) as { blockers: string[] }).blockers, ["draining"]);
  await stopped;
});

test.run();
