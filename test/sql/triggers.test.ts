import { suite } from "uvu";
import * as assert from "uvu/assert";
import { reference, to, types } from "./reference.ts";

const test = suite("the reference triggers");
const scene = reference(test);
const { run } = scene;
const utc = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

async function unread(user: number): Promise<number> {
  const [row] = await scene.db.sql`select tidings.unread(${user}::text) -> 'count' as count`;
  return row!.count;
}

test("a plain insert of an invite reaches the receiver as event and notification, and nobody else", async () => {
  const frames = await run("insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess')");
  assert.equal(
    frames.map((frame) => frame.group),
    ["user_2"],
  );
  const { id, event, notification } = frames[0]!;
  assert.is(id, 1);
  const invite = event!.invite as Record<string, unknown>;
  assert.equal(event, { type: "invite_created", invite });
  assert.match(invite.created_at as string, utc);
  assert.is(invite.updated_at, invite.created_at);
  const { created_at, updated_at, ...rest } = invite;
  assert.equal(rest, {
    id: 1,
    game: "chess",
    sender: { id: 1, username: "ann" },
    receiver: { id: 2, username: "ben" },
    status: "pending",
    expires_at: null,
  });
  assert.is(notification!.notification_type, "invite_created");
  assert.is(notification!.title, "New invite");
  assert.is(notification!.message, "ann invited you to chess");
  assert.equal(notification!.data, { invite_id: 1, sender_id: 1, game: "chess" });
  assert.is(await unread(2), 1);
  assert.is(await unread(1), 0);
});

for (const [status, told, message] of [
  ["accepted", 1, "ben accepted your invite to chess"],
  ["declined", 1, "ben declined your invite to chess"],
  ["cancelled", 2, "ann cancelled the invite to chess"],
  ["expired", 1, "Your invite to chess expired"],
] as const) {
  test(`an invite that is ${status} tells both sides, and notifies user ${told} alone`, async () => {
    await run("insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess')");
    const frames = await run(`update app.invite set status = '${status}'`);
    assert.equal(frames.map((frame) => frame.group).sort(), ["user_1", "user_2"]);
    for (const { event } of frames) {
      assert.is(event!.type, "invite_status");
      assert.is((event!.invite as { status: string }).status, status);
    }
    const notified = frames.filter((frame) => frame.notification);
    assert.equal(
      notified.map((frame) => frame.group),
      [`user_${told}`],
    );
    assert.is(notified[0]!.notification!.message, message);
    assert.is(notified[0]!.notification!.notification_type, "invite_status");
  });
}

test("an invite inserted as settled, or updated without a change of status, tells nobody", async () => {
  assert.equal(
    await run("insert into app.invite (sender_id, receiver_id, game, status) values (1, 2, 'go', 'accepted')"),
    [],
  );
  assert.equal(await run("update app.invite set game = 'chess', status = status"), []);
});

test("a replayed invite is shown as it is now: settled or deleted, never pending again", async () => {
  await run(
    "insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess'), (1, 2, 'go'), (1, 2, 'shogi')",
  );
  await run("update app.invite set status = 'declined' where id = 1; delete from app.invite where id = 2");
  const rows = await scene.db.sql`
    select tidings.current_event(event) #>> '{invite,status}' as status from tidings.notification
    where user_id = '2' and event ->> 'type' = 'invite_created' order by id`;
  assert.equal(
    rows.map((row) => row.status),
    ["declined", "cancelled", "pending"],
  );
});

test("a message reaches each other member, pings the other side of a direct room, and goes to the room", async () => {
  await run(`insert into app.room (kind) values ('direct'); insert into app.room_member values (1, 1), (1, 2)`);
  const content = "x".repeat(101);
  const frames = await run(`insert into app.message (room_id, sender_id, content) values (1, 1, '${content}')`);
  const [entry, ping] = to(frames, "user_2");
  assert.equal(types(to(frames, "user_2")), ["new_message", "dm"]);
  assert.equal(entry!.event, {
    type: "new_message",
    from_user: { id: 1, username: "ann" },
    message: { id: 1, content },
    room_id: 1,
  });
  assert.is(entry!.notification!.title, "New message from ann");
  assert.is(entry!.notification!.message, `ann: ${"x".repeat(100)}…`);
  assert.equal(entry!.notification!.data, { room_id: 1, sender_id: 1, message_id: 1 });
  const { timestamp, ...dm } = ping!.event as { timestamp: string };
  assert.equal(dm, { type: "dm", senderId: 1, message_id: 1 });
  assert.match(timestamp, utc);
  const [chat] = to(frames, "room_1");
  const { created_at, ...data } = chat!.event!.data as { created_at: string };
  assert.is(chat!.event!.type, "chat_message");
  assert.equal(data, { id: 1, room_id: 1, sender: { id: 1, username: "ann" }, content });
  assert.is(frames.length, 3);
});

test("a group message pings nobody, and changing or deleting a message tells nobody", async () => {
  await run(`insert into app.room (kind) values ('group'); insert into app.room_member select 1, id from app."user"`);
  const frames = await run("insert into app.message (room_id, sender_id, content) values (1, 3, 'hi')");
  assert.equal(types(frames), ["chat_message", "new_message", "new_message", "new_message"]);
  assert.equal(
    frames.map((frame) => frame.group),
    ["room_1", "user_1", "user_2", "user_4"],
  );
  assert.is(frames[1]!.notification!.message, "cleo: hi");
  assert.equal(await run("update app.message set content = 'ho'; delete from app.message"), []);
});

test("a friend request reaches the addressee, its acceptance the requester, a refusal nobody", async () => {
  const asked = await run("insert into app.friendship (requester_id, addressee_id) values (1, 2), (1, 3)");
  assert.equal(
    asked.map((frame) => frame.group),
    ["user_2", "user_3"],
  );
  assert.equal(asked[0]!.event, { type: "friend_request", from_user: { id: 1, username: "ann" } });
  assert.is(asked[0]!.notification!.message, "ann sent you a friend request");
  assert.equal(asked[0]!.notification!.data, { request_id: 1, user_id: 1 });
  const settled = await run("update app.friendship set status = case id when 1 then 'accepted' else 'declined' end");
  assert.equal(
    settled.map((frame) => frame.group),
    ["user_1"],
  );
  assert.equal(settled[0]!.event, { type: "friend_accepted", from_user: { id: 2, username: "ben" } });
  assert.is(settled[0]!.notification!.notification_type, "friend_accepted");
  assert.equal(
    await run("insert into app.friendship (requester_id, addressee_id, status) values (3, 4, 'accepted')"),
    [],
  );
});

test("a task tells its assignee, and of changes creator and assignee, but never the actor", async () => {
  const made = await run("insert into app.task (title, creator_id, assignee_id) values ('Report', 1, 2)");
  assert.equal(
    made.map((frame) => frame.group),
    ["user_2"],
  );
  assert.is(made[0]!.notification!.notification_type, "assigned");
  assert.is(made[0]!.event, undefined);
  assert.equal(made[0]!.notification!.data, { task_id: 1 });

  const changed = await run("update app.task set status = 'in_progress', status_reason = 'now'");
  assert.equal(
    changed.map((frame) => frame.group),
    ["user_1", "user_2"],
  );
  assert.is(changed[0]!.notification!.notification_type, "status_changed");
  assert.equal(changed[0]!.notification!.data, {
    task_id: 1,
    old_status: "todo",
    status: "in_progress",
    reason: "now",
  });

  const byBen = await run("begin; set local tidings.actor = '2'; update app.task set status = 'todo'; commit");
  assert.equal(
    byBen.map((frame) => frame.group),
    ["user_1"],
  );

  const moved = await run("begin; set local tidings.actor = '3'; update app.task set assignee_id = 3; commit");
  assert.equal(moved, []);
  const given = await run("update app.task set assignee_id = 4, title = 'Report 2'");
  assert.equal(
    given.map((frame) => [frame.group, frame.notification!.message]),
    [["user_4", 'You were assigned task "Report 2".']],
  );
});

test("one who is creator and assignee hears of a task once", async () => {
  await run("insert into app.task (title, creator_id, assignee_id) values ('Report', 1, 1)");
  assert.equal(
    (await run("update app.task set status = 'done'")).map((frame) => frame.group),
    ["user_1"],
  );
});

test("a task inserted as done tells nobody", async () => {
  assert.equal(
    await run("insert into app.task (title, creator_id, assignee_id, status) values ('Old', 1, 2, 'done')"),
    [],
  );
});

test("an attachment reaches creator and assignee, but not who attached it", async () => {
  await run("insert into app.task (title, creator_id, assignee_id) values ('Report', 1, 2)");
  const attach =
    "insert into app.task_attachment (task_id, name, url, uploader_id) values (1, 'a.pdf', 'https://x.test/a', 2)";
  assert.equal(
    (await run(attach)).map((frame) => frame.group),
    ["user_1", "user_2"],
  );
  const [frame, ...others] = await run(`begin; set local tidings.actor = '2'; ${attach}; commit`);
  assert.is(others.length, 0);
  assert.is(frame!.group, "user_1");
  assert.is(frame!.notification!.notification_type, "file_attached");
  assert.equal(frame!.notification!.data, { task_id: 1, attachment_id: 2, name: "a.pdf", url: "https://x.test/a" });
});

test("a member who leaves a room is named to the instances, so that their chat streams end", async () => {
  await run(`insert into app.room (kind) values ('group'); insert into app.room_member values (1, 1), (1, 2)`);
  const [frame, ...others] = await run("delete from app.room_member where user_id = 2");
  assert.is(others.length, 0);
  assert.equal(frame!.event, { type: "leave", group: "room_1", user_id: "2" });
});

test.run();
