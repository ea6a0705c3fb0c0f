/**
 * Cursors: what a stream that comes back is given, when it is told to start over, and that nothing is lost or sent
 * twice: at the seam of replay and live, with a dead LISTEN connection, and with a reader that stands still.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, type SocketClient, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { rawClient, upgradeRequest } from "../helpers/raw.ts";
import { killListeners, store, storeMany } from "../helpers/streams.ts";

const test = suite("resume");
const WS = "/ws/notifications/";
const SSE = "/sse/notifications/";
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

async function open(user: number, query = "", on: Instance = app): Promise<SocketClient> {
  return socket(on.ws + WS + query, { headers: await on.auth(user) });
}

const idsOf = (client: Pick<SocketClient, "all">): (number | undefined)[] =>
  client.all("notification").map((frame) => frame.id);

const upTo = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, at) => first + at);

test("a resumed stream gets ready, what it missed in order, then one unread_count, and is live from there", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 5);
  const client = await open(user, "?last_event_id=2");
  await client.find("unread_count");
  await store(db.sql, user);
  await client.find((frame) => frame.id === 6);
  assert.equal(client.outline(), [
    ...["ready", "notification 3", "notification 4", "notification 5", "unread_count", "notification 6"],
  ]);
  assert.equal(client.frames[0]?.data, {
    ...{ user_id: user, last_event_id: 2, unread_count: 5, resume: "complete", heartbeat_seconds: 25 },
  });
  assert.equal(client.frames[4]?.data, { count: 5, by_type: { note: 5 } });
});

test("a cursor at the newest id replays nothing and says so", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 2);
  const client = await open(user, "?last_event_id=2");
  await client.find("unread_count");
  assert.equal(client.outline(), ["ready", "unread_count"]);
  assert.is(client.frames[0]?.data?.resume, "complete");
});

test("0 asks for everything from the first, over many pages; both frames of an entry come again", async () => {
  const user = ++users;
  await store(db.sql, user, { event: { type: "moved" } });
  await storeMany(db.sql, user, 349);
  const client = await open(user, "?last_event_id=0");
  await client.find("unread_count");
  assert.equal(client.outline().slice(1, 3), ["moved 1", "notification 1"]);
  assert.equal(idsOf(client), upTo(350));
});

test("an archived notification leaves no hole: it is replayed with archived, and read state as it is now", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 3);
  const headers = await app.auth(user);
  await fetch(`${app.url}/api/notifications/2`, { method: "DELETE", headers });
  await fetch(`${app.url}/api/notifications/3/read`, { method: "POST", headers });
  const client = await open(user, "?last_event_id=0");
  await client.find("unread_count");
  const replayed = client.all("notification");
  assert.equal(
    replayed.map(({ id, archived, data }) => [id, archived, data?.is_read]),
    [
      [1, undefined, false],
      [2, true, false],
      [3, undefined, true],
    ],
  );
  assert.is(client.frames.at(-1)?.data?.count, 1);
});

const GARBAGE = ["9", "-1", "1.5", "abc", "99999999999999999999", "1e3", "%00", "9007199254740993"];
for (const cursor of GARBAGE) {
  test(`a cursor of ${cursor} is answered by a reset to the newest, and the stream goes on live`, async () => {
    const user = ++users;
    await storeMany(db.sql, user, 2);
    const client = await open(user, `?last_event_id=${cursor}`);
    await client.find("reset");
    await store(db.sql, user);
    await client.find("notification");
    assert.equal(client.frames.slice(0, 2), [
      {
        type: "ready",
        data: { user_id: user, last_event_id: 2, unread_count: 2, resume: "reset", heartbeat_seconds: 25 },
      },
      { type: "reset", data: { last_event_id: 2 } },
    ]);
    assert.equal(client.outline().slice(2), ["notification 3"]);
  });
}

test("a cursor below what retention kept is answered by a reset; at the floor it is not", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 5);
  await db.sql`update tidings.notification set created_at = created_at - interval '60 days'
    where user_id = ${String(user)} and id <= 3`;
  await db.sql`select tidings.prune(now() - interval '30 days')`;
  const below = await open(user, "?last_event_id=2");
  await below.find("reset");
  assert.equal(below.outline(), ["ready", "reset"]);
  const at = await open(user, "?last_event_id=3");
  await at.find("unread_count");
  assert.equal(at.outline(), ["ready", "notification 4", "notification 5", "unread_count"]);
  const header = { ...(await app.auth(user)), "last-event-id": "2" };
  const overSse = await sse(app.url + SSE, header);
  await overSse.find("reset");
  assert.equal(
    overSse.blocks.map(({ id }) => id),
    ["5", "5"],
    "an EventSource goes on from the newest",
  );
});

test("types apply to the replay, and reset passes them", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 2);
  const client = await open(user, "?types=moved&last_event_id=7");
  await client.find("reset");
  const filtered = await open(user, "?types=notification&last_event_id=0");
  await filtered.find((frame) => frame.id === 2);
  assert.equal(filtered.outline(), ["ready", "notification 1", "notification 2"], "unread_count was not asked for");
});

test("between replay and live there is no seam: opened at random moments under writes, every stream has each entry once", async () => {
  const user = ++users;
  let writing = true;
  const writers = [1, 2].map(async () => {
    while (writing) await storeMany(db.sql, user, 1 + Math.floor(Math.random() * 3));
  });
  const clients: SocketClient[] = [];
  for (let at = 0; at < 20; at++) {
    clients.push(await open(user, "?last_event_id=0"));
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  writing = false;
  await Promise.all(writers);
  const [row] = await db.sql<{ last_id: number }[]>`select last_id from tidings.inbox where user_id = ${String(user)}`;
  for (const client of clients) {
    await client.find((frame) => frame.id === row!.last_id, 10_000);
    assert.equal(idsOf(client), upTo(row!.last_id));
  }
});

test("with its LISTEN connection killed an instance keeps its streams, and they catch up", async () => {
  const user = ++users;
  const client = await open(user);
  await client.find("ready");
  await store(db.sql, user);
  await client.find((frame) => frame.id === 1);
  for (let round = 0; round < 2; round++) {
    await killListeners(db.sql);
    await storeMany(db.sql, user, 5);
    await client.find((frame) => frame.id === 1 + 5 * (round + 1), 10_000);
  }
  assert.equal(idsOf(client), upTo(11));
  assert.equal(
    client.all((frame) => frame.type === "ready" || frame.type === "reset").length,
    1,
    "the client has noticed nothing",
  );
});

test("NOTIFYs that lie, repeat, skip or are no JSON do not put a stream out of order", async () => {
  const user = ++users;
  const client = await open(user);
  await client.find("ready");
  await storeMany(db.sql, user, 2);
  await client.find((frame) => frame.id === 2);
  const envelope = (id: unknown, extra: object = {}): string =>
    JSON.stringify({ type: "notify", group: `user_${user}`, id, ...extra });
  const payload = { notification: { title: "again" } };
  for (const text of [
    "",
    "null",
    "[",
    "{}",
    envelope(1, { payload }),
    envelope(2, { payload }),
    envelope(9),
    envelope("x"),
  ]) {
    await db.sql`select pg_notify('tidings', ${text})`;
  }
  await store(db.sql, user);
  await client.find((frame) => frame.id === 3);
  assert.equal(idsOf(client), [1, 2, 3]);
});

test("a reader that stands still holds up nobody, and gets everything when it goes on", async () => {
  const user = ++users;
  const request = upgradeRequest(`${WS}?token=${await token(user)}`);
  const still = await rawClient(Number(new URL(app.url).port), request);
  await eventually(() => still.received().includes('"ready"'));
  still.socket.pause();
  const lively = await open(user);
  await lively.find("ready");
  const message = "m".repeat(3_000);
  for (let at = 0; at < 20; at++) {
    await db.sql`select tidings.send_notification(${String(user)}::text, 'T', ${message}::text, 'note')
      from generate_series(1, 100)`;
  }
  await lively.find((frame) => frame.id === 2_000, 10_000);
  assert.equal(idsOf(lively), upTo(2_000));
  still.socket.resume();
  await eventually(() => assert.ok(still.received().includes('"type":"notification","id":2000')), {
    deadlineMs: 10_000,
  });
  const ids = [...still.received().matchAll(/"type":"notification","id":(\d+)/g)].map(([, id]) => Number(id));
  assert.equal(ids, upTo(2_000));
});

test("a database that went back to an older state is answered by a reset, not by silence", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 5);
  const client = await open(user);
  await client.find("ready");
  await db.sql.begin(async (sql) => {
    await sql`delete from tidings.notification where user_id = ${String(user)} and id > 3`;
    await sql`update tidings.inbox set last_id = 3, unread_count = 3 where user_id = ${String(user)}`;
  });
  // the sweep that finds it runs twice a minute, and whenever LISTEN comes back
  await killListeners(db.sql);
  assert.equal((await client.find("reset", 10_000)).data, { last_event_id: 3 });
  await store(db.sql, user);
  assert.is((await client.find("notification")).id, 4);
});

test.run();
