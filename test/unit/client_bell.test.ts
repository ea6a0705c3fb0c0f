/** The bell element in a document: what it shows, what it says, what the keys do, and that no notification can inject. */

import "../helpers/client_dom.ts";
import "../../src/client/bell/index.ts";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { safeUrl } from "../../src/client/bell/dom.ts";
import type { TidingsBell } from "../../src/client/bell/index.ts";
import { ago } from "../../src/client/bell/text.ts";
import { type Client, connect } from "../../src/client/index.ts";
import { page } from "../helpers/client_dom.ts";
import { testPlatform, until } from "../helpers/client_platform.ts";
import { jwt, notification, type StreamServer, streamServer } from "../helpers/stream_server.ts";

interface Context {
  server: StreamServer;
  client: Client;
  bell: TidingsBell;
  find(selector: string): HTMLElement;
  all(selector: string): HTMLElement[];
  titles(): (string | null)[];
}

const test = suite<Context>("the bell");
const TOKEN = jwt(7, Math.floor(Date.now() / 1000) + 360_000);

test.before.each(async (context) => {
  const server = await streamServer();
  server.inbox = {
    notifications: [
      notification(-1, { is_read: true, title: "<b>old</b>", url: "javascript:alert(1)" }),
      notification(-2, { url: "/tasks/2" }),
      notification(-3, { is_read: true }),
    ],
    ...{ unread_count: 1, by_type: { note: 1 } },
  };
  const client = connect({ url: server.url, getToken: () => TOKEN, platform: testPlatform() });
  const bell = document.createElement("tidings-bell");
  bell.connection = client;
  document.body.append(bell);
  await until("connected", () => client.getSnapshot().connected);
  const all = (selector: string): HTMLElement[] => [...bell.shadowRoot!.querySelectorAll<HTMLElement>(selector)];
  const titles = (): (string | null)[] => all(".item-title").map((title) => title.textContent);
  Object.assign(context, { server, client, bell, all, titles, find: (selector: string) => all(selector)[0] });
});
test.after.each(async ({ client, bell, server }) => {
  bell.remove();
  client.close();
  await server.stop();
});

const press = (element: HTMLElement, key: string): boolean =>
  element.dispatchEvent(
    new page.KeyboardEvent("keydown", { key, bubbles: true, composed: true, cancelable: true }) as unknown as Event,
  );

test("the button counts what is unread, and says it", ({ find }) => {
  assert.is(find(".badge").textContent, "1");
  assert.is(find(".trigger").getAttribute("aria-label"), "Notifications, 1 unread");
  assert.is(find(".panel").hidden, true);
});

test("unread ones stand first, and text is never markup", ({ bell, titles, all }) => {
  bell.open = true;
  assert.equal(titles(), ["Title -2", "<b>old</b>", "Title -3"]);
  assert.is(all(".item b").length, 0);
});

test("only safe links are links", ({ all }) => {
  assert.equal(
    all("a").map((link) => link.getAttribute("href")),
    ["http://127.0.0.1/tasks/2"],
  );
  for (const bad of [
    "javascript:alert(1)",
    " JaVaScRiPt:x",
    "data:text/html,x",
    "vbscript:x",
    "",
    7,
    null,
    "http://[",
  ]) {
    assert.is(safeUrl(bad), null, `${bad}`);
  }
  assert.is(safeUrl("https://example.com/a"), "https://example.com/a");
  assert.is(safeUrl("a/b?c"), "http://127.0.0.1/a/b?c");
});

test("it opens with the focus inside, moves by arrows, closes by Escape and gives the focus back", ({
  bell,
  find,
  all,
}) => {
  const focused = (): Element | null => bell.shadowRoot!.activeElement;
  find(".trigger").click();
  assert.is(find(".trigger").getAttribute("aria-expanded"), "true");
  assert.is(focused(), find("h2"));
  press(find("h2"), "ArrowDown");
  assert.is(focused(), all(".item-main")[0]);
  press(all(".item-main")[0]!, "End");
  assert.is(focused(), all(".item-main")[2]);
  press(all(".item-main")[2]!, "Escape");
  assert.is(bell.open, false);
  assert.is(focused(), find(".trigger"));
});

test("a live arrival comes first and is said aloud", async ({ server, find, titles }) => {
  server.notify({ title: "Just now", created_at: new Date().toISOString() });
  await until("shown", () => titles()[0] === "Just now");
  assert.is(find(".badge").textContent, "2");
  assert.is(find("[role=status]").textContent, "New notification: Just now");
});

test("what is read in the open panel keeps its place, and moves down when it is opened again", async ({
  bell,
  all,
  find,
  titles,
  server,
}) => {
  bell.open = true;
  all(".item-action")[0]!.click();
  assert.is(find(".badge").hidden, true);
  assert.is(titles()[0], "Title -2");
  await until("sent", () => server.requests.some(({ path }) => path === "/api/notifications/-2/read"));
  bell.open = false;
  bell.open = true;
  assert.is(titles()[0], "<b>old</b>");
});

test("a refused change is taken back and said", async ({ server, find }) => {
  server.rules.status = { "/api/notifications": 500 };
  find(".mark-all").click();
  assert.is(find(".badge").hidden, true);
  await until("taken back", () => !find(".badge").hidden);
  assert.match(find("[role=status]").textContent!, "did not work");
});

test("an item can be opened by the page instead of the browser", ({ bell, find }) => {
  const opened: number[] = [];
  bell.addEventListener("tidings-open", (event) => {
    opened.push((event as CustomEvent).detail.id);
    event.preventDefault();
  });
  find(".item-main").click();
  assert.equal(opened, [-2]);
});

test("a lost connection is shown with a way to try again; nothing left is said kindly", async ({
  server,
  client,
  bell,
  find,
}) => {
  bell.open = true;
  server.rules.refuse = () => 4401;
  server.peers[0]!.close(4401);
  await until("said", () => !find(".notice").hidden);
  assert.match(find(".notice").textContent!, "session has ended");
  server.rules = {};
  find(".retry").click();
  await until("back", () => client.getSnapshot().connected);
  assert.is(find(".notice").hidden, true);
  await Promise.all([-1, -2, -3].map((id) => client.remove(id)));
  assert.is(find(".empty").hidden, false);
  assert.match(find(".empty").textContent!, "caught up");
});

test("on its own it connects by its attributes, and taken out of the page it leaves nothing behind", async ({
  server,
}) => {
  const own = document.createElement("tidings-bell");
  for (const [name, value] of [
    ["url", server.url],
    ["token", TOKEN],
    ["transport", "sse"],
  ] as const)
    own.setAttribute(name, value);
  document.body.append(own);
  await until("connected", () => own.connection?.getSnapshot().transport === "sse");
  const { connection } = own;
  own.remove();
  await until("closed", () => connection!.getSnapshot().state === "closed" && server.peers.length === 1);
  assert.is(own.connection, null);
});

test("times are said as people say them", () => {
  const now = Date.parse("2026-03-10T12:00:00Z");
  const said = ["2026-03-10T11:59:50Z", "2026-03-10T11:55:00Z", "2026-03-09T11:00:00Z", "2026-01-05T00:00:00Z", "x"];
  assert.equal(
    said.map((at) => ago(at, now)),
    ["now", "5m ago", "yesterday", "Jan 5", ""],
  );
});

test.run();
