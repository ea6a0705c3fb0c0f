// @timeout 60
/**
 * Least privilege of the server's own role: what tidings.grant_server grants is enough for everything a running server
 * does, with migrations applied by the owner, and enough for nothing else. Producers' roles are tested in test/sql.
 */
import { readdirSync, readFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { runCli } from "../../src/cli/run.ts";
import { close, connect, type Sql } from "../../src/db/client.ts";
import { closeClients, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";

const test = suite("privileges of the server");
let db: TestDatabase;
let role: string;
let url: string;
let as: Sql;
let app: Instance;

test.before(async () => {
  db = await database({ domain: true });
  role = `server_${db.name.slice(-12)}`;
  await db.sql.unsafe(`create role ${role} login password 'only for this test'`);
  await db.sql`select tidings.grant_server(${role}::text::regrole)`;
  await db.sql`insert into app."user" (username) select name from unnest('{ann,ben,cleo}'::text[]) name`;
  const address = new URL(db.url);
  address.username = role;
  address.password = "only for this test";
  url = address.href;
  as = connect(url, { max: 2, name: "test" });
  app = await instance(url, { env: { SMTP_URL: "smtp://127.0.0.1:9" } });
});
test.after.each(closeClients);
test.after(async () => {
  await app?.stop();
  await close(as);
  await db.sql.unsafe(`drop owned by ${role}; drop role ${role}`);
  await db?.drop();
});

const codeOf = (work: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(work).then(
    () => "it worked",
    (error: { code?: string }) => error.code,
  );

async function call(
  user: number | string,
  method: string,
  path: string,
  body?: object,
  claims = {},
): Promise<{ status: number; body: { id: number } }> {
  const headers = { ...(await app.auth(user, claims)), ...(body ? { "content-type": "application/json" } : {}) };
  const response = await fetch(app.url + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : undefined };
}

test("the role owns nothing, and the server it runs finds its migrations applied", async () => {
  const [row] = await db.sql`select count(*)::int as many from pg_class where relowner = ${role}::text::regrole`;
  assert.is(row!.many, 0);
  assert.is((await fetch(`${app.url}/readyz`)).status, 200);
  assert.not.match(app.log.join("\n"), /permission denied|42501/);
});

test("streams, the inbox, reading, preferences, tickets and publishing work under it", async () => {
  const stream = await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(1) });
  await stream.find("ready");
  await store(db.sql, 1, { data: { room_id: 4 } });
  await stream.find("notification");
  await db.sql`select tidings.notify_user('1', ${JSON.stringify({ type: "big", text: "x".repeat(9_000) })}::text::jsonb)`;
  await stream.find("big");
  const service = { scope: "publish metrics" };
  const calls: [() => Promise<{ status: number }>, number][] = [
    [() => call(1, "GET", "/api/inbox"), 200],
    [() => call(1, "GET", "/api/notifications"), 200],
    [() => call(1, "GET", "/api/notifications/unread_count"), 200],
    [() => call(1, "POST", "/api/notifications/1/read"), 200],
    [() => call(1, "POST", "/api/notifications/read_all", {}), 200],
    [() => call(1, "PUT", "/api/preferences", { overdue: { email: true } }), 200],
    [() => call(1, "GET", "/api/preferences"), 200],
    [() => call("service", "POST", "/api/publish", { to: 1, message: "m", type: "overdue" }, service), 202],
    [() => call("service", "POST", "/api/publish", { to: { group: "user_1" }, payload: { type: "x" } }, service), 202],
    [() => call("service", "POST", "/api/publish", { to: { group: "user_1" }, message: "all" }, service), 202],
  ];
  for (const [at, [answer, status]] of calls.entries()) assert.is((await answer()).status, status, `call ${at}`);
  const metrics = await (await fetch(`${app.url}/metrics`, { headers: await app.auth("service", service) })).text();
  assert.match(metrics, /tidings_inbox_drift_sampled_total [1-9]/);
  assert.match(metrics, /tidings_email_queue\{state="pending"\} 1/);
  const { ticket } = (await call(1, "POST", "/api/tickets")).body as unknown as { ticket: string };
  const resumed = await sse(`${app.url}/sse/notifications/?last_event_id=0&ticket=${ticket}`);
  await resumed.find("unread_count");
  await eventually(async () => {
    const [box] = await db.sql`select delivered_id, last_id from tidings.inbox where user_id = '1'`;
    assert.ok(box!.delivered_id > 0, "the delivered watermark is written");
  });
  await db.sql`select tidings.revoke('1')`;
  assert.is((await stream.closed).code, 4401);
});

test("the reference domain works under it: friends, invites, rooms, messages, tasks, presence and the scheduler", async () => {
  const ben = await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(2) });
  await ben.find("ready");
  const request = await call(3, "POST", "/api/friends/requests", { to: 2 });
  assert.is(request.status, 201);
  await ben.find("friend_request");
  assert.is((await call(2, "POST", `/api/friends/requests/${request.body.id}/accept`)).status, 200);
  assert.is((await call(2, "GET", "/api/friends")).status, 200);
  const invite = await call(3, "POST", "/api/invites", { receiver_id: 2, game: "chess", expires_in: 1 });
  assert.is(invite.status, 201);
  const kept = await call(3, "POST", "/api/invites", { receiver_id: 2, game: "go" });
  assert.is((await call(2, "POST", `/api/invites/${kept.body.id}/accept`)).status, 200);
  await ben.find(
    (frame) => frame.type === "invite_status" && (frame.invite as { status: string }).status === "expired",
    15_000,
  );
  assert.is((await call(3, "POST", "/api/messages", { to: 2, content: "hi" })).status, 201);
  await ben.find("new_message");
  const room = await call(3, "POST", "/api/rooms", { kind: "group", name: "r", member_ids: [2] });
  assert.is(room.status, 201);
  const chat = await socket(`${app.ws}/ws/chat/group/${room.body.id}/`, { headers: await app.auth(2) });
  await chat.find("ready");
  chat.send({ type: "chat_message", content: "over the socket" });
  await chat.find("chat_message");
  assert.is((await call(3, "DELETE", `/api/rooms/${room.body.id}/members?user_id=2`)).status, 204);
  assert.is((await chat.closed).code, 4403);
  const task = await call(3, "POST", "/api/tasks", { title: "t", assignee_id: 2 });
  assert.is((await call(3, "POST", `/api/tasks/${task.body.id}/update_status/`, { status: "done" })).status, 200);
  assert.is(
    (await call(3, "POST", `/api/tasks/${task.body.id}/attachments`, { name: "f", url: "https://a.example/f" })).status,
    201,
  );
  for (const path of ["/api/rooms", "/api/invites", "/api/tasks", "/api/inbox"])
    assert.is((await call(2, "GET", path)).status, 200, path);
});

test("housekeeping, the relay, presence and the e-mail queue work under it", async () => {
  await as`select tidings.tidy()`;
  await as`select tidings.prune(now() - interval '30 days', 100)`;
  await as`select tidings.relay()`;
  await as`vacuum (skip_locked) tidings.unannounced`;
  await as`select tidings.presence_open(1, ${["9"]}::text[]), tidings.presence_close(1, ${["9"]}::text[]), tidings.presence_dead()`;
  await as`select * from tidings.claim_email('<test@local>', 300, 60)`;
  await as`select tidings.unsubscribe_email('1', ${["overdue"]}::text[])`;
  assert.not.match(app.log.join("\n"), /permission denied|42501/);
});

test("it may not write an entry, a counter or a revocation by hand, declare a watch, grant, or change the schema", async () => {
  const refused = [
    "insert into tidings.notification (user_id, id, type, message, created_at) values ('1', 99, 't', 'forged', now())",
    "update tidings.notification set message = 'changed'",
    "delete from tidings.notification",
    "update tidings.inbox set unread_count = 0",
    "insert into tidings.outbox (kind, target, type, message) values ('e', '1', 't', 'forged')",
    "delete from tidings.revocation",
    "update tidings.email_key set key = ''",
    "select tidings.watch('w', 'app.invite', 'new.sender_id', 'x')",
    "select tidings.recount('1')",
    "select tidings.restage()",
    "delete from app.invite",
    'delete from app."user"',
    "create table tidings.mine ()",
    "create function tidings.mine() returns int language sql return 1",
    "drop function tidings.relay",
    "create table app.mine ()",
  ];
  for (const query of refused) assert.is(await codeOf(as.unsafe(query)), "42501", query);
  const grant = await codeOf(as`select tidings.grant_server(${role}::text::regrole)`);
  assert.is(grant, "42501");
});

test("what the sources name of tables and functions is granted, so that no rare path is forgotten", async () => {
  const root = new URL("../../src/", import.meta.url);
  const files = readdirSync(root, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".ts"));
  const server = files.filter(
    (name) => !/^(cli|client|demo|embedded)\b|^db\/(migrate|partition|seed)/.test(name.replaceAll("\\", "/")),
  );
  const text = server.map((name) => readFileSync(new URL(name, root), "utf8")).join("\n");
  const functions = new Set(
    [...text.matchAll(/\b(tidings|app)\.([a-z_]+)\(/g)].map(([, schema, name]) => `${schema}.${name}`),
  );
  const rows = await db.sql<{ name: string; granted: boolean }[]>`
    select n.nspname || '.' || p.proname as name, bool_and(has_function_privilege(${role}::text, p.oid, 'execute')) as granted
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('tidings', 'app') group by 1`;
  const known = new Map(rows.map(({ name, granted }) => [name, granted]));
  const named = [...functions].filter((name) => known.has(name));
  assert.ok(named.length > 25, `only ${named.length} functions were found in the sources`);
  // revoking is an operator's or the application's to do
  assert.equal(
    named.filter((name) => !known.get(name) && name !== "tidings.revoke"),
    [],
  );
});

test("an upgrade extends the grants by itself, and doctor names one that is missing, with its cure", async () => {
  await db.sql.unsafe(`revoke execute on function tidings.tidy() from ${role}`);
  const said = await doctor();
  assert.match(said, `FAIL  rights     the role ${role} lacks execute on function tidings.tidy()`);
  assert.match(said, `select tidings.grant_server('"${role}"')`);
  await db.sql.unsafe(readFileSync(new URL("../../sql/tidings/functions/z_server_roles.sql", import.meta.url), "utf8"));
  const after = await as`select has_function_privilege('tidings.tidy()', 'execute') as granted`;
  assert.is(after[0]!.granted, true);
  const healthy = await doctor();
  assert.not.match(healthy, "FAIL");
  assert.match(healthy, "the role has all that a server needs");
});

/** What doctor says when it is run as the server's role. */
async function doctor(): Promise<string> {
  const out: string[] = [];
  const [env, write] = [process.env, process.stdout.write];
  process.env = { PATH: env.PATH, DATABASE_URL: url };
  process.stdout.write = (text) => out.push(String(text)) > 0;
  try {
    await runCli({ doctor: { help: "", load: () => import("../../src/cli/doctor.ts") } }, ["doctor"]);
  } finally {
    process.env = env;
    process.stdout.write = write;
  }
  return out.join("");
}

test.run();
