import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Api, startApi } from "./domain_api.ts";

const test = suite("rooms, messages and tasks over REST");
let api: Api;

test.before(async () => {
  api = await startApi();
});
test.after(() => api.db.drop());
test.before.each(() => api.reset());

const names = (room: { members: { username: string }[] }) => room.members.map((member) => member.username);

test("a group is answered 201 with its members, the maker among them", async () => {
  const room = await api.post(1, "/rooms", { kind: "group", name: "Chess", member_ids: [2, 3, 3] });
  assert.equal([room.kind, room.name, room.member_count, names(room)], ["group", "Chess", 3, ["ann", "ben", "cleo"]]);
  assert.equal((await api.get(3, "/rooms")).items, [room]);
  assert.equal((await api.get(4, "/rooms")).items, []);
  await api.post(1, "/rooms", { kind: "group", member_ids: [99] }, 422);
  await api.post(1, "/rooms", { kind: "club", member_ids: [] }, 422);
});

test("two users have one direct room, whoever asks and however many at once", async () => {
  const rooms = await Promise.all(
    [1, 2, 1, 2, 1, 2].map((user) => api.post(user, "/rooms", { kind: "direct", member_ids: [3 - user] })),
  );
  assert.is(new Set(rooms.map((room) => room.id)).size, 1);
  const sent = await api.post(2, "/messages", { to: 1, content: "hi" });
  assert.is(sent.room_id, rooms[0].id);
  await api.post(1, "/rooms", { kind: "direct", member_ids: [2, 3] }, 422);
  await api.post(1, "/rooms", { kind: "direct", member_ids: [1] }, 422);
  await api.post(1, "/rooms", { kind: "direct", member_ids: [99] }, 422);
});

test("a direct room that plain inserts made is found, not made again", async () => {
  await api.db.sql`insert into app.room (kind) values ('direct'), ('group')`;
  await api.db.sql`insert into app.room_member values (1, 1), (1, 2), (2, 1), (2, 2)`;
  assert.is((await api.post(2, "/messages", { to: 1, content: "hi" })).room_id, 1);
});

test("a message has its canonical form, reaches the others, and stands in the list newest first", async () => {
  const room = await api.post(1, "/rooms", { kind: "group", member_ids: [2] });
  const first = await api.post(1, `/rooms/${room.id}/messages`, { content: "one" });
  assert.equal(Object.keys(first).sort(), ["content", "created_at", "id", "room_id", "sender"]);
  assert.equal(first.sender, { id: 1, username: "ann" });
  const second = await api.post(2, `/rooms/${room.id}/messages/`, { content: "two" });
  assert.equal(await api.get(2, `/rooms/${room.id}/messages?limit=1`), { items: [second], next: second.id });
  assert.equal(await api.get(2, `/rooms/${room.id}/messages?limit=1&before=${second.id}`), {
    items: [first],
    next: null,
  });
  assert.equal(await api.told("new_message"), ["2", "1"]);
});

test("to who is no member a room does not exist", async () => {
  const { id } = await api.post(1, "/rooms", { kind: "group", member_ids: [2] });
  for (const room of [id, 99]) {
    await api.get(3, `/rooms/${room}/messages`, 404);
    await api.post(3, `/rooms/${room}/messages`, { content: "x" }, 404);
    await api.post(3, `/rooms/${room}/members`, { user_id: 3 }, 404);
    await api.as(3, "DELETE", `/rooms/${room}/members`, { user_id: 1 }, 404);
  }
  assert.equal((await api.get(1, `/rooms/${id}/messages`)).items, []);
});

test("content over 4,000 characters, blank, with NUL or half a surrogate pair is 422; 4,000 emoji pass", async () => {
  const { id } = await api.post(1, "/rooms", { kind: "group", member_ids: [2] });
  for (const content of ["x".repeat(4001), "😀".repeat(4001), "", "  \n", "a\0", "\udc00", 5, null]) {
    await api.post(1, `/rooms/${id}/messages`, { content }, 422);
    await api.post(1, "/messages", { to: 2, content }, 422);
  }
  await api.post(1, `/rooms/${id}/messages`, { content: "😀".repeat(4000) });
  await api.post(1, "/messages", { to: 1, content: "me" }, 422);
  await api.post(1, "/messages", { to: 99, content: "nobody" }, 422);
});

test("members add others and leave; only the maker removes others; a direct room keeps its two", async () => {
  const { id } = await api.post(1, "/rooms", { kind: "group", member_ids: [2] });
  assert.equal(names(await api.post(2, `/rooms/${id}/members`, { user_ids: [3, 4, 2] }, 200)), [
    "ann",
    "ben",
    "cleo",
    "dan",
  ]);
  await api.post(2, `/rooms/${id}/members`, { user_ids: [99] }, 422);
  await api.post(2, `/rooms/${id}/members`, {}, 422);
  await api.as(2, "DELETE", `/rooms/${id}/members`, { user_id: 3 }, 403);
  await api.as(1, "DELETE", `/rooms/${id}/members`, { user_id: 3 }, 204);
  await api.as(1, "DELETE", `/rooms/${id}/members?user_id=3`, undefined, 404);
  await api.as(1, "DELETE", `/rooms/${id}/members?user_id=4`, undefined, 204);
  await api.as(2, "DELETE", `/rooms/${id}/members`, undefined, 204);
  await api.get(2, `/rooms/${id}/messages`, 404);
  const direct = await api.post(1, "/rooms", { kind: "direct", member_ids: [2] });
  await api.post(1, `/rooms/${direct.id}/members`, { user_id: 3 }, 409);
  await api.as(1, "DELETE", `/rooms/${direct.id}/members`, undefined, 409);
});

test("a task room is for a task of the caller's", async () => {
  const task = await api.post(1, "/tasks", { title: "Report", assignee_id: 2 });
  const room = await api.post(2, "/rooms", { kind: "task", task_id: task.id, member_ids: [1] });
  assert.equal([room.kind, room.task_id, room.member_count], ["task", task.id, 2]);
  await api.post(3, "/rooms", { kind: "task", task_id: task.id, member_ids: [] }, 404);
  await api.post(1, "/rooms", { kind: "task", member_ids: [] }, 422);
  await api.post(1, "/rooms", { kind: "group", task_id: task.id, member_ids: [] }, 422);
});

test("a task is answered 201 with itself, tells the assignee, and is listed for both", async () => {
  const task = await api.post(1, "/tasks", { title: "Report", assignee_id: 2, due_at: "2031-01-02T03:04:05+01:00" });
  assert.equal(
    [task.creator.id, task.assignee.id, task.status, task.due_at],
    [1, 2, "todo", "2031-01-02T02:04:05.000000Z"],
  );
  const own = await api.post(2, "/tasks", { title: "Mine", assignee_id: 2 });
  const open = await api.post(2, "/tasks", { title: "Open" });
  assert.equal([own.assignee.id, open.assignee, open.due_at], [2, null, null]);
  assert.equal(await api.told("assigned"), ["2"]);
  assert.equal((await api.get(2, "/tasks")).items, [open, own, task]);
  assert.equal((await api.get(1, "/tasks?status=todo")).items, [task]);
  assert.equal((await api.get(3, "/tasks")).items, []);
  await api.post(1, "/tasks", { title: "x", assignee_id: 99 }, 422);
  await api.post(1, "/tasks", { title: "x", due_at: "tomorrow" }, 422);
  await api.post(1, "/tasks", { title: "" }, 422);
});

test("creator and assignee change a status, the other is told, and out of done or cancelled nothing leads", async () => {
  const { id } = await api.post(1, "/tasks", { title: "Report", assignee_id: 2 });
  await api.post(3, `/tasks/${id}/update_status/`, { status: "done" }, 404);
  await api.post(1, "/tasks/99/update_status", { status: "done" }, 404);
  const begun = await api.post(2, `/tasks/${id}/update_status/`, { status: "in_progress", reason: "now" }, 200);
  assert.equal([begun.id, begun.status, begun.status_reason], [id, "in_progress", "now"]);
  await api.post(1, `/tasks/${id}/update_status`, { status: "todo" }, 200);
  await api.post(1, `/tasks/${id}/update_status`, { status: "done" }, 200);
  assert.equal(await api.told("status_changed"), ["1", "2", "2"]);
  for (const status of ["todo", "cancelled", "done"]) {
    assert.match((await api.post(2, `/tasks/${id}/update_status`, { status }, 409)).detail, /done/);
  }
  await api.post(2, `/tasks/${id}/update_status`, { status: "late" }, 422);
});

test("an attachment is for creator and assignee, and its address is one that can be clicked safely", async () => {
  const { id } = await api.post(1, "/tasks", { title: "Report", assignee_id: 2 });
  const made = await api.post(2, `/tasks/${id}/attachments`, { name: "a.pdf", url: "https://x.test/a.pdf" });
  assert.equal([made.task_id, made.name, made.uploader], [id, "a.pdf", { id: 2, username: "ben" }]);
  assert.equal(await api.told("file_attached"), ["1"]);
  await api.post(3, `/tasks/${id}/attachments`, { name: "a", url: "https://x.test/" }, 404);
  for (const url of ["javascript:alert(1)", "javascript://x.test/%0aalert(1)", "data:text/html,x", "//x.test/a", ""]) {
    await api.post(1, `/tasks/${id}/attachments`, { name: "a", url }, 422);
  }
});

test.run();
