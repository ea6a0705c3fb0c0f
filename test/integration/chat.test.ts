/** Chat streams: members only, frames to every instance, typing for the others, and the end of a membership. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import WebSocket from "ws";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";

interface Chatter {
  frames: { type: string; data?: Record<string, unknown> }[];
  code: number | undefined;
  send(frame: unknown): void;
  close(): void;
}

const test = suite("chat streams");
let db: TestDatabase;
let one: Instance;
let two: Instance;

test.before(async () => {
  db = await database({ domain: true });
  await db.sql`insert into app."user" (username) values ('ann'), ('ben'), ('cleo')`;
  await db.sql`insert into app.room (kind) values ('direct'), ('group')`;
  await db.sql`insert into app.room_member values (1, 1), (1, 2), (2, 1), (2, 2), (2, 3)`;
  one = await instance(db.url);
  two = await instance(db.url);
});
test.after(async () => {
  await Promise.all([one.stop(), two.stop()]);
  await db.drop();
});

async function chat(at: Instance, user: number, path: string): Promise<Chatter> {
  const socket = new WebSocket(`${at.ws}/ws/chat/${path}`, ["tidings.v1", `bearer.${await token(user)}`]);
  const chatter: Chatter = {
    frames: [],
    code: undefined,
    send: (frame) => socket.send(JSON.stringify(frame)),
    close: () => socket.close(),
  };
  socket.on("message", (data) => chatter.frames.push(JSON.parse(String(data))));
  socket.on("close", (code) => {
    chatter.code = code;
  });
  await eventually(() => assert.ok(chatter.frames[0] ?? chatter.code));
  return chatter;
}

const got = (chatter: Chatter, type: string) => chatter.frames.filter((frame) => frame.type === type);

test("ready carries the room, and a message reaches every member on every instance, the sender too", async () => {
  const [ann, ben] = await Promise.all([chat(one, 1, "direct/1/"), chat(two, 2, "room/1")]);
  assert.is(ann.frames[0]!.data!.room_id, 1);
  ann.send({ type: "chat_message", content: "hello 🎉" });
  await eventually(() => assert.ok(got(ann, "chat_message").length === 1 && got(ben, "chat_message").length === 1));
  const { data } = got(ben, "chat_message")[0]!;
  assert.equal(Object.keys(data!).sort(), ["content", "created_at", "id", "room_id", "sender"]);
  assert.equal(data!.sender, { id: 1, username: "ann" });
  assert.is(data!.content, "hello 🎉");
  const [row] = await db.sql`select content from app.message where room_id = 1`;
  assert.is(row!.content, "hello 🎉");
  ann.close();
  ben.close();
});

test("typing goes to the others only, once per burst, and is taken back by the message", async () => {
  const [ann, ann2, ben] = await Promise.all([
    chat(one, 1, "group/2"),
    chat(two, 1, "group/2"),
    chat(two, 2, "group/2"),
  ]);
  for (let at = 0; at < 5; at++) ann.send({ type: "typing", is_typing: true });
  ann.send({ type: "chat_message", content: "done" });
  await eventually(() => assert.is(got(ben, "typing").length, 2));
  assert.equal(got(ben, "typing")[0]!.data, { room_id: 2, user: { id: 1, username: "ann" }, is_typing: true });
  assert.is(got(ben, "typing")[1]!.data!.is_typing, false);
  assert.is(got(ann, "typing").length + got(ann2, "typing").length, 0);
  for (const one of [ann, ann2, ben]) one.close();
});

test("typing expires by itself", async () => {
  const [ann, ben] = await Promise.all([chat(one, 1, "group/2"), chat(two, 2, "group/2")]);
  ann.send({ type: "typing", is_typing: true });
  await eventually(() => assert.is(got(ben, "typing").at(-1)?.data?.is_typing, false), { deadlineMs: 10_000 });
  ann.close();
  ben.close();
});

test("strangers, rooms of another kind and rooms that are not get 4403", async () => {
  for (const [user, path] of [
    [3, "direct/1/"],
    [1, "group/1"],
    [1, "direct/99"],
    [77, "room/1"],
  ] as const) {
    const refused = await chat(one, user, path);
    await eventually(() => assert.is(refused.code, 4403));
    assert.is(refused.frames.length, 0);
  }
});

test("membership that ends closes the member's chat streams with 4403 and nobody else's", async () => {
  const [ben, cleo] = await Promise.all([chat(one, 2, "group/2"), chat(two, 3, "group/2")]);
  await db.sql`delete from app.room_member where room_id = 2 and user_id = 3`;
  await eventually(() => assert.is(cleo.code, 4403));
  assert.is(ben.code, undefined);
  await db.sql`insert into app.room_member values (2, 3)`;
  ben.close();
});

test("old news of a membership that ended does not close the stream of one who is back", async () => {
  const cleo = await chat(one, 3, "group/2");
  await db.sql`select tidings.notify_group('room_2', '{"type": "mark", "n": 1}')`;
  await db.sql`select pg_notify('tidings', '{"type":"leave","group":"room_2","user_id":"3"}')`;
  await new Promise((resolve) => setTimeout(resolve, 300));
  await db.sql`select tidings.notify_group('room_2', '{"type": "mark", "n": 2}')`;
  await eventually(() => assert.is(got(cleo, "mark").length, 2));
  assert.is(cleo.code, undefined);
  cleo.close();
});

test("revoking a user closes its chat streams too", async () => {
  const cleo = await chat(one, 3, "group/2");
  await db.sql`select tidings.revoke(3)`;
  await eventually(() => assert.is(cleo.code, 4401));
  await db.sql`delete from tidings.revocation`;
});

test("no notification frame comes on a chat stream, and notification commands are errors on it", async () => {
  const ben = await chat(one, 2, "group/2");
  await db.sql`select tidings.send_notification(2, 'a', 'b', 'c')`;
  ben.send({ type: "mark_all_read" });
  await eventually(() => assert.is(got(ben, "error").length, 1));
  assert.equal(
    ben.frames.map((frame) => frame.type),
    ["ready", "error"],
  );
  ben.close();
});

test("the same frames come over SSE", async () => {
  const response = await fetch(`${two.url}/sse/chat/group/2/`, { headers: await two.auth(1) });
  assert.is(response.status, 200);
  const reader = response.body!.getReader();
  let text = "";
  const read = async (until: RegExp) => {
    while (!until.test(text)) text += new TextDecoder().decode((await reader.read()).value);
  };
  await read(/"type":"ready"/);
  await db.sql`insert into app.message (room_id, sender_id, content) values (2, 2, 'over sse')`;
  await read(/over sse/);
  assert.not.match(text, /^id:/m);
  await reader.cancel();
  const stranger = await fetch(`${two.url}/sse/chat/direct/1/`, { headers: await two.auth(3) });
  assert.is(stranger.status, 403);
});

test.run();
