/**
 * The notification stream over WebSocket, seen by the `ws` package and by undici, which is as strict as a browser:
 * the frames and their order, what a client may send, and how a socket ends.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, HandshakeRefused, type SocketClient, socket, strictSocket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { rawClient, upgradeRequest } from "../helpers/raw.ts";
import { type Frame, store, storeMany, transient } from "../helpers/streams.ts";

const test = suite("websocket");
const PATH = "/ws/notifications/";
const UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
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

interface Seat {
  user: number;
  client: SocketClient;
  ready: Frame;
}

/** A stream of a new user (or this one), past its ready frame. */
async function seat(query = "", user = ++users, on: Instance = app): Promise<Seat> {
  const client = await socket(on.ws + PATH + query, { headers: await on.auth(user) });
  return { user, client, ready: await client.find("ready") };
}

async function rest(user: number, method: string, path: string, body?: object): Promise<Response> {
  const headers = { ...(await app.auth(user)), "content-type": "application/json" };
  return fetch(`${app.url}/api${path}`, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
}

const typed =
  (type: string, status?: string) =>
  (frame: Frame): boolean =>
    frame.type === type && (status === undefined || frame.data?.status === status);

const codes = (client: SocketClient): unknown[] => client.all("error").map((frame) => frame.data?.code);

test("the first frame is ready, with the cursor, the unread count and the heartbeat", async () => {
  const { ready, user } = await seat();
  assert.equal(ready, {
    type: "ready",
    data: { user_id: user, last_event_id: 0, unread_count: 0, resume: "live", heartbeat_seconds: 25 },
  });
  await storeMany(db.sql, user, 3);
  const later = await seat("", user);
  assert.equal(later.ready.data, { ...ready.data, last_event_id: 3, unread_count: 3 });
  assert.equal(later.client.outline(), ["ready"], "a stream without a cursor replays nothing");
});

test("a strict client gets the same stream with its token among the subprotocols, and tidings.v1 is selected", async () => {
  const user = ++users;
  const client = await strictSocket(app.ws + PATH, { protocols: ["tidings.v1", `bearer.${await token(user)}`] });
  assert.is(client.protocol, "tidings.v1");
  await client.find("ready");
  await store(db.sql, user, { message: "hello" });
  const frame = await client.find("notification");
  assert.is(frame.data?.message, "hello");
});

test("a notification has its canonical keys, the extra fields beside them and in data.data, and a canonical name wins", async () => {
  const { client, user } = await seat();
  const data = { task_id: 42, url: "/tasks/42", title: "forged", id: 999, is_read: true };
  await store(db.sql, user, { title: "Late", message: "It is late", type: "overdue", data });
  const frame = await client.find("notification");
  assert.match(String(frame.data?.created_at), UTC);
  assert.equal(frame, {
    type: "notification",
    id: 1,
    data: {
      ...{ id: 1, notification_id: 1, title: "Late", message: "It is late", notification_type: "overdue" },
      ...{ is_read: false, created_at: frame.data?.created_at, timestamp: frame.data?.created_at, data },
      ...{ task_id: 42, url: "/tasks/42" },
    },
  });
});

test("an entry with both sends the event first, with more, then the notification; both have its id", async () => {
  const { client, user } = await seat();
  const event = { type: "invite_created", invite: { id: 5, game: "chess" } };
  await store(db.sql, user, { type: "invite_created", event });
  const notification = await client.find("notification");
  assert.equal(client.frames[1], { ...event, id: 1, more: true });
  assert.is(notification.id, 1);
  assert.equal(client.outline(), ["ready", "invite_created 1", "notification 1"]);
});

test("an event alone is sent as it is, with its id, and nothing is added to the unread count", async () => {
  const { client, user } = await seat();
  await store(db.sql, user, { message: null, event: { type: "moved", from: "a2", to: "a4" } });
  assert.equal(await client.find("moved"), { type: "moved", from: "a2", to: "a4", id: 1 });
  client.send({ type: "get_unread_count" });
  assert.equal(await client.find("unread_count"), { type: "unread_count", data: { count: 0, by_type: {} } });
});

test("a transient event has no id and is not replayed; one too big for NOTIFY arrives as well", async () => {
  const { client, user } = await seat();
  await transient(db.sql, user, { type: "dm", senderId: 7 });
  assert.equal(await client.find("dm"), { type: "dm", senderId: 7 });
  const text = "ü".repeat(20_000);
  await transient(db.sql, user, { type: "big", text });
  assert.equal(await client.find("big"), { type: "big", text });
  await store(db.sql, user, { message: "m".repeat(20_000) });
  assert.is(String((await client.find("notification")).data?.message).length, 20_000);
  const again = await seat("?last_event_id=0", user);
  await again.client.find("unread_count");
  assert.equal(again.client.outline(), ["ready", "notification 1", "unread_count"]);
});

test("reading, unreading and deleting over REST reaches every stream of the user, with the new count", async () => {
  const { client, user } = await seat();
  const second = await seat("", user);
  const stranger = await seat();
  await store(db.sql, user, { type: "a" });
  await store(db.sql, user, { type: "b" });
  await client.find((frame) => frame.id === 2);
  const steps = [
    { method: "POST", path: "/notifications/1/read", status: "read", count: 1, by_type: { b: 1 } },
    { method: "POST", path: "/notifications/1/unread", status: "unread", count: 2, by_type: { a: 1, b: 1 } },
    { method: "DELETE", path: "/notifications/1", status: "archived", count: 1, by_type: { b: 1 } },
  ];
  for (const [at, { method, path, status, count, by_type }] of steps.entries()) {
    await rest(user, method, path);
    for (const each of [client, second.client]) {
      const update = await each.find(typed("notification_update", status));
      assert.equal(update, { type: "notification_update", data: { notification_id: 1, status } });
      await eventually(() => assert.is(each.all("unread_count").length, at + 1));
      assert.equal(each.all("unread_count")[at], { type: "unread_count", data: { count, by_type } });
    }
  }
  await rest(user, "POST", "/notifications/1/read");
  await rest(user, "POST", "/notifications/2/read");
  await eventually(() => assert.is(client.all("unread_count").length, 4));
  assert.is(client.all(typed("notification_update", "read")).length, 2, "an archived one is read no more");
  assert.equal(stranger.client.outline(), ["ready"]);
});

test("reading all says up to where, and for which type; nothing to read says nothing", async () => {
  const { client, user } = await seat();
  for (const type of ["a", "a", "b"]) await store(db.sql, user, { type });
  await client.find((frame) => frame.id === 3);
  await rest(user, "POST", "/notifications/read_all", { up_to: 1 });
  await rest(user, "POST", "/notifications/read_all", { type: "a" });
  await rest(user, "POST", "/notifications/read_all", { type: "a" });
  await rest(user, "POST", "/notifications/read_all", {});
  await eventually(() => assert.is(client.all("unread_count").length, 3));
  assert.equal(
    client.all(typed("notification_update", "read")).map((frame) => frame.data),
    [
      { up_to: 1, status: "read" },
      { up_to: 3, type: "a", status: "read" },
      { up_to: 3, status: "read" },
    ],
  );
  assert.equal(
    client.all("unread_count").map((frame) => frame.data?.count),
    [2, 1, 0],
  );
});

test("a socket reads one (number or text) and all, and asks for the count", async () => {
  const { client, user } = await seat();
  await storeMany(db.sql, user, 3);
  await client.find((frame) => frame.id === 3);
  client.send({ type: "mark_read", notification_id: 1 });
  client.send({ type: "mark_read", notification_id: "2" });
  client.send({ type: "get_unread_count" });
  client.send({ type: "mark_all_read" });
  await client.find((frame) => frame.data?.up_to === 3);
  assert.equal(
    client.all(typed("notification_update", "read")).map((frame) => frame.data?.notification_id ?? frame.data?.up_to),
    [1, 2, 3],
  );
  assert.equal(client.all("error"), []);
  const [row] = await db.sql`select unread_count from tidings.inbox where user_id = ${String(user)}`;
  assert.is(row?.unread_count, 0);
});

test("nobody reads what is another's: an error that does not tell it from what does not exist", async () => {
  const { user } = await seat();
  await store(db.sql, user);
  const other = await seat();
  other.client.send({ type: "mark_read", notification_id: 1 });
  const error = await other.client.find("error");
  assert.equal(error, { type: "error", data: { code: "not_found", message: "You have no notification 1." } });
  const [row] = await db.sql`select is_read from tidings.notification where user_id = ${String(user)}`;
  assert.is(row?.is_read, false);
});

test("what was first written to a stream is reported delivered, once, as a watermark", async () => {
  const { client, user } = await seat();
  await storeMany(db.sql, user, 3);
  const update = await client.find(typed("notification_update", "delivered"));
  assert.equal(update.data, { notification_id: 3, status: "delivered" });
  const [row] = await db.sql`select delivered_id from tidings.inbox where user_id = ${String(user)}`;
  assert.is(row?.delivered_id, 3);
});

test("ping, as a frame and as bare text, is answered by pong, in order", async () => {
  const { client } = await seat();
  client.send({ type: "ping" });
  client.send("ping");
  await eventually(() => assert.is(client.frames.length, 3));
  assert.equal(client.frames.slice(1), [{ type: "pong" }, { type: "pong", bare: true }]);
});

const BAD: readonly [string, string | Uint8Array, string][] = [
  ["no JSON", "hello", "bad_request"],
  ["an array", "[1]", "bad_request"],
  ["null", "null", "bad_request"],
  ["an unknown type", '{"type":"subscribe"}', "bad_request"],
  ["a type of the chat", '{"type":"typing","is_typing":true}', "bad_request"],
  ["a name every object has", '{"type":"constructor"}', "bad_request"],
  ["no id to read", '{"type":"mark_read"}', "invalid"],
  ["an id that is no number", '{"type":"mark_read","notification_id":"1e3"}', "invalid"],
  ["an empty token", '{"type":"auth","token":""}', "invalid"],
  ["more than 4 KiB", `{"type":"ping","filler":"${"x".repeat(4_096)}"}`, "too_large"],
  ["binary", new Uint8Array([1, 2, 3]), "bad_request"],
];
for (const [name, frame, code] of BAD) {
  test(`${name} is answered by an error frame, and the socket stays`, async () => {
    const { client } = await seat();
    client.send(frame);
    const error = await client.find("error");
    assert.is(error.data?.code, code);
    assert.type(error.data?.message, "string");
    client.send("ping");
    await client.find("pong");
  });
}

test("the fifth bad frame within a minute closes with 4400", async () => {
  const { client } = await seat();
  for (let at = 0; at < 5; at++) client.send("bad");
  assert.is((await client.closed).code, 4400);
  assert.equal(codes(client), Array(5).fill("bad_request"));
});

test("a message over 64 KiB closes with 1009, also in fragments; exactly 64 KiB is only an error", async () => {
  const { client } = await seat();
  client.send("x".repeat(64 * 1024));
  assert.is((await client.find("error")).data?.code, "too_large");
  client.send("x".repeat(64 * 1024 + 1));
  assert.is((await client.closed).code, 1009);
  const strict = await strictSocket(`${app.ws}${PATH}?token=${await token(++users)}`);
  strict.send("x".repeat(70_000));
  assert.is((await strict.closed).code, 1009);
});

test("over the rate limit one error is sent and frames are dropped; who goes on is closed with 4429", async () => {
  const { client } = await seat();
  for (let at = 0; at < 30; at++) client.send("ping");
  await client.find("error");
  await eventually(() => assert.ok(client.all("pong").length >= 20));
  assert.equal(codes(client), ["rate_limited"]);
  assert.ok(client.all("pong").length < 30);
  for (let at = 0; at < 30; at++) client.send("ping");
  assert.is((await client.closed).code, 4429);
  assert.equal(codes(client), ["rate_limited"]);
});

test("types passes the named frame types alone, after the cursor; ready, pong and error always pass", async () => {
  const { client, user } = await seat("?types=notification,%20moved");
  await store(db.sql, user, { event: { type: "moved" }, message: null });
  await store(db.sql, user, { event: { type: "hidden" }, message: null });
  await transient(db.sql, user, { type: "dm" });
  await store(db.sql, user, { event: { type: "hidden" } });
  client.send("ping");
  client.send("bad");
  await client.find((frame) => frame.id === 3);
  await client.find("error");
  const outline = client.outline().filter((line) => line !== "pong" && line !== "error");
  assert.equal(outline, ["ready", "moved 1", "notification 3"]);
  assert.is(client.all("pong").length, 1);
  const again = await seat("?types=moved&last_event_id=0", user);
  await again.client.find("moved");
  await store(db.sql, user, { event: { type: "moved" } });
  await again.client.find((frame) => frame.id === 4);
  assert.equal(again.client.frames.slice(1), [
    { type: "moved", id: 1 },
    { type: "moved", id: 4 },
  ]);
});

test("alias=notification repeats data under the key notification, on notification frames alone", async () => {
  const { client, user } = await seat("?alias=notification");
  await store(db.sql, user, { event: { type: "moved" } });
  const frame = await client.find("notification");
  assert.equal(frame.notification, frame.data);
  assert.is(client.frames[1]?.notification, undefined);
  const replayed = await (await seat("?alias=notification&last_event_id=0", user)).client.find("notification");
  assert.equal(replayed.notification, replayed.data);
});

test("every path works with and without the trailing slash", async () => {
  const headers = await app.auth(++users);
  for (const path of ["/ws/notifications", "/ws/notifications/"]) {
    await (await socket(app.ws + path, { headers })).find("ready");
  }
});

test("without an upgrade the answer is 426, and says how", async () => {
  const response = await fetch(app.url + PATH, { headers: await app.auth(1) });
  assert.is(response.status, 426);
  assert.is(response.headers.get("upgrade"), "websocket");
  assert.is(response.headers.get("content-type"), "application/problem+json");
  assert.is(((await response.json()) as { status: number }).status, 426);
});

test("an upgrade of any other path is refused with a status, not with a socket", async () => {
  for (const path of ["/", "/ws/nothing", "/api/inbox", "/sse/notifications/"]) {
    const refused = await socket(app.ws + path, { headers: await app.auth(1) }).catch((error: unknown) => error);
    assert.instance(refused, HandshakeRefused, path);
  }
});

test("the newest stream over a user's limit is closed with 4409; one that closes makes room; others are untouched", async () => {
  const limited = await instance(db.url, { env: { DOMAIN: "off", MAX_STREAMS_PER_USER: "2" } });
  try {
    const [first, second] = [await seat("", 1, limited), await seat("", 1, limited)];
    const third = await strictSocket(`${limited.ws}${PATH}?token=${await token(1)}`);
    assert.is((await third.closed).code, 4409);
    assert.equal(third.outline(), []);
    await seat("", 2, limited);
    first.client.close();
    await first.client.closed;
    await eventually(async () => {
      await seat("", 1, limited);
    });
    await store(db.sql, 1);
    await second.client.find("notification");
  } finally {
    await limited.stop();
  }
});

test("over MAX_STREAMS a new stream is closed with 1013, whoever asks", async () => {
  const limited = await instance(db.url, { env: { DOMAIN: "off", MAX_STREAMS: "1" } });
  try {
    await seat("", 1, limited);
    const refused = await socket(limited.ws + PATH, { headers: await limited.auth(2) });
    assert.is((await refused.closed).code, 1013);
  } finally {
    await limited.stop();
  }
});

test("a client is pinged; one that never answers is closed with 4408, one that does stays", async () => {
  const quick = await instance(db.url, { env: { DOMAIN: "off" }, timing: { heartbeatMs: 1_000, pongMs: 600 } });
  try {
    const { client: lively } = await seat("", 5, quick);
    const request = upgradeRequest(`${PATH}?token=${await token(5)}`);
    const deaf = await rawClient(Number(new URL(quick.url).port), request);
    await eventually(() => deaf.received().includes('"type":"ready"'));
    assert.match(deaf.received(), '"heartbeat_seconds":1}');
    await deaf.ended.then(() => assert.match(deaf.received(), "\x89\x00"));
    assert.ok(deaf.received().includes(String.fromCharCode(4408 >> 8, 4408 & 255)), "the close frame has the code");
    await store(db.sql, 5);
    await lively.find("notification");
  } finally {
    await quick.stop();
  }
});

test.run();
