/** The React hooks in a real React tree against a real server: StrictMode, another user, another token, a server render. */
import "../helpers/client_dom.ts";
import { createElement as h, type ReactNode, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  TidingsProvider,
  type TidingsProviderProps,
  useConnected,
  useEvent,
  useNotifications,
} from "../../src/client/react.ts";
import { type TestPlatform, testPlatform, until } from "../helpers/client_platform.ts";
import { jwt, type StreamServer, streamServer } from "../helpers/stream_server.ts";

interface Context {
  server: StreamServer;
  platform: TestPlatform;
  root: Root;
  heard: string[];
  show(props?: TidingsProviderProps): Promise<void>;
  text(): string;
}

const test = suite<Context>("the React hooks");
const soon = Math.floor(Date.now() / 1000) + 360_000;

function Inbox({ hear }: { hear(title: string): void }): ReactNode {
  const { notifications, unreadCount, loading } = useNotifications();
  const connected = useConnected();
  useEvent("notification", ({ data }) => hear(data.title));
  const titles = notifications.map(({ id, title }) => h("li", { key: id }, title));
  return h("ul", null, `${connected ? "live" : "off"} ${loading ? "loading" : "read"} ${unreadCount}:`, titles);
}

const Count = (): ReactNode => useNotifications().unreadCount;

test.before.each(async (context) => {
  const server = await streamServer();
  const element = document.createElement("div");
  const root = createRoot(element);
  const platform = testPlatform();
  Object.assign(context, { server, root, platform, heard: [], text: () => element.textContent ?? "" });

  context.show = async (props) => {
    const all = { url: server.url, platform, ...props };
    root.render(
      h(StrictMode, null, h(TidingsProvider, all, h(Inbox, { hear: (title: string) => context.heard.push(title) }))),
    );
  };
});
test.after.each(async ({ root, server, platform }) => {
  root.unmount();
  await until("all timers gone", () => platform.timers.size === 0 && platform.listening() === 0);
  await server.stop();
});

test("under StrictMode one stream is left, an arrival is shown once and heard once", async ({
  server,
  show,
  text,
  heard,
}) => {
  await show({ token: jwt(7, soon) });
  await until("live", () => text().startsWith("live read 0"));
  await until("one stream", () => server.peers.length === 1);
  server.notify({ title: "Hello" });
  await until("shown", () => text() === "live read 1:Hello");
  assert.equal(heard, ["Hello"]);
});

test("another user gets another client, and sees nothing of the first", async ({ server, show, text }) => {
  await show({ token: jwt(7, soon) });
  await until("live", () => text().startsWith("live read"));
  server.notify({ title: "For seven" });
  await until("shown", () => text().includes("For seven"));
  server.rules.refuse = (token) => (token === jwt(7, soon) ? 4401 : undefined);
  await show({ token: jwt(8, soon) });
  await until("the other", () => text().startsWith("live read 0"));
  assert.not.ok(text().includes("For seven"));
  assert.is(server.opened.at(-1)!.token, jwt(8, soon));
  await show({ token: null });
  await until("signed out", () => text() === "off loading 0:" && server.peers.length === 0);
});

test("a newer token of the same user keeps the stream, and revives a client that had given up", async ({
  server,
  show,
  text,
}) => {
  await show({ token: jwt(7, soon) });
  await until("live", () => text().startsWith("live"));
  const { length } = server.opened;
  await show({ token: jwt(7, soon + 1) });
  server.notify();
  await until("shown", () => text().includes("Title 1"));
  assert.is(server.opened.length, length);
  server.rules.refuse = (token) => (token === jwt(7, soon + 2) ? undefined : 4401);
  server.peers[0]!.close(4401);
  await until("given up", () => text().startsWith("off") && server.peers.length === 0);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await show({ token: jwt(7, soon + 2) });
  await until("live again", () => text().startsWith("live"));
});

test("a new getToken function at every render opens no new stream", async ({ server, show, text }) => {
  for (let times = 0; times < 5; times++) await show({ getToken: () => jwt(7, soon), user: 7 });
  await until("live", () => text().startsWith("live"));
  for (let times = 0; times < 5; times++) await show({ getToken: () => jwt(7, soon), user: 7 });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.is(server.peers.length, 1);
});

test("on a server it renders the empty inbox and connects to nothing", async ({ server }) => {
  assert.is(renderToString(h(TidingsProvider, { url: server.url, token: jwt(7, soon) }, h(Count))), "0");
  assert.is(server.requests.length, 0);
});

test.run();
