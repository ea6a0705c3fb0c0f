// @timeout 120
/**
 * One user asks for anything: thousands of random requests, over REST and as frames of sockets, with ids of others, odd
 * values and odd bodies. Nothing private of the others comes back, none of their rows changes, and the server neither
 * fails nor says 500. FUZZ_SEED repeats a run.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, type SocketClient, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type Instance, instance } from "../helpers/instance.ts";

const test = suite("fuzz across users");
const SEED = Number(process.env.FUZZ_SEED) || Date.now() & 0xffffff;
const REQUESTS = 3_000;
const AT_ONCE = 6;
/** Stands in every private text of the others. */
const MARK = "PRIVATE";
const MALLORY = 4;
let db: TestDatabase;
let app: Instance;

/** A number in [0, n). */
function generator(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

test.before(async () => {
  db = await database({ domain: true });
  await db.sql.unsafe(`
    insert into app."user" (username) select name from unnest('{ann,ben,cleo,mallory}'::text[]) name;
    insert into app.friendship (requester_id, addressee_id, status) values (1, 2, 'accepted'), (3, 1, 'pending');
    insert into app.invite (sender_id, receiver_id, game) select 1, 2, '${MARK} game' from generate_series(1, 5);
    insert into app.room (kind, name) values ('group', '${MARK} room'), ('direct', null), ('task', '${MARK} task room');
    insert into app.room_member (room_id, user_id) select r, u from generate_series(1, 3) r, generate_series(1, 2) u;
    insert into app.message (room_id, sender_id, content) select 1 + n % 3, 1 + n % 2, '${MARK} message ' || n from generate_series(1, 20) n;
    insert into app.task (title, creator_id, assignee_id) select '${MARK} task', 1, 2 from generate_series(1, 5);
    insert into app.task_attachment (task_id, name, url, uploader_id) values (1, '${MARK} file', 'https://a.example/${MARK}', 1);
    insert into tidings.preference (user_id, type, email) select u::text, '${MARK}', true from generate_series(1, 3) u;
    select tidings.send_notification(u::text, '${MARK}', '${MARK} ' || n, 'note') from generate_series(1, 3) u, generate_series(1, 10) n;`);
  app = await instance(db.url, { env: { MAX_STREAMS_PER_USER: "5" } });
});
test.after(async () => {
  closeClients();
  await app?.stop();
  await db?.drop();
});

/** What is the others' and must stay as it is: all that stood there before, in the attacker's reach or not. */
async function others(): Promise<string> {
  const [row] = await db.sql`
    select jsonb_build_object(
      'notifications', (select jsonb_agg(to_jsonb(n) order by user_id, id) from tidings.notification n where user_id in ('1', '2', '3') and message like ${`${MARK}%`}),
      'read', (select jsonb_agg(jsonb_build_array(user_id, id, is_read, archived_at) order by user_id, id) from tidings.notification where user_id in ('1', '2', '3') and created_at < ${began}),
      'preferences', (select jsonb_agg(to_jsonb(p) order by user_id, type) from tidings.preference p where user_id <> ${String(MALLORY)}),
      'friendships', (select jsonb_agg(to_jsonb(f) order by id) from app.friendship f where ${MALLORY} not in (requester_id, addressee_id)),
      'invites', (select jsonb_agg(to_jsonb(i) order by id) from app.invite i where ${MALLORY} not in (sender_id, receiver_id)),
      'rooms', (select jsonb_agg(to_jsonb(r) order by id) from app.room r where id <= 3),
      'members', (select jsonb_agg(to_jsonb(m) order by room_id, user_id) from app.room_member m where room_id <= 3),
      'messages', (select jsonb_agg(to_jsonb(m) order by id) from app.message m where room_id <= 3),
      'tasks', (select jsonb_agg(to_jsonb(t) order by id) from app.task t where creator_id <> ${MALLORY}),
      'attachments', (select jsonb_agg(to_jsonb(a) order by id) from app.task_attachment a where task_id <= 5),
      'revocations', (select count(*) from tidings.revocation where user_id <> ${String(MALLORY)})) as all_rows`;
  return JSON.stringify(row!.all_rows);
}
let began: Date;

interface Request {
  method: string;
  path: string;
  body?: string;
}

const ODD = [
  "0",
  "-1",
  "1.5",
  "1e3",
  "9007199254740993",
  "null",
  "undefined",
  "true",
  "1;--",
  "1' or '1'='1",
  "%00",
  "..",
  "1/../2",
  "[1]",
  "{}",
  "１",
  "",
];

function requests(next: (n: number) => number): () => Request {
  const one = <T>(from: readonly T[]): T => from[next(from.length)]!;
  const id = (): string => (next(6) === 0 ? one(ODD) : String(1 + next(25)));
  const value = (): unknown =>
    one<() => unknown>([
      () => 1 + next(25),
      () => 1 + next(4),
      () => one(ODD),
      () => null,
      () => [1, 2],
      () => ({ id: 1 }),
      () => "x".repeat(next(50)),
      () =>
        one(["accepted", "pending", "done", "group", "direct", "task", "user_1", "room_1", "notifications_ann", "1"]),
    ])();
  const ROUTES: readonly [string, () => string, readonly string[]][] = [
    ["GET", () => "/api/inbox", []],
    ["GET", () => `/api/notifications?user_id=${id()}&before=${id()}&type=${id()}&unread=${id()}&limit=${id()}`, []],
    ["GET", () => "/api/notifications?limit=200", []],
    ["GET", () => "/api/notifications/unread_count", []],
    ["POST", () => `/api/notifications/${id()}/${one(["read", "unread"])}`, ["user_id"]],
    ["DELETE", () => `/api/notifications/${id()}`, []],
    ["POST", () => "/api/notifications/read_all", ["up_to", "type", "room_id", "user_id"]],
    ["GET", () => `/api/invites?status=${one(["pending", "accepted", id()])}&before=${id()}`, []],
    ["POST", () => "/api/invites", ["receiver_id", "game", "expires_in", "sender_id", "status"]],
    ["POST", () => `/api/invites/${id()}/${one(["accept", "decline", "cancel"])}`, ["sender_id"]],
    ["GET", () => "/api/rooms", []],
    ["POST", () => "/api/rooms", ["kind", "name", "member_ids", "task_id"]],
    ["POST", () => `/api/rooms/${id()}/members`, ["user_id", "user_ids"]],
    ["DELETE", () => `/api/rooms/${id()}/members?user_id=${id()}`, []],
    ["GET", () => `/api/rooms/${id()}/messages?before=${id()}`, []],
    ["POST", () => `/api/rooms/${id()}/messages`, ["content", "sender_id", "room_id"]],
    ["POST", () => "/api/messages", ["to", "content", "sender_id"]],
    ["GET", () => `/api/tasks?status=${one(["todo", id()])}`, []],
    ["POST", () => "/api/tasks", ["title", "assignee_id", "creator_id", "due_at"]],
    ["POST", () => `/api/tasks/${id()}/update_status/`, ["status", "reason"]],
    ["POST", () => `/api/tasks/${id()}/attachments`, ["name", "url", "task_id", "uploader_id"]],
    ["GET", () => "/api/friends", []],
    ["POST", () => "/api/friends/requests", ["to", "from"]],
    ["POST", () => `/api/friends/requests/${id()}/${one(["accept", "decline"])}`, []],
    ["GET", () => "/api/preferences", []],
    ["PUT", () => "/api/preferences", ["note", "user_id", "PRIVATE"]],
    ["POST", () => "/api/tickets", ["user_id", "userId"]],
    ["POST", () => "/api/publish", ["to", "message", "payload"]],
    [one(["PATCH", "PUT"]), () => `/api/notifications/${id()}`, ["is_read"]],
    ["GET", () => `/${one(["metrics", "status", "status/samples", "unsubscribe?user=1&type=note&signature=x"])}`, []],
  ];
  return () => {
    const [method, path, fields] = one(ROUTES);
    if (fields.length === 0) return { method, path: path() };
    const chosen = fields.filter(() => next(4) > 0).map((field) => [field, value()]);
    const body =
      next(30) === 0 ? one(["{", "null", "[]", '"x"', "\u0000"]) : JSON.stringify(Object.fromEntries(chosen));
    return { method, path: path(), body };
  };
}

test(`${REQUESTS} random requests of one user neither show nor change anything of the others (seed ${SEED})`, async () => {
  const [clock] = await db.sql`select clock_timestamp() as now`;
  began = clock!.now as Date;
  const before = await others();
  assert.match(before, MARK);
  const next = generator(SEED);
  const draw = requests(next);
  const auth = await app.auth(MALLORY);
  const statuses = new Map<number, number>();
  let left = REQUESTS;
  async function worker(): Promise<void> {
    while (left-- > 0) {
      const { method, path, body } = draw();
      const headers = { ...auth, ...(body === undefined ? {} : { "content-type": "application/json" }) };
      const answer = await fetch(app.url + path, { method, headers, ...(body === undefined ? {} : { body }) });
      const text = await answer.text();
      const what = `${method} ${path} ${body ?? ""} -> ${answer.status} ${text.slice(0, 500)}`;
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      assert.ok(answer.status < 500, what);
      // what mallory wrote into preferences comes back; nothing else may carry the mark
      if (!path.startsWith("/api/preferences")) assert.not.ok(text.includes(MARK), what);
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  assert.is(await others(), before);
  for (const status of [200, 201, 403, 404, 422])
    assert.ok((statuses.get(status) ?? 0) > 0, `no ${status}: ${JSON.stringify([...statuses])}`);
  assert.not.match(app.log.filter((line) => line.startsWith("error")).join("\n"), /./);
});

test("random frames of one user's sockets neither show nor change anything of the others", async () => {
  const before = await others();
  const next = generator(SEED + 1);
  const headers = await app.auth(MALLORY);
  const one = <T>(from: readonly T[]): T => from[next(from.length)]!;
  const frame = (): object | string =>
    one<() => object | string>([
      () => ({ type: "mark_read", notification_id: one([1, 2, 10, "1", -1, null, "x", 1e300]), user_id: 1 }),
      () => ({ type: "mark_all_read", user_id: 1, up_to: 10 }),
      () => ({ type: "get_unread_count", user_id: 1 }),
      () => ({ type: "chat_message", content: "x", room_id: 1 }),
      () => ({ type: "typing", is_typing: true, room_id: 1 }),
      () => ({ type: one(["subscribe", "notify", "auth", "revoke", "__proto__"]), group: "user_1", token: "x" }),
      () => one(["", "{", "[]", "null", '{"type":{}}']),
    ])();
  const streams = new Set<SocketClient>();
  for (let round = 0; round < 30; round++) {
    const query = one(["", "?user_id=1", "?last_event_id=0&user=1", "?types=new_message,notification&group=user_1"]);
    const client = await socket(`${app.ws}/ws/notifications/${query}`, { headers });
    streams.add(client);
    for (let at = 0; at < 12; at++) client.send(frame());
    await db.sql`select tidings.send_notification('1', ${MARK}, ${MARK}, 'later')`;
    await db.sql`delete from tidings.preference where user_id = ${String(MALLORY)}`;
    client.send("ping");
    await Promise.race([client.closed, client.find("pong").catch(() => {})]);
    client.close();
    await client.closed;
  }
  for (const kind of ["room", "group", "direct", "task"]) {
    for (const room of [1, 2, 3]) {
      const client = await socket(`${app.ws}/ws/chat/${kind}/${room}/`, { headers });
      streams.add(client);
      assert.is((await client.closed).code, 4403);
    }
  }
  for (const { frames } of streams) assert.not.ok(JSON.stringify(frames).includes(MARK), JSON.stringify(frames));
  const later = (text: string): string => JSON.stringify({ ...JSON.parse(text), notifications: null });
  assert.is(later(await others()), later(before));
});

test.run();
