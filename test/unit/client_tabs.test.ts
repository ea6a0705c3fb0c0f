/** Several tabs of one browser: one connection, every tab hears everything once, and the lead passes on without loss. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Client, type ConnectOptions, connect } from "../../src/client/index.ts";
import { type TestPlatform, testLocks, testPlatform, until } from "../helpers/client_platform.ts";
import { jwt, notification, type StreamServer, streamServer } from "../helpers/stream_server.ts";

interface Tab {
  client: Client;
  platform: TestPlatform;
  ids: number[];
  transport(): string | null;
}

interface Context {
  server: StreamServer;
  tabs: Tab[];
  tab(options?: ConnectOptions): Promise<Tab>;
}

const test = suite<Context>("tabs of one browser");
const soon = Math.floor(Date.now() / 1000) + 360_000;

test.before.each(async (context) => {
  const server = await streamServer();
  const locks = testLocks();
  context.server = server;
  context.tabs = [];
  context.tab = async (options) => {
    const platform = testPlatform(20, locks);
    const client = connect({ url: server.url, getToken: () => jwt(7, soon), platform, ...options });
    const tab: Tab = { client, platform, ids: [], transport: () => client.getSnapshot().transport };
    client.on("notification", ({ id }) => tab.ids.push(id));
    context.tabs.push(tab);
    await until("connected", () => client.getSnapshot().connected);
    return tab;
  };
});
test.after.each(async ({ tabs, server }) => {
  for (const { client } of tabs) client.close();
  for (const { platform } of tabs) assert.equal([platform.timers.size, platform.listening()], [0, 0]);
  await server.stop();
});

test("share one stream, and each hears every notification once", async ({ server, tab }) => {
  const [first, second, third] = [await tab(), await tab(), await tab()];
  assert.equal([first.transport(), second.transport(), third.transport()], ["websocket", "tab", "tab"]);
  assert.is(server.peers.length, 1);
  for (let times = 0; times < 20; times++) server.notify();
  const all = Array.from({ length: 20 }, (_, at) => at + 1);
  for (const { client, ids } of [first, second, third]) {
    await until("all", () => client.getSnapshot().cursor === 20);
    assert.equal(ids, all);
    assert.is(client.getSnapshot().unreadCount, 20);
  }
  assert.is(server.opened.length, 1);
});

test("when the leader closes, another goes on at its cursor and nothing is missed", async ({ server, tab }) => {
  const [first, second, third] = [await tab(), await tab(), await tab()];
  server.notify();
  await until("one", () => third.client.getSnapshot().cursor === 1 && second.client.getSnapshot().cursor === 1);
  first.client.close();
  server.store({ type: "notification", data: notification(2) });
  server.store({ type: "notification", data: notification(3) });
  for (const { client, ids } of [second, third]) {
    await until("caught up", () => client.getSnapshot().cursor === 3);
    assert.equal(ids, [1, 2, 3]);
  }
  await until("the second leads", () => second.transport() === "websocket");
  assert.is(server.opened.at(-1)!.cursor, "1");
  await until("the third follows", () => third.transport() === "tab");
  await until("the first is gone", () => server.peers.length === 1);
});

test("a tab that is behind the leader gets what it misses", async ({ server, tab }) => {
  const first = await tab();
  // What the leader receives while this one reads the inbox passes the new tab by.
  let once = true;
  const { fetch } = globalThis;
  const slow = testPlatform(20, first.platform.locks);
  slow.fetch = async (input, init) => {
    const answer = await fetch(input, init);
    if (once) {
      once = false;
      server.notify();
      server.notify();
      await until("the leader has them", () => first.client.getSnapshot().cursor === 2);
    }
    return answer;
  };
  const second = await tab({ platform: slow });
  await until("both", () => second.client.getSnapshot().cursor === 2);
  server.notify();
  await until("the third", () => second.client.getSnapshot().cursor === 3 && first.client.getSnapshot().cursor === 3);
  assert.equal(
    [second.ids, first.ids],
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
  );
});

test("the followers are as cut off as the leader, and come back with it", async ({ server, tab }) => {
  const [first, second] = [await tab(), await tab()];
  server.rules.blockSockets = true;
  server.rules.status = { "/sse": 503 };
  server.peers[0]!.close(1006);
  await until("both cut off", () => !first.client.getSnapshot().connected && !second.client.getSnapshot().connected);
  server.store({ type: "notification", data: notification(1) });
  server.rules.blockSockets = false;
  await until(
    "both back",
    () => first.client.getSnapshot().cursor === 1 && second.client.getSnapshot().cursor === 1,
    9000,
  );
  assert.equal([second.ids, server.peers.length], [[1], 1]);
});

test("a frozen leader is robbed of the lead, and follows when it thaws", async ({ server, tab }) => {
  server.rules.heartbeatSeconds = 4;
  const first = await tab();
  const second = await tab();
  // Frozen: its channel is heard by nobody. The other tab's pings stay without answer.
  const { postMessage } = BroadcastChannel.prototype;
  const frozen = new Set<unknown>();
  BroadcastChannel.prototype.postMessage = function (message) {
    if (frozen.size === 0) frozen.add(this);
    if (message.k === "hello" || !frozen.has(this)) postMessage.call(this, message);
  };
  try {
    server.notify();
    await until("robbed", () => second.transport() === "websocket", 9000);
    await until("followed", () => first.transport() === "tab", 9000);
    assert.equal(second.ids, [1]);
  } finally {
    BroadcastChannel.prototype.postMessage = postMessage;
  }
});

test("a leader whose token is refused for good leaves the lead to another", async ({ server, tab }) => {
  const good = jwt(7, soon, "good");
  const first = await tab();
  const second = await tab({ getToken: () => good });
  server.rules.refuse = (token) => (token === good ? undefined : 4401);
  server.peers[0]!.close(4401);
  await until("the second leads", () => second.transport() === "websocket");
  assert.is(first.client.getSnapshot().state, "failed");
});

test("tabs of different users, or with sharing off, have their own", async ({ server, tab }) => {
  await tab();
  await tab({ getToken: () => jwt(8, soon) });
  await tab({ shared: false });
  await tab({ types: ["notification"] });
  assert.is(server.peers.length, 4);
});

test("a cookie says no user: not shared unless the page names them", async ({ server, tab }) => {
  await tab({ getToken: undefined });
  await tab({ getToken: undefined });
  assert.is(server.peers.length, 2);
  await tab({ getToken: undefined, user: 7 });
  await tab({ getToken: undefined, user: "7" });
  assert.is(server.peers.length, 3);
});

test.run();
