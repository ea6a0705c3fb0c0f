/** Producers outside SQL: POST /api/publish, the TypeScript helpers, and the preferences that all of them obey. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";

const test = suite("publish");
let db: TestDatabase;
let app: Instance;

test.before(async () => {
  db = await database({ domain: true });
  await db.sql`insert into app."user" (username) values ('ann'), ('ben'), ('cleo')`;
  await db.sql`insert into app.room (kind) values ('group')`;
  await db.sql`insert into app.room_member values (1, 1), (1, 2)`;
  app = await instance(db.url);
});
test.after.each(() => closeClients());
test.after(async () => {
  await app.stop();
  await db.drop();
});

async function publish(body: unknown, scope = "publish"): Promise<{ status: number; body: Record<string, unknown> }> {
  const headers = { ...(await app.auth("service", { scope })), "content-type": "application/json" };
  const response = await fetch(`${app.url}/api/publish`, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

const stream = async (user: number) => {
  const client = await socket(`${app.ws}/ws/notifications/?token=${await token(user)}`);
  await client.find("ready");
  return client;
};

test("a stored entry goes to one user, to several, and to the members of a group, and says to how many", async () => {
  const [ann, ben, cleo] = await Promise.all([stream(1), stream(2), stream(3)]);
  const entry = { title: "T", message: "M", type: "note", data: { a: 1 } };
  assert.equal(await publish({ to: 1, ...entry }), { status: 202, body: { recipients: 1 } });
  assert.equal(await publish({ to: ["1", 2, 2], ...entry }), { status: 202, body: { recipients: 2 } });
  assert.equal(await publish({ to: { group: "room_1" }, ...entry }), { status: 202, body: { recipients: 2 } });
  await eventually(() =>
    assert.equal(
      [ann, ben].map((client) => client.all("notification").length),
      [3, 2],
    ),
  );
  assert.is(cleo.all("notification").length, 0);
  assert.is(ann.all("notification")[0]!.data!.a, 1);
});

test("a transient event reaches open streams alone, and the same key is stored once", async () => {
  const cleo = await stream(3);
  assert.is((await publish({ to: { group: "notifications_cleo" }, payload: { type: "hello" } })).status, 202);
  await cleo.find("hello");
  assert.is((await publish({ to: { group: "group_1" }, payload: { type: "hello" } })).body.recipients, 2);
  for (let at = 0; at < 3; at++) await publish({ to: 3, message: "once", key: "k" });
  await cleo.find("notification");
  const [row] = await db.sql`select last_id from tidings.inbox where user_id = '3'`;
  assert.is(row!.last_id, 1);
});

test("without the scope it is 403, and bad input is 422 with the reason", async () => {
  assert.is((await publish({ to: 1, message: "m" }, "metrics")).status, 403);
  for (const [body, reason] of [
    [{ to: 1 }, /message/],
    [{ to: 1, payload: { type: "ready" } }, /payload/],
    [{ to: 1, payload: { type: "a" }, message: "m" }, /payload/],
    [{ to: 1, event: { type: "a", id: 3 } }, /event/],
    [{ to: { group: "nowhere_1" }, payload: { type: "a" } }, /group/],
    [{ to: { group: "notifications_zoe" }, payload: { type: "a" } }, /zoe/],
    [{ to: 1, message: "nul \0" }, /message/],
    [{ to: [], message: "m" }, /to/],
  ] as const) {
    const answer = await publish(body);
    assert.is(answer.status, 422, JSON.stringify(body));
    assert.match(String(answer.body.detail), reason);
  }
});

test("the TypeScript helpers do the same, and a failure is logged with the user and rethrown", async () => {
  const ben = await stream(2);
  const { producer } = app.service;
  await producer.notifyUser(2, { type: "poke" });
  await producer.sendNotification(2, { title: "T", message: "by helper", type: "note" });
  await ben.find("poke");
  await eventually(() => assert.is(ben.all("notification").at(-1)?.data?.message, "by helper"));
  await producer.sendNotification(2, {}).then(
    () => assert.unreachable(),
    () => {},
  );
  assert.ok(app.log.some((line) => line.includes("Failed to send notification") && line.includes('"user_id":2')));
});

test("preferences are replaced as a whole, mute and stream are obeyed by every producer, and nonsense is 422", async () => {
  const headers = { ...(await app.auth(1)), "content-type": "application/json" };
  const put = (body: unknown) =>
    fetch(`${app.url}/api/preferences`, { method: "PUT", headers, body: JSON.stringify(body) });
  assert.is((await put({ noise: { mute: true }, quiet: { stream: false } })).status, 200);
  const wanted = {
    noise: { stream: true, email: false, mute: true },
    quiet: { stream: false, email: false, mute: false },
  };
  assert.equal(await (await fetch(`${app.url}/api/preferences`, { headers })).json(), wanted);
  const ann = await stream(1);
  const { last_event_id } = await (await fetch(`${app.url}/api/inbox`, { headers })).json();
  await publish({ to: 1, message: "muted", type: "noise" });
  await db.sql`select tidings.send_notification(1, 't', 'in the inbox alone', 'quiet')`;
  await publish({ to: 1, message: "heard", type: "note" });
  const heard = await ann.find("notification");
  assert.is(heard.data!.message, "heard");
  assert.is(heard.id, last_event_id + 2);
  const { notifications } = await (await fetch(`${app.url}/api/inbox`, { headers })).json();
  assert.equal(
    notifications.slice(0, 2).map((one: { message: string }) => one.message),
    ["heard", "in the inbox alone"],
  );
  for (const body of [[], { a: 1 }, { a: { loud: true } }, { a: { mute: "yes" } }, { "": { mute: true } }]) {
    assert.is((await put(body)).status, 422, JSON.stringify(body));
  }
  await put({});
  assert.equal(await (await fetch(`${app.url}/api/preferences`, { headers })).json(), {});
});

test.run();
