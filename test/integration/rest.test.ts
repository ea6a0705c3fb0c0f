/**
 * REST over the inbox: the snapshot that joins a stream without a seam, lists, read state, publishing, and what a
 * request is refused with. The reference domain's routes are tested elsewhere.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { proxyFor } from "../helpers/proxy.ts";
import { store, storeMany } from "../helpers/streams.ts";

const test = suite("rest");
let db: TestDatabase;
let app: Instance;
let users = 100;

test.before(async () => {
  db = await database({ domain: false });
  app = await instance(db.url, { env: { DOMAIN: "off", ALLOWED_ORIGINS: "https://app.example" } });
});
test.after.each(closeClients);
test.after(async () => {
  await app?.stop();
  await db?.drop();
});

interface Item {
  id: number;
  is_read: boolean;
  notification_type: string;
  [key: string]: unknown;
}

interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: an answer of any shape, to be compared
  body: any;
}

async function call(method: string, path: string, headers: Record<string, string>, body?: unknown): Promise<Answer> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const json: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
  const response = await fetch(app.url + path, {
    method,
    headers: { ...json, ...headers },
    ...(body === undefined ? {} : { body: text }),
  });
  const answer = await response.text();
  return { status: response.status, headers: response.headers, body: answer ? JSON.parse(answer) : undefined };
}

async function as(user: number, method: string, path: string, body?: unknown): Promise<Answer> {
  return call(method, path, await app.auth(user), body);
}

const items = (answer: Answer): number[] => (answer.body.items as Item[]).map(({ id }) => id);

/** A refusal is a problem document whose members agree with each other and with the status line. */
function isProblem({ status, headers, body }: Answer, expected: number, code: string, name = ""): void {
  assert.is(status, expected, name);
  assert.is(headers.get("content-type"), "application/problem+json", name);
  assert.equal(Object.keys(body).sort(), ["code", "detail", "status", "title", "type"], name);
  assert.is(body.status, expected, name);
  assert.is(body.code, code, name);
  assert.ok(body.detail.length > 5, name);
  assert.not.match(body.detail, /postgres|sql|select|column|stack|zod/i, name);
}

test("the snapshot of somebody who was never notified is empty and complete", async () => {
  const { status, headers, body } = await as(++users, "GET", "/api/inbox");
  assert.is(status, 200);
  assert.match(String(headers.get("content-type")), /^application\/json/);
  assert.equal(body, {
    ...{ notifications: [], unread_count: 0, by_type: {}, last_event_id: 0 },
    ...{ pending_invites: [], friend_requests: [], friends: [] },
  });
});

test("the snapshot has the newest 50 notifications, the counts and where to open the stream", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 60);
  await store(db.sql, user, { type: "overdue", data: { task_id: 4 } });
  await store(db.sql, user, { message: null, event: { type: "moved" } });
  await as(user, "DELETE", "/api/notifications/60");
  const { body } = await as(user, "GET", "/api/inbox");
  const expected = [61, 59, ...Array.from({ length: 48 }, (_, at) => 58 - at)];
  assert.equal(
    body.notifications.map(({ id }: Item) => id),
    expected,
  );
  assert.is(body.notifications[0].task_id, 4);
  assert.is(body.unread_count, 60);
  assert.equal(body.by_type, { note: 59, overdue: 1 });
  assert.is(body.last_event_id, 62);
});

for (const transport of ["websocket", "sse"] as const) {
  test(`a snapshot and the ${transport} stream opened at its last_event_id make exactly 1..N, under eight writers`, async () => {
    const user = ++users;
    const headers = await app.auth(user);
    let writing = true;
    const writers = Array.from({ length: 8 }, async () => {
      const sql = db.connect({ max: 1, name: "writer" });
      while (writing) await store(sql, user);
    });
    const visits: { known: number[]; after: number; live(): number[] }[] = [];
    for (let at = 0; at < 12; at++) {
      const { body } = await call("GET", "/api/inbox", headers);
      const after: number = body.last_event_id;
      const query = `/notifications/?last_event_id=${after}`;
      const stream = await (transport === "sse"
        ? sse(`${app.url}/sse${query}`, headers)
        : socket(`${app.ws}/ws${query}`, { headers }));
      const known = body.notifications.map(({ id }: Item) => id).reverse();
      visits.push({ known, after, live: () => stream.all("notification").map((frame) => frame.id!) });
      assert.is(body.unread_count, after, "the count is of the same moment");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    writing = false;
    await Promise.all(writers);
    const last = (await call("GET", "/api/inbox", headers)).body.last_event_id as number;
    assert.ok(last > 50);
    for (const { known, after, live } of visits) {
      await eventually(() => assert.is(live().at(-1) ?? after, last));
      const union = [...known, ...live()];
      assert.is(known.at(-1) ?? 0, after);
      assert.equal(
        union,
        Array.from({ length: union.length }, (_, at) => last - union.length + 1 + at),
        "each once, in order, without a seam",
      );
      assert.ok(known.length === Math.min(50, after));
    }
  });
}

test("the list is newest first, in pages that end with next null, and filters by read state and type", async () => {
  const user = ++users;
  for (let at = 1; at <= 7; at++) await store(db.sql, user, { type: at % 2 ? "odd" : "even" });
  for (const id of [1, 2]) await as(user, "POST", `/api/notifications/${id}/read`);
  const list = (query: string): Promise<Answer> => as(user, "GET", `/api/notifications?${query}`);
  const first = await list("limit=3");
  assert.equal(items(first), [7, 6, 5]);
  assert.is(first.body.next, 5);
  const second = await list(`limit=3&before=${first.body.next}`);
  assert.equal(items(second), [4, 3, 2]);
  const third = await list(`limit=3&before=${second.body.next}`);
  assert.equal([items(third), third.body.next], [[1], null]);
  assert.equal(items(await list("limit=7")), [7, 6, 5, 4, 3, 2, 1]);
  assert.is((await list("limit=7")).body.next, null, "a full last page is the last one");
  assert.equal(items(await list("unread=true")), [7, 6, 5, 4, 3]);
  assert.equal(items(await list("unread=1&type=even")), [6, 4]);
  assert.equal(items(await list("unread=false")), [2, 1]);
  assert.equal(items(await list("type=nothing")), []);
  assert.equal(items(await list("before=1")), []);
});

test("a limit of 200 is the most, 50 the default, and what is no limit is 422", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 210);
  assert.is(items(await as(user, "GET", "/api/notifications")).length, 50);
  assert.is(items(await as(user, "GET", "/api/notifications?limit=200")).length, 200);
  for (const query of [
    "limit=201",
    "limit=0",
    "limit=-1",
    "limit=x",
    "limit=1.5",
    "before=x",
    "before=0",
    "unread=maybe",
  ]) {
    isProblem(await as(user, "GET", `/api/notifications?${query}`), 422, "invalid", query);
  }
});

test("read, unread and delete answer with the notification, and change the count", async () => {
  const user = ++users;
  await storeMany(db.sql, user, 2);
  const count = async (): Promise<unknown> => (await as(user, "GET", "/api/notifications/unread_count")).body;
  assert.equal(await count(), { count: 2, by_type: { note: 2 } });
  const read = await as(user, "POST", "/api/notifications/1/read");
  assert.is(read.status, 200);
  assert.equal([read.body.id, read.body.notification_id, read.body.is_read], [1, 1, true]);
  assert.equal(await count(), { count: 1, by_type: { note: 1 } });
  assert.is((await as(user, "POST", "/api/notifications/1/read")).status, 200, "twice is once");
  assert.is((await as(user, "POST", "/api/notifications/1/unread")).body.is_read, false);
  assert.equal(await count(), { count: 2, by_type: { note: 2 } });
  const gone = await as(user, "DELETE", "/api/notifications/1");
  assert.equal([gone.status, gone.body], [204, undefined]);
  assert.equal(await count(), { count: 1, by_type: { note: 1 } });
  assert.equal(items(await as(user, "GET", "/api/notifications")), [2]);
  for (const [method, path] of [
    ["DELETE", ""],
    ["POST", "/read"],
    ["POST", "/unread"],
  ]) {
    isProblem(await as(user, method!, `/api/notifications/1${path}`), 404, "not_found", "a deleted one is gone");
  }
});

test("read_all reads up to an id, of a type, of a room, or everything, and says how many", async () => {
  const user = ++users;
  for (const type of ["a", "b", "a"]) await store(db.sql, user, { type });
  for (const room_id of [7, 8]) await store(db.sql, user, { type: "new_message", data: { room_id } });
  const all = async (body?: object): Promise<unknown> =>
    (await as(user, "POST", "/api/notifications/read_all", body)).body;
  assert.equal(await all({ up_to: 1 }), { updated: 1 });
  assert.equal(await all({ type: "a" }), { updated: 1 });
  assert.equal(await all({ room_id: 7 }), { updated: 1 });
  assert.equal(await all(), { updated: 2 }, "an absent body is an empty one");
  assert.equal(await all({}), { updated: 0 });
});

test("other people's notifications do not exist", async () => {
  const [mine, other] = [++users, ++users];
  await storeMany(db.sql, other, 3);
  for (const [method, path] of [
    ["POST", "/1/read"],
    ["POST", "/1/unread"],
    ["DELETE", "/1"],
    ["POST", "/999/read"],
    ["DELETE", "/9007199254740991"],
  ]) {
    isProblem(await as(mine, method!, `/api/notifications${path}`), 404, "not_found", path);
  }
  assert.equal(items(await as(mine, "GET", "/api/notifications")), []);
  await as(mine, "POST", "/api/notifications/read_all", {});
  assert.is((await as(other, "GET", "/api/notifications/unread_count")).body.count, 3);
});

test("bad input is told from unparsable input, and both from too much of it; the server still serves others", async () => {
  const user = ++users;
  const path = "/api/notifications/read_all";
  const cases: [string, unknown, number, string][] = [
    ["a wrong type", { up_to: "5" }, 422, "invalid"],
    ["a negative id", { up_to: -1 }, 422, "invalid"],
    ["an unknown field", { upto: 5 }, 422, "invalid"],
    ["an id beyond 2^53", { up_to: 1e300 }, 422, "invalid"],
    ["NUL", '{"type":"a\\u0000b"}', 422, "invalid"],
    ["half a surrogate", '{"type":"\\ud800"}', 422, "invalid"],
    ["an array", "[]", 422, "invalid"],
    ["null", "null", 422, "invalid"],
    ["no JSON", "{", 400, "bad_request"],
    ["text", "hello", 400, "bad_request"],
    ["more than 64 KiB", { type: "x".repeat(65_536) }, 413, "too_large"],
  ];
  for (const [name, body, status, code] of cases) {
    isProblem(await as(user, "POST", path, body), status, code, name);
  }
  const form = { ...(await app.auth(user)), "content-type": "application/x-www-form-urlencoded" };
  isProblem(await call("POST", path, form, "up_to=1"), 400, "bad_request", "a form");
  for (const id of ["x", "0", "-1", "1.5", "99999999999999999999", "%00", "1%20or%201=1"]) {
    const { status } = await as(user, "POST", `/api/notifications/${id}/read`);
    assert.is(status, 422, id);
  }
  assert.is((await as(++users, "GET", "/api/inbox")).status, 200);
});

test("what is nowhere is a 404 problem, without a token a 401 one; the trailing slash is optional", async () => {
  const user = ++users;
  isProblem(await as(user, "GET", "/nothing"), 404, "not_found");
  isProblem(await as(user, "GET", "/api/nothing"), 404, "not_found");
  const refused = await call("GET", "/api/inbox", {});
  isProblem(refused, 401, "unauthenticated");
  assert.match(String(refused.headers.get("www-authenticate")), /^Bearer/);
  for (const path of ["/api/inbox/", "/api/notifications/", "/api/notifications/unread_count/"]) {
    assert.is((await as(user, "GET", path)).status, 200, path);
  }
});

test("a write with the cookie needs an allowed Origin; a read, or a write with Authorization, does not", async () => {
  const user = ++users;
  const cookie = `access=${await token(user)}`;
  const path = "/api/notifications/read_all";
  isProblem(await call("POST", path, { cookie, origin: "https://evil.example" }, {}), 403, "forbidden");
  isProblem(await call("POST", path, { cookie, origin: "null" }, {}), 403, "forbidden");
  assert.is((await call("POST", path, { cookie, origin: "https://app.example" }, {})).status, 200);
  assert.is((await call("POST", path, { cookie, origin: app.url }, {})).status, 200);
  assert.is((await call("GET", "/api/inbox", { cookie, origin: "https://evil.example" })).status, 200);
  const explicit = { ...(await app.auth(user)), origin: "https://evil.example" };
  assert.is((await call("POST", path, explicit, {})).status, 200);
});

test("a write with the cookie and no Origin at all is refused: the contract asks for an allowed one", async () => {
  const cookie = `access=${await token(++users)}`;
  isProblem(await call("POST", "/api/notifications/read_all", { cookie }, {}), 403, "forbidden");
});

test("a preflight of an allowed page is answered, of another it names no origin", async () => {
  const preflight = (origin: string): Promise<Response> =>
    fetch(`${app.url}/api/notifications/read_all`, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });
  const allowed = await preflight("https://app.example");
  assert.is(allowed.status, 204);
  assert.is(allowed.headers.get("access-control-allow-origin"), "https://app.example");
  assert.is(allowed.headers.get("access-control-allow-credentials"), "true");
  assert.match(String(allowed.headers.get("access-control-allow-methods")), "POST");
  assert.match(String(allowed.headers.get("access-control-allow-headers")), /authorization/i);
  const foreign = await preflight("https://evil.example");
  assert.is(foreign.headers.get("access-control-allow-origin"), null);
});

test("a page can read a refusal too: an error answer carries the CORS headers", async () => {
  const refused = await call("GET", "/api/inbox", { origin: "https://app.example" });
  assert.is(refused.status, 401);
  assert.is(refused.headers.get("access-control-allow-origin"), "https://app.example");
});

test("healthz and readyz ask for no token", async () => {
  assert.equal((await call("GET", "/healthz", {})).body, { status: "ok" });
  assert.equal((await call("GET", "/readyz", {})).body, { status: "ready" });
});

test("while the database is away readyz and REST answer 503, healthz 200, streams stay and catch up", async () => {
  const user = ++users;
  const proxy = await proxyFor(db.url);
  const remote = await instance(proxy.through(db.url), { env: { DOMAIN: "off" } });
  try {
    const headers = await remote.auth(user);
    const stream = await socket(`${remote.ws}/ws/notifications/`, { headers });
    await stream.find("ready");
    proxy.refuse(true);
    proxy.cut();
    await eventually(async () => {
      const response = await fetch(`${remote.url}/readyz`);
      assert.is(response.status, 503);
      assert.ok(((await response.json()) as { blockers: string[] }).blockers.includes("listen"));
    });
    assert.is((await fetch(`${remote.url}/healthz`)).status, 200);
    const refused = await fetch(`${remote.url}/api/inbox`, { headers });
    assert.is(refused.headers.get("retry-after"), "2");
    isProblem({ status: refused.status, headers: refused.headers, body: await refused.json() }, 503, "unavailable");
    await store(db.sql, user);
    proxy.refuse(false);
    await stream.find("notification", 15_000);
    await eventually(async () => assert.is((await fetch(`${remote.url}/readyz`)).status, 200), { deadlineMs: 15_000 });
    assert.equal(stream.outline(), ["ready", "notification 1"]);
  } finally {
    await remote.stop();
    await proxy.close();
  }
});

test("publishing takes the scope publish; it stores for one, for many, or sends a transient event", async () => {
  const [one, two] = [++users, ++users];
  const service = await app.auth("service", { scope: "publish other" });
  const publish = (body: unknown): Promise<Answer> => call("POST", "/api/publish", service, body);
  const stream = await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(one) });
  await stream.find("ready");
  isProblem(await as(one, "POST", "/api/publish", { to: one, message: "x" }), 403, "forbidden");
  const sent = await publish({ to: one, title: "T", message: "M", type: "note", data: { a: 1 }, key: "k" });
  assert.equal([sent.status, sent.body], [202, { recipients: 1 }]);
  await publish({ to: one, title: "T", message: "M", type: "note", key: "k" });
  assert.equal((await publish({ to: [one, two, one], message: "both" })).body, { recipients: 2 });
  await publish({ to: String(one), payload: { type: "typing_somewhere" } });
  await publish({ to: { group: `user_${one}` }, payload: { type: "last" } });
  await stream.find("last");
  assert.equal(stream.outline(), ["ready", "notification 1", "notification 2", "typing_somewhere", "last"]);
  assert.equal(items(await as(two, "GET", "/api/notifications")), [1]);
  const bad: [string, object][] = [
    ["no recipient", { message: "x" }],
    ["nothing to say", { to: one }],
    ["an empty list", { to: [], message: "x" }],
    ["a reserved type", { to: one, payload: { type: "ready" } }],
    ["an id of its own", { to: one, payload: { type: "x", id: 5 } }],
    ["no type", { to: one, payload: {} }],
    ["both", { to: one, payload: { type: "x" }, message: "x" }],
    ["an unknown group", { to: { group: "everybody" }, payload: { type: "x" } }],
    ["NUL deep inside", { to: one, message: "x", data: { a: ["\0"] } }],
  ];
  for (const [name, body] of bad) isProblem(await publish(body), 422, "invalid", name);
});

test.run();
