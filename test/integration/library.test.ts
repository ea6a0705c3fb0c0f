/** Tidings inside an app of somebody's own: their Hono, server, client, users table and token check. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener, type ServerType, serve } from "@hono/node-server";
import { Hono } from "hono";
import postgres, { type Sql } from "postgres";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import WebSocket from "ws";
import { createTidings, type Tidings } from "../../src/index.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";

const test = suite("as a library");
let db: TestDatabase;
/** Made by them, with the driver's defaults: not by us. */
let sql: Sql;
let tidings: Tidings;
let server: ServerType;
let base: string;

/** On their own client, users table and token check. */
function create(client: Sql): Tidings {
  return createTidings({
    databaseUrl: db.url,
    sql: client,
    async verify(token) {
      const [person] = await sql<{ id: number }[]>`select id from people where session = ${token}`;
      return person ? { userId: person.id } : null;
    },
  });
}

test.before(async () => {
  db = await database({ migrate: false });
  sql = postgres(db.url, { onnotice() {} });
  await sql`create table people (id int primary key, session text)`;
  await sql`insert into people values (7, 'opaque-seven')`;
  tidings = create(sql);
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
  tidings.upgrade(server);
});
test.after(async () => {
  await tidings.stop();
  server.close();
  await sql.end();
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

const CLIENTS: readonly [what: string, options: postgres.Options<Record<string, postgres.PostgresType>>][] = [
  ["of the driver's defaults", {}],
  ["that reads bigint as BigInt", { types: { bigint: postgres.BigInt } }],
  ["that fetches no types", { fetch_types: false }],
];

for (const [what, options] of CLIENTS) {
  test(`on a plain HTTP server and a client ${what}, a stream resumes and goes on, and their rows read as before`, async () => {
    const client = postgres(db.url, { ...options, onnotice() {} }) as Sql;
    const one = create(client);
    const plain = createServer(getRequestListener(new Hono().route("/notify", one.app).fetch)).listen(0, "127.0.0.1");
    await Promise.all([one.start(), once(plain, "listening")]);
    one.upgrade(plain);
    const at = `127.0.0.1:${(plain.address() as AddressInfo).port}/notify`;
    await one.sendNotification(7, { title: "Hi", message: "before", type: "note" });
    const inbox = await (await fetch(`http://${at}/api/inbox`, { headers: authorization })).json();
    const newest: number = inbox.last_event_id;
    assert.type(newest, "number");
    assert.equal(inbox.unread_count, inbox.notifications.length);
    const url = `ws://${at}/ws/notifications/?last_event_id=${newest - 1}`;
    const socket = new WebSocket(url, { headers: authorization });
    const ids: (number | string)[] = [];
    socket.on("message", (data) => ids.push(...[JSON.parse(String(data)).id].filter((id) => id !== undefined)));
    await eventually(() => assert.equal(ids, [newest]));
    await one.sendNotification(7, { title: "Hi", message: "live", type: "note" });
    await eventually(() => assert.equal(ids, [newest, newest + 1]));
    socket.close();
    await one.stop();
    const [row] = await client`select 1::bigint as one`;
    assert.is(row!.one, options.types ? 1n : "1");
    await client.end();
    plain.close();
  });
}

test("a client that renames columns is refused with what to do", () => {
  const client = postgres(db.url, { transform: postgres.camel }) as unknown as Sql;
  assert.throws(() => create(client), /transform/);
});

test("nothing of the reference domain comes along", async () => {
  const rows = await sql`select nspname from pg_namespace where nspname in ('app', 'tidings')`;
  assert.equal(
    rows.map((row) => row.nspname),
    ["tidings"],
  );
});

test.run();
