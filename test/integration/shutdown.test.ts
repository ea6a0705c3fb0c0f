/**
 * The end of an instance, as a real process that gets real signals: it drains, finishes what it was asked, and exits 0;
 * a second signal ends it at once. Nothing that was stored meanwhile is lost to who comes back elsewhere.
 */
import { connect } from "node:net";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readConfig } from "../../src/config.ts";
import { serveNode } from "../../src/runtime/node.ts";
import { createService } from "../../src/service.ts";
import { type Cli, endAll, tidings } from "../helpers/cli.ts";
import { closeClients, eventSource, socket, sse, strictSocket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { instance, SECRET, token } from "../helpers/instance.ts";
import { rawClient, upgradeRequest } from "../helpers/raw.ts";
import { store } from "../helpers/streams.ts";

const test = suite("shutdown");
const WS = "/ws/notifications/";
const SSE = "/sse/notifications/";
let db: TestDatabase;

test.before(async () => {
  db = await database({ domain: false });
});
test.after.each(async () => {
  closeClients();
  await endAll();
});
test.after(() => db?.drop());

function serve(env: Record<string, string> = {}): Cli {
  return tidings(["serve"], { DATABASE_URL: db.url, JWT_SECRET: SECRET, DOMAIN: "off", DRAIN_SECONDS: "1", ...env });
}

const ws = (url: string): string => url.replace("http", "ws") + WS;

async function auth(user: number): Promise<{ authorization: string }> {
  return { authorization: `Bearer ${await token(user)}` };
}

function refused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ port, host: "127.0.0.1" });
    probe.on("error", () => resolve(true));
    probe.on("connect", () => {
      probe.destroy();
      resolve(false);
    });
  });
}

test("SIGTERM drains: 1012 on sockets, retry and the end on SSE, no new streams, not ready, exit 0", async () => {
  const server = serve({ DRAIN_SECONDS: "4" });
  const url = await server.url;
  const headers = await auth(1);
  const sockets = [await strictSocket(ws(url), { headers }), await socket(ws(url), { headers })];
  const stream = await sse(url + SSE, headers);
  await Promise.all([...sockets, stream].map((each) => each.find("ready")));
  server.kill("SIGTERM");
  await eventually(async () => assert.is((await fetch(`${url}/readyz`)).status, 503));
  const { blockers } = (await (await fetch(`${url}/readyz`)).json()) as { blockers: string[] };
  assert.equal(blockers, ["draining"]);
  assert.is((await (await socket(ws(url), { headers })).closed).code, 1012);
  const late = await fetch(url + SSE, { headers });
  assert.is(late.status, 200);
  assert.match(await late.text(), /^retry: \d+\n\n$/);
  for (const each of sockets) assert.equal(await each.closed, { code: 1012, reason: "restarting" });
  assert.is(await stream.ended, true);
  assert.is(stream.retries.length, 2);
  assert.ok(stream.retries[1]! >= 1_000 && stream.retries[1]! <= 5_000);
  assert.equal(await server.exited, { code: 0, signal: null });
  assert.not.match(server.stderr(), /"level":(50|60)/);
});

test("the ends are spread over DRAIN_SECONDS, and a stream is live until its own", async () => {
  const app = await instance(db.url, { env: { DOMAIN: "off", DRAIN_SECONDS: "2" } });
  const headers = await auth(2);
  const ends: number[] = [];
  const streams = await Promise.all(Array.from({ length: 20 }, () => socket(app.ws + WS, { headers })));
  await Promise.all(streams.map((stream) => stream.find("ready")));
  for (const { closed } of streams) void closed.then(() => ends.push(performance.now()));
  const stopped = app.stop();
  await eventually(() => ends.length > 0);
  await store(db.sql, 2);
  await stopped;
  await eventually(() => assert.is(ends.length, 20));
  const [first, middle, last] = [ends[0]!, ends[10]!, ends[19]!];
  assert.ok(last - first > 1_200, `all within ${last - first} ms`);
  assert.ok(middle - first > 400 && last - middle > 400, "evenly");
  assert.ok(streams.filter((stream) => stream.all("notification").length === 1).length > 10);
});

test("a request in flight is answered before the process ends", async () => {
  await store(db.sql, 3);
  const server = serve({ DRAIN_SECONDS: "0" });
  const url = await server.url;
  const headers = await auth(3);
  let answer: Promise<Response> | undefined;
  await db.sql.begin(async (sql) => {
    await sql`select from tidings.notification where user_id = '3' for update`;
    answer = fetch(`${url}/api/notifications/1/read`, { method: "POST", headers });
    await eventually(async () => {
      const waiting = await db.sql`select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      assert.is(waiting.length, 1);
    });
    server.kill("SIGTERM");
    await eventually(() => refused(Number(new URL(url).port)));
  });
  const response = await answer!;
  assert.is(response.status, 200);
  assert.is(((await response.json()) as { is_read: boolean }).is_read, true);
  assert.equal(await server.exited, { code: 0, signal: null });
});

test("clients that never answer a close, never read, or sit idle do not keep the process alive", async () => {
  const server = serve({ DRAIN_SECONDS: "0" });
  const url = await server.url;
  const port = Number(new URL(url).port);
  const deaf = await rawClient(port, upgradeRequest(`${WS}?token=${await token(4)}`));
  const still = await rawClient(port, `GET ${SSE}?token=${await token(4)} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const half = await rawClient(port, "GET / HTT");
  const idle = await rawClient(port, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  for (const client of [deaf, still]) await eventually(() => client.received().includes('"ready"'));
  await eventually(() => idle.received().includes('"ok"'));
  for (const client of [deaf, still]) client.socket.pause();
  const began = performance.now();
  server.kill("SIGTERM");
  assert.equal(await server.exited, { code: 0, signal: null });
  assert.ok(performance.now() - began < 7_000);
  half.socket.destroy();
});

test("a second signal ends it at once, with the code of that signal", async () => {
  const ends = [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const;
  const twice = ends.map(async ([signal, code]) => {
    const server = serve({ DRAIN_SECONDS: "60" });
    const url = await server.url;
    const headers = await auth(5);
    const streams = await Promise.all(Array.from({ length: 10 }, () => socket(ws(url), { headers })));
    await Promise.all(streams.map((stream) => stream.find("ready")));
    server.kill("SIGTERM");
    await Promise.race(streams.map(({ closed }) => closed));
    const began = performance.now();
    server.kill(signal);
    assert.equal(await server.exited, { code, signal: null });
    assert.ok(performance.now() - began < 2_000);
  });
  await Promise.all(twice);
});

test("a signal during the start ends it in order as well", async () => {
  // of servers killed just before, a connection may still be there
  const connections = async (): Promise<number[]> => {
    const rows = await db.sql<{ pid: number }[]>`
      select pid from pg_stat_activity
      where datname = current_database() and application_name like 'tidings%' and application_name <> 'tidings test'`;
    return rows.map((row) => row.pid);
  };
  const before = await connections();
  const server = serve();
  await eventually(async () => (await connections()).some((pid) => !before.includes(pid)), { everyMs: 5 });
  server.kill("SIGTERM");
  assert.equal(await server.exited, { code: 0, signal: null });
});

test("who is drained while entries are stored finds each of them on another instance, once", async () => {
  const env = { DOMAIN: "off" };
  const [app, other] = await Promise.all([instance(db.url, { env }), instance(db.url, { env })]);
  try {
    const headers = await auth(6);
    const before = await socket(app.ws + WS, { headers });
    await before.find("ready");
    let writing = true;
    const writer = (async () => {
      while (writing) await store(db.sql, 6);
    })();
    await before.find("notification");
    const stopped = app.stop();
    assert.is((await before.closed).code, 1012);
    const cursor = before.all("notification").at(-1)?.id ?? 0;
    const after = await socket(`${other.ws}${WS}?last_event_id=${cursor}`, { headers });
    await after.find("ready");
    await stopped;
    writing = false;
    await writer;
    const [row] = await db.sql<{ last_id: number }[]>`select last_id from tidings.inbox where user_id = '6'`;
    await after.find((frame) => frame.id === row!.last_id);
    const ids = [...before.all("notification"), ...after.all("notification")].map((frame) => frame.id);
    assert.equal(
      ids,
      Array.from({ length: row!.last_id }, (_, at) => at + 1),
    );
  } finally {
    await other.stop();
  }
});

test("an EventSource of a drained instance is sent away, not given up: it tries again by itself", async () => {
  const app = await instance(db.url, { env: { DOMAIN: "off" } });
  const source = eventSource(app.url + SSE, await auth(7));
  await source.find("ready");
  await app.stop();
  await eventually(() => assert.ok(source.errors.length > 0));
  assert.is(source.readyState(), 0, "connecting");
});

test("what was delivered is written down before the end", async () => {
  const app = await instance(db.url, { env: { DOMAIN: "off" } });
  const stream = await socket(app.ws + WS, { headers: await auth(8) });
  await stream.find("ready");
  await store(db.sql, 8);
  await stream.find("notification");
  await app.stop();
  const [row] = await db.sql`select delivered_id from tidings.inbox where user_id = '8'`;
  assert.is(row?.delivered_id, 1);
});

test("a service stopped at any moment of its start ends with it: nothing listens, nothing is connected", async () => {
  for (const ms of [0, 5, 10, 15, 20, 30, 40, 60]) {
    const log = { error() {}, warn() {}, info() {} };
    const config = {
      ...readConfig({ DATABASE_URL: db.url, JWT_SECRET: SECRET, DOMAIN: "off" }),
      port: 0,
      drainSeconds: 0,
    };
    const database = { url: db.url, listenUrl: db.url, embedded: false };
    const service = createService({ config, log, serve: serveNode, database });
    const started = service.start().catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, ms));
    await service.stop();
    const result = await started;
    if (!(result instanceof Error)) assert.ok(await refused((result as { port: number }).port), `${ms} ms`);
  }
  await eventually(async () => {
    const left = await db.sql`select from pg_stat_activity where datname = current_database()
      and application_name like 'tidings%' and application_name <> 'tidings test'`;
    assert.is(left.length, 0);
  });
});

test("stopping twice, at once, or before a start is no mistake, and leaves no connection to the database", async () => {
  const app = await instance(db.url, { env: { DOMAIN: "off" } });
  const stream = await socket(app.ws + WS, { headers: await auth(9) });
  await stream.find("ready");
  await Promise.all([app.stop(), app.stop()]);
  await app.stop();
  assert.is((await stream.closed).code, 1012);
  const left = await db.sql`select application_name from pg_stat_activity where datname = current_database()
    and application_name like 'tidings%' and application_name <> 'tidings test'`;
  assert.equal([...left], []);
});

test.run();
