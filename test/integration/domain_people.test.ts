import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Api, startApi } from "./domain_api.ts";

const test = suite("invites and friends over REST");
let api: Api;

test.before(async () => {
  api = await startApi();
});
test.after(() => api.db.drop());
test.before.each(() => api.reset());

test("an invite is answered 201 with the canonical invite, and tells the receiver alone", async () => {
  const made = await api.post(1, "/invites", { receiver_id: 2, game: "chess", expires_in: 60 });
  assert.equal(Object.keys(made).sort(), [
    "created_at",
    "expires_at",
    "game",
    "id",
    "receiver",
    "sender",
    "status",
    "updated_at",
  ]);
  assert.equal(made.sender, { id: 1, username: "ann" });
  assert.is(Date.parse(made.expires_at) - Date.parse(made.created_at), 60_000);
  assert.equal(await api.told("invite_created"), ["2"]);
});

test("only the receiver accepts or declines, only the sender cancels, and others see nothing of it", async () => {
  const { id } = await api.post(1, "/invites", { receiver_id: 2, game: "chess" });
  for (const action of ["accept", "decline", "cancel"]) await api.post(3, `/invites/${id}/${action}`, undefined, 404);
  assert.is((await api.post(1, `/invites/${id}/accept`, undefined, 403)).code, "forbidden");
  await api.post(1, `/invites/${id}/decline`, undefined, 403);
  await api.post(2, `/invites/${id}/cancel`, undefined, 403);
  const accepted = await api.post(2, `/invites/${id}/accept`, undefined, 200);
  assert.is(accepted.status, "accepted");
  assert.ok(accepted.updated_at > accepted.created_at);
  const other = await api.post(1, "/invites", { receiver_id: 2, game: "go" });
  assert.is((await api.post(1, `/invites/${other.id}/cancel`, undefined, 200)).status, "cancelled");
});

test("a second transition is a conflict that names the state, also for the wrong side once it is known", async () => {
  const { id } = await api.post(1, "/invites", { receiver_id: 2, game: "chess" });
  await api.post(2, `/invites/${id}/decline`, undefined, 200);
  const problem = await api.post(2, `/invites/${id}/accept`, undefined, 409);
  assert.equal([problem.code, problem.detail], ["conflict", "This invite is already declined."]);
  await api.post(1, `/invites/${id}/cancel`, undefined, 409);
});

test("an invite past its expiry cannot be accepted, and is in no list of pending ones", async () => {
  const { id } = await api.post(1, "/invites", { receiver_id: 2, game: "chess", expires_in: 0.05 });
  await api.post(1, "/invites", { receiver_id: 2, game: "go" });
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.match((await api.post(2, `/invites/${id}/accept`, undefined, 409)).detail, /expired/);
  const all = await api.get(2, "/invites?status=");
  assert.equal(all, await api.get(2, "/invites"));
  const { items } = await api.get(2, "/invites?status=pending");
  assert.equal(
    items.map((item: { game: string }) => item.game),
    ["go"],
  );
  const [row] = await api.db.sql`select app.inbox_json('2') -> 'pending_invites' as invites`;
  assert.is(row!.invites.length, 1);
});

test("of two answers at the same moment exactly one wins", async () => {
  for (let round = 0; round < 10; round++) {
    const { id } = await api.post(1, "/invites", { receiver_id: 2, game: "chess" });
    const answers = await Promise.allSettled([
      api.post(2, `/invites/${id}/accept`, undefined, 200),
      api.post(2, `/invites/${id}/decline`, undefined, 200),
      api.post(1, `/invites/${id}/cancel`, undefined, 200),
    ]);
    assert.is(answers.filter((answer) => answer.status === "fulfilled").length, 1);
  }
  assert.is((await api.told("invite_status")).length, 20);
});

test("the actor is known to the triggers, and recorded with what they publish", async () => {
  const { id } = await api.post(1, "/invites", { receiver_id: 2, game: "chess" });
  await api.post(2, `/invites/${id}/accept`, undefined, 200);
  const rows = await api.db.sql`select type, actor from tidings.notification order by created_at, user_id`;
  assert.equal(
    rows.map((row) => `${row.type} ${row.actor}`),
    ["invite_created 1", "invite_status 2", "invite_status 2"],
  );
});

test("bad invites are 422 and name the field", async () => {
  for (const [body, field] of [
    [{ receiver_id: 1, game: "chess" }, /^receiver_id/],
    [{ receiver_id: 99, game: "chess" }, /^receiver_id: there is no user 99/],
    [{ receiver_id: "2", game: "chess" }, /^receiver_id/],
    [{ receiver_id: 2 }, /^game/],
    [{ receiver_id: 2, game: " " }, /^game/],
    [{ receiver_id: 2, game: "a\0b" }, /^game/],
    [{ receiver_id: 2, game: "a\ud800" }, /^game/],
    [{ receiver_id: 2, game: "chess", expires_in: 0 }, /^expires_in/],
    [{ receiver_id: 2, game: "chess", expires_in: 1e12 }, /^expires_in/],
    [{ receiver_id: 2, game: "chess", extra: 1 }, /extra/],
  ] as const) {
    assert.match((await api.post(1, "/invites", body, 422)).detail, field);
  }
  await api.get(1, "/invites?status=open", 422);
  await api.get(1, "/invites?limit=201", 422);
  await api.post(1, "/invites/none/accept", undefined, 422);
});

test("a list is the caller's own, newest first, in pages without gap or repeat", async () => {
  await api.db
    .sql`insert into app.invite (sender_id, receiver_id, game) select 1 + g % 3, 1 + (g + 1) % 3, 'g' || g from generate_series(1, 30) g`;
  const seen: number[] = [];
  let path = "/invites?limit=7";
  for (;;) {
    const { items, next } = await api.get(1, path);
    seen.push(...items.map((item: { id: number }) => item.id));
    if (next === null) break;
    path = `/invites?limit=7&before=${next}`;
  }
  assert.is(seen.length, 20);
  assert.equal(
    seen,
    [...new Set(seen)].sort((a, b) => b - a),
  );
  assert.is((await api.get(4, "/invites")).items.length, 0);
});

test("a user unknown to the domain is refused on every route", async () => {
  for (const user of [99, "someone@example.com", "01", "99999999999999999999"]) {
    for (const path of ["/invites", "/friends", "/rooms", "/tasks", "/rooms/1/messages"])
      await api.get(user, path, 403);
    await api.post(user, "/invites", { receiver_id: 2, game: "go" }, 403);
    await api.post(user, "/invites/1/accept", undefined, 403);
    await api.post(user, "/friends/requests", { to: 2 }, 403);
    await api.post(user, "/friends/requests/1/accept", undefined, 403);
    await api.post(user, "/rooms", { kind: "group", member_ids: [1] }, 403);
    await api.post(user, "/rooms", { kind: "direct", member_ids: [1] }, 403);
    await api.post(user, "/rooms/1/members", { user_id: 1 }, 403);
    await api.as(user, "DELETE", "/rooms/1/members", undefined, 403);
    await api.post(user, "/rooms/1/messages", { content: "x" }, 403);
    await api.post(user, "/messages", { to: 1, content: "x" }, 403);
    await api.post(user, "/tasks", { title: "x" }, 403);
    await api.post(user, "/tasks/1/update_status/", { status: "done" }, 403);
    await api.post(user, "/tasks/1/attachments", { name: "x", url: "https://x.test/" }, 403);
  }
  const [row] = await api.db
    .sql`select (select count(*) from app.room) + (select count(*) from app.task) + (select count(*) from app.message) as written`;
  assert.is(row!.written, 0);
});

test("a friend request is answered by the addressee alone, once", async () => {
  const asked = await api.post(1, "/friends/requests", { to: 2 });
  assert.equal([asked.from_user.id, asked.to_user.id, asked.status], [1, 2, "pending"]);
  await api.post(3, `/friends/requests/${asked.id}/accept`, undefined, 404);
  await api.post(1, `/friends/requests/${asked.id}/accept`, undefined, 403);
  const accepted = await api.post(2, `/friends/requests/${asked.id}/accept`, undefined, 200);
  assert.is(accepted.status, "accepted");
  await api.post(2, `/friends/requests/${asked.id}/decline`, undefined, 409);
  assert.equal(await api.told("friend_request"), ["2"]);
  assert.equal(await api.told("friend_accepted"), ["1"]);
});

test("a second request is a conflict either way, while pending and when accepted, and free again when declined", async () => {
  const { id } = await api.post(1, "/friends/requests", { to: 2 });
  await api.post(1, "/friends/requests", { to: 2 }, 409);
  await api.post(2, "/friends/requests", { to: 1 }, 409);
  await api.post(2, `/friends/requests/${id}/decline`, undefined, 200);
  const again = await api.post(2, "/friends/requests", { to: 1 });
  await api.post(1, `/friends/requests/${again.id}/accept`, undefined, 200);
  await api.post(1, "/friends/requests", { to: 2 }, 409);
  await api.post(1, "/friends/requests", { to: 1 }, 422);
  await api.post(1, "/friends/requests", { to: 99 }, 422);
});

test("friends are listed with who of them is online on a living instance", async () => {
  await api.db.sql`
    insert into app.friendship (requester_id, addressee_id, status)
    values (1, 2, 'accepted'), (3, 1, 'accepted'), (1, 4, 'pending')`;
  const alive = await api.db.sql.reserve();
  try {
    await alive`select pg_advisory_lock(1953063018, 7)`;
    await api.db.sql`select tidings.presence_open(7, '{2}'), tidings.presence_open(8, '{3}')`;
    assert.equal(await api.get(1, "/friends"), {
      items: [
        { id: 3, username: "cleo", friend_status: "offline" },
        { id: 2, username: "ben", friend_status: "online" },
      ],
      next: null,
    });
    assert.equal((await api.get(1, "/friends?limit=1")).next, 3);
    assert.equal(
      (await api.get(1, "/friends?limit=1&before=3")).items.map((item: { id: number }) => item.id),
      [2],
    );
    const [row] = await api.db
      .sql`select app.inbox_json('1') as inbox, app.inbox_json('4') as dan, app.inbox_json('nobody') as nobody`;
    assert.equal(
      row!.inbox.friends.map((friend: { friend_status: string }) => friend.friend_status),
      ["online", "offline"],
    );
    assert.equal(row!.inbox.friend_requests, []);
    assert.equal(
      row!.dan.friend_requests.map((request: { from_user: unknown }) => request.from_user),
      [{ id: 1, username: "ann" }],
    );
    assert.equal(row!.nobody, { friends: [], friend_requests: [], pending_invites: [] });
  } finally {
    await alive`select pg_advisory_unlock_all()`;
    alive.release();
  }
});

test.run();
