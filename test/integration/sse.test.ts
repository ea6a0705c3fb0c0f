/**
 * The notification stream over SSE, byte for byte over plain HTTP, and as an EventSource and curl see it: fields and
 * their order, where `id:` stands, what a client is told before an end, keep-alives and refusals.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, curl, eventSource, type SseClient, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { store, storeMany, transient } from "../helpers/streams.ts";

const test = suite("sse");
const PATH = "/sse/notifications/";
let db: TestDatabase;
let app: Instance;
let users = 100;

test.before(async () => {
  db = await database({ domain: false });
  app = await instance(db.url, { env: { DOMAIN: "off" } });
});
test.after.each(closeClients);
test.after(async () => {
  await app?.stop();
  await db?.drop();
});

async function open(query = "", user = ++users, headers: Record<string, string> = {}): Promise<SseClient> {
  const client = await sse(app.url + PATH + query, { ...(await app.auth(user)), ...headers });
  await client.find("ready");
  return client;
}

/** `id:` of each block, with the type of its frame. */
const ids = ({ blocks }: SseClient): string[] =>
  blocks.map(({ id, data }) => `${id ?? "-"} ${data ? JSON.parse(data).type : "-"}`);

test("the head is an event stream that no cache keeps and no proxy holds back", async () => {
  const { status, headers } = await open();
  assert.is(status, 200);
  assert.is(headers["content-type"], "text/event-stream");
  assert.is(headers["cache-control"], "no-store");
  assert.is(headers["x-accel-buffering"], "no");
  assert.is(headers["content-encoding"], undefined);
});

test("the stream begins with retry, the cursor as id, and ready", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 3);
  const client = await open("", user);
  const data = { user_id: user, last_event_id: 3, unread_count: 3, resume: "live", heartbeat_seconds: 20 };
  assert.is(client.text(), `retry: 2000\nid: 3\ndata: ${JSON.stringify({ type: "ready", data })}\n\n`);
});

test("id stands on the last frame of an entry alone, and on no transient frame", async () => {
  const client = await open();
  const user = users;
  await store(db.sql, user, { event: { type: "moved" } });
  await transient(db.sql, user, { type: "dm" });
  await store(db.sql, user, { message: null, event: { type: "moved" } });
  await client.find((frame) => frame.id === 2);
  assert.equal(ids(client), ["0 ready", "- moved", "1 notification", "- dm", "2 moved"]);
});

test("the frames are those of a WebSocket, and no event name keeps them from onmessage", async () => {
  const user = ++users;
  const source = eventSource(app.url + PATH, await app.auth(user));
  await source.find("ready");
  const event = { type: "moved", text: "line one\nline two\r\nü" };
  await store(db.sql, user, { event, data: { task_id: 1 } });
  const frame = await source.find("notification");
  assert.is(frame.data?.task_id, 1);
  assert.equal(source.frames[1], { ...event, id: 1, more: true });
  // the package gives "" where the block had no id; a browser goes on with the last one
  assert.equal(source.lastEventIds, ["0", "", "1"]);
});

test("named=1 adds the type as the event name", async () => {
  const user = ++users;
  const source = eventSource(`${app.url}${PATH}?named=1`, await app.auth(user), ["ready", "moved"]);
  await source.find("ready");
  await store(db.sql, user, { event: { type: "moved" } });
  await source.find("moved");
  const client = await open("?named=1&last_event_id=0", user);
  await client.find("unread_count");
  assert.equal(
    client.blocks.map(({ event }) => event),
    ["ready", "moved", "notification", "unread_count"],
  );
});

test("a type with a line break in it cannot write fields of its own", async () => {
  const client = await open("?named=1");
  await transient(db.sql, users, { type: "x\nid: 999\nevent: y" });
  await transient(db.sql, users, { type: "after" });
  await client.find("after");
  assert.equal(ids(client), ["0 ready", "- x\nid: 999\nevent: y", "- after"]);
  assert.is(client.lastEventId(), "0");
});

test("types filters after the cursor, and a filtered entry is passed as a bare id", async () => {
  const client = await open("?types=moved");
  const user = users;
  await store(db.sql, user);
  await store(db.sql, user, { event: { type: "moved" } });
  await store(db.sql, user);
  await eventually(() => assert.is(client.lastEventId(), "3"));
  assert.equal(ids(client), ["0 ready", "1 -", "2 moved", "3 -"]);
  const again = await open("?types=moved&last_event_id=0", user);
  await eventually(() => assert.is(again.lastEventId(), "3"));
  assert.equal(ids(again), ["0 ready", "2 moved", "3 -"], "of those filtered in a row, the last one is told");
});

test("the header goes before the query, which has two more names; an empty one is none", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 4);
  const cases: [string, Record<string, string>, number][] = [
    ["?last_event_id=1", { "last-event-id": "3" }, 3],
    ["?last_event_id=2", {}, 2],
    ["?lastEventId=1", {}, 1],
    ["?lastEventID=0", {}, 0],
    ["?last_event_id=", {}, 4],
    ["", {}, 4],
  ];
  for (const [query, headers, cursor] of cases) {
    const client = await open(query, user, headers);
    if (cursor < 4) await client.find("unread_count");
    assert.is(client.blocks[0]?.id, String(cursor), `${query} ${JSON.stringify(headers)}`);
    assert.equal(
      client.all("notification").map((frame) => frame.id),
      [1, 2, 3, 4].slice(cursor),
    );
  }
});

test("an EventSource that was cut off comes back at its cursor and misses nothing", async () => {
  const user = ++users;
  const url = `${app.url}${PATH}`;
  let cut: (() => void) | undefined;
  const headers = await app.auth(user);
  const { EventSource } = await import("eventsource");
  const seen: string[] = [];
  const source = new EventSource(url, {
    fetch: async (input, init) => {
      const controller = new AbortController();
      cut = () => controller.abort(new TypeError("connection lost"));
      init.signal?.addEventListener("abort", () => controller.abort());
      return fetch(input, { ...init, signal: controller.signal, headers: { ...init.headers, ...headers } });
    },
  });
  try {
    source.onmessage = ({ lastEventId }: MessageEvent) => void seen.push(lastEventId);
    await eventually(() => assert.equal(seen, ["0"]));
    cut?.();
    await storeMany(db.sql, user, 3);
    const resumed = ["0", "0", "1", "2", "3", ""];
    await eventually(() => assert.equal(seen, resumed), { deadlineMs: 8_000 });
  } finally {
    source.close();
  }
});

test("curl reads a stream, and leaves nothing behind when it goes", async () => {
  const user = ++users;
  const client = curl("-H", `Authorization: Bearer ${await token(user)}`, app.url + PATH);
  await client.find("ready");
  await store(db.sql, user, { message: "for curl" });
  assert.is((await client.find("notification")).data?.message, "for curl");
  assert.equal(client.retries, [2_000]);
  client.close();
  await client.exited;
});

test("a keep-alive is a comment, or with heartbeat=1 a pong frame that a page can see", async () => {
  const quick = await instance(db.url, { env: { DOMAIN: "off" }, timing: { sseHeartbeatMs: 500 } });
  try {
    const headers = await quick.auth(++users);
    const comments = await sse(quick.url + PATH, headers);
    const pongs = await sse(`${quick.url}${PATH}?heartbeat=1`, headers);
    assert.is((await pongs.find("ready")).data?.heartbeat_seconds, 0.5);
    await pongs.find("pong");
    await eventually(() => assert.equal(comments.comments.slice(0, 1), ["keep-alive"]));
    assert.equal(comments.all("pong"), []);
    assert.equal(pongs.comments, []);
    assert.is(pongs.lastEventId(), "0");
  } finally {
    await quick.stop();
  }
});

test("no token and a bad token are 401 problem documents, which an EventSource takes for good", async () => {
  for (const headers of [{}, { authorization: "Bearer nonsense" }]) {
    const refused = await sse(app.url + PATH, headers as Record<string, string>);
    await refused.ended;
    assert.is(refused.status, 401);
    assert.is(refused.headers["content-type"], "application/problem+json");
    assert.match(String(refused.headers["www-authenticate"]), /^Bearer/);
    const body = JSON.parse(refused.text());
    assert.is(body.status, 401);
    assert.is(body.code, "unauthenticated");
  }
  const source = eventSource(app.url + PATH);
  await eventually(() => assert.is(source.readyState(), 2));
  assert.equal(source.errors, [401]);
});

test("one stream over the user's limit is 429; others are served", async () => {
  const limited = await instance(db.url, { env: { DOMAIN: "off", MAX_STREAMS_PER_USER: "1" } });
  try {
    const first = await sse(limited.url + PATH, await limited.auth(1));
    await first.find("ready");
    const second = await sse(limited.url + PATH, await limited.auth(1));
    await second.ended;
    assert.is(second.status, 429);
    assert.is(JSON.parse(second.text()).code, "too_many_streams");
    await (await sse(limited.url + PATH, await limited.auth(2))).find("ready");
    first.close();
    await eventually(async () => {
      await (await sse(limited.url + PATH, await limited.auth(1))).find("ready", 500);
    });
  } finally {
    await limited.stop();
  }
});

test("over MAX_STREAMS the answer is 200, a jittered retry and the end: an EventSource tries again later", async () => {
  const limited = await instance(db.url, { env: { DOMAIN: "off", MAX_STREAMS: "1" } });
  try {
    await (await sse(limited.url + PATH, await limited.auth(1))).find("ready");
    const waits = new Set<number>();
    for (let at = 0; at < 5; at++) {
      const refused = await sse(limited.url + PATH, await limited.auth(2));
      assert.is(await refused.ended, true);
      assert.is(refused.status, 200);
      assert.is(refused.headers["content-type"], "text/event-stream");
      assert.match(refused.text(), /^retry: \d+\n\n$/);
      waits.add(refused.retries[0]!);
    }
    assert.ok([...waits].every((ms) => ms >= 5_000 && ms <= 15_000));
    assert.ok(waits.size > 1);
  } finally {
    await limited.stop();
  }
});

test("the trailing slash is optional, HEAD holds no stream open, and an upgrade is refused", async () => {
  const headers = await app.auth(++users);
  await (await sse(`${app.url}/sse/notifications`, headers)).find("ready");
  const head = await fetch(app.url + PATH, { method: "HEAD", headers });
  assert.is(head.status, 200);
  assert.is(head.headers.get("content-type"), "text/event-stream");
  assert.is((await fetch(app.url + PATH, { method: "POST", headers })).status, 404);
});

test("a page of an allowed origin may read the stream; of another it gets 403", async () => {
  const pages = await instance(db.url, { env: { DOMAIN: "off", ALLOWED_ORIGINS: "https://app.example" } });
  try {
    const headers = { ...(await pages.auth(1)), origin: "https://app.example" };
    const client = await sse(pages.url + PATH, headers);
    assert.is(client.status, 200);
    assert.is(client.headers["access-control-allow-origin"], "https://app.example");
    assert.is(client.headers["access-control-allow-credentials"], "true");
    const foreign = await sse(pages.url + PATH, { ...headers, origin: "https://evil.example" });
    await foreign.ended;
    assert.is(foreign.status, 403);
    assert.is(foreign.headers["access-control-allow-origin"], undefined);
    assert.is(JSON.parse(foreign.text()).code, "forbidden");
  } finally {
    await pages.stop();
  }
});

test.run();
