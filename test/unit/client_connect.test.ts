/** The client against a real server on real sockets: no seam, no loss, no double, whatever happens to the connection. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type AnyFrame, type Client, type ConnectOptions, connect } from "../../src/client/index.ts";
import { type TestPlatform, testPlatform, until } from "../helpers/client_platform.ts";
import { jwt, notification, type StreamServer, streamServer } from "../helpers/stream_server.ts";

interface Context {
  server: StreamServer;
  platform: TestPlatform;
  client: Client;
  seen: AnyFrame[];
  open(options?: ConnectOptions): Client;
}

const test = suite<Context>("a client");
const soon = Math.floor(Date.now() / 1000);
const TOKEN = jwt(7, soon + 360_000);

test.before.each(async (context) => {
  const server = await streamServer();
  context.server = server;
  context.platform = testPlatform();
  context.seen = [];
  context.open = (options) => {
    context.client = connect({ url: server.url, getToken: () => TOKEN, platform: context.platform, ...options });
    context.client.on("*", (frame) => context.seen.push(frame));
    return context.client;
  };
});
test.after.each(async ({ client, server, platform }) => {
  client.close();
  assert.is(platform.timers.size, 0, "no timer is left");
  assert.is(platform.listening(), 0, "no listener is left");
  await server.stop();
});

const ids = (seen: AnyFrame[]): number[] =>
  seen.flatMap((frame) => ("id" in frame && frame.id ? [frame.id as number] : []));
const connected = (client: Client): Promise<void> => until("connected", () => client.getSnapshot().connected);

test("reads the inbox and opens the stream where the inbox ends, with the token as a subprotocol", async ({
  server,
  open,
}) => {
  server.notify();
  server.notify();
  server.inbox = { notifications: [notification(2), notification(1)], unread_count: 2, by_type: { note: 2 } };
  const client = open();
  await connected(client);
  assert.is(server.opened[0]!.cursor, "2");
  assert.is(server.opened[0]!.token, TOKEN);
  const { notifications, unreadCount, transport, cursor, userId } = client.getSnapshot();
  assert.equal([notifications.length, unreadCount, transport, cursor, userId], [2, 2, "websocket", 2, 7]);
});

test("a new notification comes to handlers and store, and counts one more by itself", async ({ server, open }) => {
  const client = open();
  await connected(client);
  const titles: string[] = [];
  client.on("notification", ({ data }) => titles.push(data.title));
  server.notify({ title: "Hello", notification_type: "greeting" });
  await until("arrival", () => titles.length > 0);
  const { notifications, unreadCount, byType, cursor } = client.getSnapshot();
  assert.equal([titles, notifications.length, unreadCount, byType, cursor], [["Hello"], 1, 1, { greeting: 1 }, 1]);
});

test("the snapshot is the same object between changes, and listeners stop when told", async ({ server, open }) => {
  const client = open();
  await connected(client);
  assert.is(client.getSnapshot(), client.getSnapshot());
  let calls = 0;
  const stop = client.subscribe(() => calls++);
  server.notify();
  await until("a call", () => calls > 0);
  stop();
  const before = calls;
  server.notify();
  await until("the second", () => client.getSnapshot().cursor === 2);
  assert.is(calls, before);
});

test("what happens while the socket is cut comes once and in order", async ({ server, open, seen }) => {
  const client = open();
  await connected(client);
  for (let round = 0; round < 5; round++) {
    server.notify();
    await until("live", () => client.getSnapshot().cursor === server.peers.length + round * 3);
    server.peers[0]!.close(1006);
    server.store({ type: "invite_created", invite: {} }, { type: "notification", data: notification(round * 3 + 2) });
    server.store({ type: "notification", data: notification(round * 3 + 3) });
    await until("caught up", () => client.getSnapshot().cursor === round * 3 + 3);
  }
  const expected = Array.from({ length: 5 }, (_, round) => [
    3 * round + 1,
    3 * round + 2,
    3 * round + 2,
    3 * round + 3,
  ]);
  assert.equal(ids(seen), expected.flat());
});

test("a cut between the two frames of an entry repeats neither", async ({ server, open, seen }) => {
  const client = open();
  await connected(client);
  server.store({ type: "invite_created", invite: { id: 5 } }, { type: "notification", data: notification(1) });
  server.broadcast({ type: "invite_created", invite: { id: 5 }, id: 1, more: true });
  await until("half", () => seen.some(({ type }) => type === "invite_created"));
  assert.is(client.getSnapshot().cursor, 0, "an entry that is not whole does not move the cursor");
  server.peers[0]!.close(1006);
  await until("whole", () => client.getSnapshot().cursor === 1);
  assert.equal(
    seen.filter(({ type }) => type !== "ready").map(({ type }) => type),
    ["invite_created", "notification"],
  );
});

test("a frame that got lost is fetched by going back to the cursor", async ({ server, open, seen }) => {
  const client = open();
  await connected(client);
  server.rules.lose = new Set([2]);
  server.notify();
  server.notify();
  server.notify();
  await until("healed", () => client.getSnapshot().cursor === 3);
  assert.equal(ids(seen), [1, 2, 3]);
  assert.equal(
    server.opened.map(({ cursor }) => cursor),
    ["0", "1"],
  );
});

test("a gap that the server leaves on purpose is healed once, then passed", async ({ server, open, seen }) => {
  const client = open();
  await connected(client);
  server.broadcast({ type: "notification", id: 5, data: notification(5) });
  await until("a second stream", () => server.opened.length === 2 && client.getSnapshot().connected);
  server.broadcast({ type: "notification", id: 5, data: notification(5) });
  server.broadcast({ type: "notification", id: 9, data: notification(9) });
  await until("passed", () => client.getSnapshot().cursor === 9);
  assert.equal([ids(seen), server.opened.length], [[5, 9], 2]);
});

test("where sockets are blocked, SSE carries on, with the cursor in Last-Event-ID", async ({ server, open, seen }) => {
  server.rules.blockSockets = true;
  server.notify();
  const client = open();
  await connected(client);
  assert.is(client.getSnapshot().transport, "sse");
  server.notify();
  await until("live", () => client.getSnapshot().cursor === 2);
  server.peers[0]!.close();
  server.store({ type: "notification", data: notification(3) });
  await until("resumed", () => client.getSnapshot().cursor === 3);
  assert.equal(ids(seen), [2, 3]);
  assert.equal(
    server.opened.map(({ kind, cursor, token }) => [kind, cursor, token]),
    [
      ["sse", "1", TOKEN],
      ["sse", "2", TOKEN],
    ],
  );
});

test("SSE after blocked sockets goes back to a socket when they are free again", async ({ server, open, platform }) => {
  server.rules.blockSockets = true;
  // Only the five minutes until the next try are made short.
  const setTimeout: typeof platform.setTimeout = (run, ms) => platform.setTimeout(run, ms === 300_000 ? 100 : ms);
  const client = open({ platform: { ...platform, setTimeout } });
  await connected(client);
  server.rules.blockSockets = false;
  await until("a socket", () => client.getSnapshot().transport === "websocket");
});

test("a refused token is fetched anew once, then the client stops and says so", async ({ server, open }) => {
  let calls = 0;
  server.rules.refuse = (token) => (token === TOKEN ? undefined : 4401);
  const client = open({ getToken: () => (++calls === 1 ? jwt(7, soon + 360_000, "old") : TOKEN) });
  await connected(client);
  assert.is(calls, 2);
  server.rules.refuse = () => 4401;
  server.peers[0]!.close(4401);
  await until("failed", () => client.getSnapshot().state === "failed");
  assert.is(client.getSnapshot().failure, 4401);
  server.rules.refuse = () => undefined;
  client.retry();
  await connected(client);
});

test("signed out is the end of it, until the page says otherwise", async ({ open }) => {
  const client = open({ getToken: () => null });
  await until("failed", () => client.getSnapshot().state === "failed");
  assert.is(client.getSnapshot().failure, 4401);
});

test("a token is renewed in the open socket before it ends", async ({ server, open, platform }) => {
  const platformSeconds = (): number => Math.floor(platform.now() / 1000);
  let calls = 0;
  const client = open({ getToken: () => jwt(7, platformSeconds() + (calls++ ? 9000 : 50), `${calls}`) });
  await connected(client);
  await until("an auth frame", () => server.peers[0]!.received.some((frame) => (frame as AnyFrame).type === "auth"));
  assert.equal([calls, server.opened.length], [2, 1]);
});

test("over SSE a renewed token opens a new stream at the cursor", async ({ server, open, platform }) => {
  let calls = 0;
  const getToken = (): string => jwt(7, Math.floor(platform.now() / 1000) + (calls++ ? 9000 : 50), `${calls}`);
  open({ getToken, transport: "sse" });
  await until("a second stream", () => server.opened.length === 2);
  assert.is.not(server.opened[0]!.token, server.opened[1]!.token);
});

test("another user's token is refused before anything of theirs is mixed in", async ({ server, open }) => {
  let user = 7;
  const client = open({ getToken: () => jwt(user, soon + 360_000) });
  await connected(client);
  user = 8;
  server.peers[0]!.close(4401);
  await until("failed", () => client.getSnapshot().state === "failed");
  assert.is(client.getSnapshot().failure, 4403);
});

test("a reset reads the inbox anew and goes on from there", async ({ server, open, seen }) => {
  const client = open();
  await connected(client);
  for (let id = 1; id <= 9; id++) server.store({ type: "notification", data: notification(id) });
  server.inbox = { notifications: [notification(9)], unread_count: 4, by_type: { note: 4 } };
  server.broadcast({ type: "reset", data: { last_event_id: 9 } });
  await until("the inbox", () => client.getSnapshot().unreadCount === 4);
  server.notify();
  await until("live", () => client.getSnapshot().cursor === 10);
  assert.equal([ids(seen), client.getSnapshot().unreadCount], [[10], 5]);
});

test("a server that says nothing any more is left for a new connection", async ({ server, open }) => {
  server.rules.heartbeatSeconds = 2;
  const client = open();
  await connected(client);
  await until("pings", () => server.peers[0]!.received.length > 1);
  assert.is(server.opened.length, 1, "answered pings keep it");
  server.rules.deaf = true;
  await until("a second stream", () => server.opened.length > 1);
});

test("read state from another device, bulk too, changes the list, and the server's count is taken as it is", async ({
  server,
  open,
}) => {
  const client = open();
  await connected(client);
  for (const type of ["a", "b", "a"]) server.notify({ notification_type: type });
  await until("three", () => client.getSnapshot().unreadCount === 3);
  server.broadcast({ type: "unread_count", data: { count: 1, by_type: { b: 1 } } });
  server.broadcast({ type: "notification_update", data: { up_to: 3, type: "a", status: "read" } });
  server.broadcast({ type: "notification_update", data: { notification_id: 2, status: "archived" } });
  await until("archived", () => client.getSnapshot().notifications.length === 2);
  assert.ok(client.getSnapshot().notifications.every((item) => item.is_read));
  assert.equal(client.getSnapshot().byType, { b: 1 });
});

test("inbox calls show at once, and take back what the server refuses", async ({ server, open }) => {
  const client = open();
  await connected(client);
  for (let times = 0; times < 3; times++) server.notify();
  await until("three", () => client.getSnapshot().unreadCount === 3);
  const read = (): boolean[] => client.getSnapshot().notifications.map((item) => item.is_read);

  const done = client.markRead(2);
  assert.equal([read(), client.getSnapshot().unreadCount], [[false, true, false], 2], "at once");
  await done;
  await client.markUnread(2);
  assert.equal([read(), client.getSnapshot().byType], [[false, false, false], { note: 3 }]);

  server.rules.status = { "/api/notifications": 500 };
  const caught = (call: Promise<void>): Promise<Error & { status?: number }> =>
    call.then(
      () => new Error("not refused"),
      (error) => error,
    );
  for (const error of await Promise.all([client.markRead(1), client.markAllRead(), client.remove(3)].map(caught))) {
    assert.equal([error.name, error.status, error.message], ["RequestError", 500, "no: 500"]);
  }
  assert.equal([read(), client.getSnapshot().unreadCount], [[false, false, false], 3], "taken back");

  server.rules.status = {};
  await client.remove(3);
  await client.markAllRead();
  assert.equal([read(), client.getSnapshot().unreadCount], [[true, true], 0]);
  const sent = server.requests.filter(({ method }) => method !== "GET").slice(-2);
  assert.equal(
    sent.map(({ method, path, body }) => [method, path, body]),
    [
      ["DELETE", "/api/notifications/3", undefined],
      ["POST", "/api/notifications/read_all", { up_to: 3 }],
    ],
  );
});

test("older pages come into the store without changing the count", async ({ server, open }) => {
  const client = open();
  await connected(client);
  server.notify();
  await until("one", () => client.getSnapshot().cursor === 1);
  server.inbox["/api/notifications?before=1"] = { items: [notification(-1), notification(-2)], next: null };
  assert.is(await client.loadMore(), true);
  assert.equal(
    client.getSnapshot().notifications.map((item) => item.id),
    [1, -1, -2],
  );
  assert.is(client.getSnapshot().unreadCount, 1);
});

test("offline it waits for the network, and is back at once when it comes", async ({ server, open, platform }) => {
  const client = open();
  await connected(client);
  platform.page("offline");
  server.peers[0]!.close(1006);
  await until("paused", () => client.getSnapshot().state === "paused");
  platform.page("online");
  await connected(client);
});

test("an inbox that cannot be read is asked for again, and the stream waits for it", async ({ server, open }) => {
  server.rules.status = { "/api/inbox": 404 };
  const client = open();
  await until("two attempts", () => server.requests.length > 1);
  assert.is(server.opened.length, 0);
  server.rules.status = {};
  await connected(client);
});

test("without getToken the cookie goes along, and no token is offered", async ({ server, open, platform }) => {
  const modes: (string | undefined)[] = [];
  const spied: typeof fetch = (input, init) => {
    modes.push(init?.credentials);
    return fetch(input, init);
  };
  const client = open({ getToken: undefined, platform: { ...platform, fetch: spied } });
  await connected(client);
  assert.equal([modes, server.opened[0]!.token], [["include"], ""]);
});

test("close is the end: the stream goes, nothing more is heard", async ({ server, open, seen }) => {
  const client = open();
  await connected(client);
  const before = seen.length;
  server.notify();
  client.close();
  await until("the stream to go", () => server.peers.length === 0);
  assert.equal([seen.length, client.getSnapshot().state], [before, "closed"]);
});

test.run();
