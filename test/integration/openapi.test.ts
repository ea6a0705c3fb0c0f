// @timeout 60
/**
 * The OpenAPI document against the server it describes: every route is in it, real answers and real frames validate
 * against it, problems too, and the pages that show it and the status ask nothing of the internet.
 */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Runtime } from "../../src/transport/runtime.ts";
import { closeClients, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import type { Frame } from "../helpers/streams.ts";

const test = suite("openapi");
let db: TestDatabase;
let app: Instance;
let document: Document;
let ajv: Ajv2020;

interface Operation {
  summary?: string;
  responses: Record<string, { content?: Record<string, { schema: object }> }>;
}
interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
}

test.before(async () => {
  db = await database({ domain: true });
  await db.sql`insert into app."user" (username) select name from unnest('{ann,ben,cleo}'::text[]) name`;
  app = await instance(db.url);
  document = (await (await fetch(`${app.url}/openapi.json`)).json()) as Document;
  // formats are notes for readers; the patterns beside them are checked
  ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema(document, "document");
});
test.after.each(closeClients);
test.after(async () => {
  await app?.stop();
  await db?.drop();
});

const pointer = (...steps: string[]): string =>
  `document#/${steps.map((step) => encodeURIComponent(step.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/")}`;

function validates(where: string, value: unknown, name: string): void {
  const validate = ajv.getSchema(where) as ValidateFunction | undefined;
  assert.ok(validate, `${name}: there is no ${where}`);
  assert.ok(validate(value), `${name}: ${JSON.stringify(validate.errors)}\n${JSON.stringify(value)}`);
}

test("every route of the app is in the document, with a summary, and nothing is in it that is no route", () => {
  const hono = app.service.app({} as Runtime);
  const routes = hono.routes.filter(({ method }) => method !== "ALL");
  const named = new Set(
    routes.map(
      ({ method, path }) => `${method} ${path.replace(/:(\w+)(\{[^/]*\})?/g, "{$1}").replace(/(.)\/$/, "$1")}`,
    ),
  );
  const described = new Set<string>();
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [verb, { summary, responses }] of Object.entries(item)) {
      described.add(`${verb.toUpperCase()} ${path.replace(/(.)\/$/, "$1")}`);
      assert.ok(summary, `${verb} ${path} has no summary`);
      assert.ok(Object.keys(responses).length > 0, `${verb} ${path} has no answers`);
    }
  }
  assert.is(document.openapi, "3.1.0");
  assert.ok(named.size > 40, `only ${named.size} routes were found`);
  assert.equal([...named].filter((route) => !described.has(route)).sort(), []);
  assert.equal([...described].filter((route) => !named.has(route)).sort(), []);
});

/** Calls, and holds the answer against what the document says of it. */
async function call(
  user: number | string,
  method: string,
  path: string,
  body?: unknown,
  claims: object = {},
): Promise<Record<string, unknown>> {
  const headers = {
    ...(await app.auth(user, { ...claims })),
    ...(body === undefined ? {} : { "content-type": "application/json" }),
  };
  const response = await fetch(app.url + path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const value = text ? JSON.parse(text) : undefined;
  const plain = path.split("?")[0]!.replace(/(.)\/$/, "$1");
  const found = Object.keys(document.paths).find((each) => {
    const pattern = each.replace(/(.)\/$/, "$1").replace(/\{\w+\}/g, "[^/]+");
    return (
      document.paths[each]![method.toLowerCase()] &&
      new RegExp(`^${pattern}$`).test(plain) &&
      (!each.includes("{") || !document.paths[plain])
    );
  });
  assert.ok(found, `${method} ${path} is not described`);
  const { responses } = document.paths[found]![method.toLowerCase()]!;
  const status = responses[response.status] ? String(response.status) : "default";
  const described = responses[status];
  assert.ok(described, `${method} ${path}: ${response.status} is not described`);
  const [type] = String(response.headers.get("content-type")).split(";");
  if (value === undefined) assert.equal(described.content, undefined);
  else {
    assert.ok(
      described.content?.[type!],
      `${method} ${path}: ${type} is not described for ${response.status}: ${text}`,
    );
    validates(
      pointer("paths", found, method.toLowerCase(), "responses", status, "content", type!, "schema"),
      value,
      `${method} ${path}`,
    );
  }
  return { status: response.status, ...value };
}

test("real answers of every kind validate against it, and so do refusals", async () => {
  const id = async (work: Promise<Record<string, unknown>>): Promise<unknown> => (await work).id;
  const friendship = await id(call(1, "POST", "/api/friends/requests", { to: 2 }));
  await call(2, "POST", `/api/friends/requests/${friendship}/accept`);
  const declined = await id(call(3, "POST", "/api/friends/requests", { to: 2 }));
  await call(2, "POST", `/api/friends/requests/${declined}/decline`);
  await call(1, "GET", "/api/friends");
  for (const [action, by] of [
    ["accept", 2],
    ["decline", 2],
    ["cancel", 1],
  ] as const) {
    const invite = await id(call(1, "POST", "/api/invites", { receiver_id: 2, game: "chess", expires_in: 600 }));
    await call(by, "POST", `/api/invites/${invite}/${action}`);
  }
  await call(1, "POST", "/api/invites", { receiver_id: 2, game: "go" });
  await call(2, "GET", "/api/invites");
  const room = await id(call(1, "POST", "/api/rooms", { kind: "group", name: "all", member_ids: [2] }));
  await call(1, "POST", `/api/rooms/${room}/members`, { user_id: 3 });
  await call(1, "POST", `/api/rooms/${room}/messages`, { content: "hello" });
  await call(2, "GET", `/api/rooms/${room}/messages`);
  await call(3, "DELETE", `/api/rooms/${room}/members`);
  await call(1, "GET", "/api/rooms");
  await call(1, "POST", "/api/messages", { to: 2, content: "hi" });
  const task = await id(call(1, "POST", "/api/tasks", { title: "t", assignee_id: 2, due_at: "2030-01-01T00:00:00Z" }));
  await call(2, "POST", `/api/tasks/${task}/update_status`, { status: "in_progress", reason: "now" });
  await call(2, "POST", `/api/tasks/${task}/attachments`, { name: "f", url: "https://a.example/f" });
  await call(1, "GET", "/api/tasks");
  await call(2, "GET", "/api/inbox");
  await call(2, "GET", "/api/notifications?limit=2");
  await call(2, "GET", "/api/notifications/unread_count");
  await call(2, "POST", "/api/notifications/1/read");
  await call(2, "POST", "/api/notifications/1/unread");
  await call(2, "DELETE", "/api/notifications/1");
  await call(2, "POST", "/api/notifications/read_all", {});
  await call(2, "PUT", "/api/preferences", { overdue: { stream: true, email: true, mute: false } });
  await call(2, "GET", "/api/preferences");
  await call(2, "POST", "/api/tickets");
  await call("service", "POST", "/api/publish", { to: 2, message: "m" }, { scope: "publish" });
  await call("service", "GET", "/status/samples", undefined, { scope: "metrics" });
  await call(1, "GET", "/healthz");
  await call(1, "GET", "/readyz");
  const refusals: [Promise<Record<string, unknown>>, number][] = [
    [call(1, "POST", "/api/publish", { to: 2, message: "m" }), 403],
    [call(99, "GET", "/api/rooms"), 403],
    [call(1, "POST", "/api/notifications/999/read"), 404],
    [call(1, "POST", "/api/friends/requests", { to: 2 }), 409],
    [call(1, "POST", "/api/invites", { receiver_id: "x" }), 422],
  ];
  for (const [answer, status] of refusals) assert.is((await answer).status, status);
});

test("real frames of every type validate against their schemas, which the document holds", async () => {
  await db.sql`delete from app.friendship`;
  const seen = new Map<string, Frame>();
  const collect = (frames: readonly Frame[]): void => {
    for (const frame of frames) {
      assert.ok(document.components.schemas[`Frame_${frame.type}`], `no schema for ${frame.type}`);
      validates(`document#/components/schemas/Frame_${frame.type}`, frame, frame.type);
      seen.set(frame.type, frame);
    }
  };
  const ben = await socket(`${app.ws}/ws/notifications/?alias=notification`, { headers: await app.auth(2) });
  await ben.find("ready");
  const cleo = await socket(`${app.ws}/ws/notifications/?last_event_id=999`, { headers: await app.auth(3) });
  await cleo.find("reset");
  const request = await call(3, "POST", "/api/friends/requests", { to: 2 });
  await call(2, "POST", `/api/friends/requests/${request.id}/accept`);
  await cleo.find("friend_accepted");
  const invite = await call(3, "POST", "/api/invites", { receiver_id: 2, game: "chess" });
  await call(2, "POST", `/api/invites/${invite.id}/accept`);
  await cleo.find("invite_status");
  const message = await call(3, "POST", "/api/messages", { to: 2, content: "hi" });
  await ben.find("dm");
  const chat = await socket(`${app.ws}/ws/chat/room/${message.room_id}/`, { headers: await app.auth(2) });
  await chat.find("ready");
  const other = await socket(`${app.ws}/ws/chat/direct/${message.room_id}/`, { headers: await app.auth(3) });
  await other.find("ready");
  chat.send({ type: "typing", is_typing: true });
  chat.send({ type: "chat_message", content: "over the socket" });
  await other.find("typing");
  await other.find("chat_message");
  const { id: newest } = await ben.find("notification");
  ben.send({ type: "mark_read", notification_id: newest });
  await ben.find((frame) => frame.type === "notification_update" && frame.data?.status === "read");
  ben.send({ type: "mark_all_read" });
  ben.send({ type: "get_unread_count" });
  ben.send({ type: "ping" });
  ben.send({ type: "nonsense" });
  ben.send({ type: "auth", token: (await app.auth(2)).authorization.slice(7) });
  for (const type of ["unread_count", "pong", "error", "auth"]) await ben.find(type);
  await ben.find((frame) => frame.type === "notification_update" && frame.data?.status === "delivered");
  const third = await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(2) });
  await third.find("ready");
  for (const client of [ben, cleo, chat, other, third]) collect(client.frames);
  const never = Object.keys(document.components.schemas).flatMap((name) => /^Frame_(.+)$/.exec(name)?.[1] ?? []);
  // presence needs a stream to open among friends: its own tests hold the shape
  assert.equal(
    never.filter((type) => !seen.has(type) && type !== "presence_update"),
    [],
  );
});

test("the schemas refuse what is no such frame", () => {
  const validate = ajv.getSchema("document#/components/schemas/Frame_notification")!;
  assert.not.ok(validate({ type: "notification", id: 1, data: { id: 1 } }));
  assert.not.ok(ajv.getSchema("document#/components/schemas/Frame_pong")!({ type: "ping" }));
});

test("/docs and /status draw with what they hold themselves: no address of another host, and a policy that allows none", async () => {
  const operator = await app.auth("service", { scope: "metrics" });
  for (const path of ["/docs", "/status"]) {
    const response = await fetch(app.url + path, { headers: operator });
    const page = await response.text();
    assert.is(response.status, 200, path);
    assert.match(String(response.headers.get("content-type")), /^text\/html/);
    assert.match(
      String(response.headers.get("content-security-policy")),
      /^default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'/,
    );
    assert.not.match(page, /(src|href|url|import|fetch)\s*[=(]?\s*["'(]?\s*(https?:)?\/\/(?!www\.w3\.org)/i, path);
  }
});

test("/status/samples change while streams are open and entries are sent", async () => {
  const stream = await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(1) });
  await stream.find("ready");
  const headers = await app.auth("service", { scope: "metrics" });
  const samples = async (): Promise<{ at: number; websocket: number; rate: number; p50: number | null }[]> =>
    ((await (await fetch(`${app.url}/status/samples`, { headers })).json()) as { samples: never[] }).samples;
  const before = (await samples()).length;
  await eventually(
    async () => {
      await db.sql`select tidings.send_notification('1', 'T', 'M', 'note')`;
      const now = await samples();
      assert.ok(now.length > before);
      assert.ok(
        now.some(({ websocket, rate, p50 }) => websocket === 1 && rate > 0 && p50 !== null),
        JSON.stringify(now.at(-1)),
      );
    },
    { deadlineMs: 10_000, everyMs: 200 },
  );
});

test.run();
