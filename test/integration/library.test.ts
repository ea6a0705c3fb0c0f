/** Tidings inside an app of somebody's own: their Hono, server, client, users table and token check. */
import { type ServerType, serve } from "@hono/node-server";
import { Hono } from "hono";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import WebSocket from "ws";
import { createTidings, type Tidings } from "../../src/index.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";

const test = suite("as a library");
let db: TestDatabase;
let tidings: Tidings;
let server: ServerType;
let base: string;

test.before(async () => {
  db = await database({ migrate: false });
  await db.sql`create table people (id int primary key, session text)`;
  await db.sql`insert into people values (7, 'opaque-seven')`;
  tidings = createTidings({
    databaseUrl: db.url,
    sql: db.sql,
    async verify(token) {
      const [person] = await db.sql<{ id: number }[]>`select id from people where session = ${token}`;
      return person ? { userId: person.id } : null;
    },
  });
  const app = new Hono();
  app.get("/", (c) => c.text("their own page"));
  app.route("/notify", tidings.app);
  await tidings.start();
  await new Promise<void>((resolve) => {
    server = serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) => {
      base = `127.0.0.1:${port}`;
      resolve();
    });
  });
  tidings.upgrade(server as never);
});
test.after(async () => {
  await tidings.stop();
  server.close();
  await db.drop();
});

const authorization = { authorization: "Bearer opaque-seven" };

test("the app's own pages stay, and the inbox answers below the mount point, with and without a slash", async () => {
  assert.is(await (await fetch(`http://${base}/`)).text(), "their own page");
  for (const path of ["/notify/api/inbox", "/notify/api/inbox/"]) {
    const inbox = await (await fetch(`http://${base}${path}`, { headers: authorization })).json();
    assert.is(inbox.last_event_id, 0);
  }
  assert.is((await fetch(`http://${base}/notify/api/inbox`)).status, 401);
});

test("a notification sent from TypeScript reaches a WebSocket and an SSE stream of theirs", async () => {
  const socket = new WebSocket(`ws://${base}/notify/ws/notifications/`, { headers: authorization });
  const frames: { type: string; data: { message?: string; user_id?: number } }[] = [];
  socket.on("message", (data) => frames.push(JSON.parse(String(data))));
  const sse = await fetch(`http://${base}/notify/sse/notifications`, { headers: authorization });
  assert.is(sse.headers.get("content-type"), "text/event-stream");
  const reader = sse.body!.getReader();
  let text = "";
  void (async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read())
      text += new TextDecoder().decode(part.value);
  })().catch(() => {});
  await eventually(() => assert.ok(frames[0]?.type === "ready" && text.includes("ready")));
  assert.is(frames[0]!.data.user_id, 7);
  await tidings.sendNotification(7, { title: "Hi", message: "from TypeScript", type: "note" });
  await eventually(() => assert.ok(frames[1]?.data.message === "from TypeScript" && text.includes("from TypeScript")));
  socket.close();
  await reader.cancel();
});

test("a token their check refuses closes with 4401, another upgrade is not ours to answer", async () => {
  const refused = new WebSocket(`ws://${base}/notify/ws/notifications/?token=wrong`);
  const code = await new Promise((resolve) => refused.on("close", resolve));
  assert.is(code, 4401);
  const foreign = new WebSocket(`ws://${base}/their/own/socket`);
  await new Promise((resolve) => foreign.on("error", resolve));
  assert.is((await fetch(`http://${base}/notify/healthz`)).status, 200);
});

test("nothing of the reference domain comes along", async () => {
  const rows = await db.sql`select nspname from pg_namespace where nspname in ('app', 'tidings')`;
  assert.equal(
    rows.map((row) => row.nspname),
    ["tidings"],
  );
});

test.run();
