/**
 * Clients that others wrote, as they are: eventsource (Node), reconnecting-websocket and @microsoft/fetch-event-source
 * (in a browser, which they are made for), and raw WebSocket frames typed by hand. Nothing of them is adapted to us.
 */
// @timeout 60
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { EventSource } from "eventsource";
import type { Page } from "playwright-core";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { rawClient, upgradeRequest } from "../helpers/raw.ts";
import { store, storeMany } from "../helpers/streams.ts";
import { browserSuite } from "./browser.ts";
import { storedIds } from "./page_streams.ts";
import { visit } from "./visit.ts";

const test = browserSuite("clients of others");
const here = visit(test, "shared");

/** A blank page of the server's with `window.library`, a package bundled as its author made it. */
async function pageWith(name: string): Promise<Page> {
  const contents = `import * as library from ${JSON.stringify(name)}; Object.assign(window, { library, heard: [] });`;
  const stdin = { contents, resolveDir: fileURLToPath(new URL(".", import.meta.url)) };
  const { outputFiles } = buildSync({ stdin, bundle: true, write: false, format: "iife" });
  const page = await here.blank();
  await page.evaluate(outputFiles[0]!.text);
  return page;
}

const heardIds = async (page: Page): Promise<number[]> => storedIds(await page.evaluate(() => window.heard));

const patient = { deadlineMs: 25_000, everyMs: 100 };

test("reconnecting-websocket resumes at the cursor its url function names", async () => {
  const page = await pageWith("reconnecting-websocket");
  await page.evaluate(
    (jwt) => {
      const { default: Socket } = (window as never as { library: typeof import("reconnecting-websocket") }).library;
      let cursor = "";
      const url = (): string => `${location.origin.replace("http", "ws")}/ws/notifications/?last_event_id=${cursor}`;
      const socket = new Socket(url, ["tidings.v1", `bearer.${jwt}`]);
      socket.addEventListener("message", ({ data }) => {
        const frame = JSON.parse(data);
        cursor = frame.id && !frame.more ? frame.id : (frame.data?.last_event_id ?? cursor);
        window.heard.push(frame);
      });
    },
    await token(401),
  );
  await eventually(() => page.evaluate(() => window.heard.length > 0));
  await store(here.db.sql, 401);
  await eventually(async () => assert.equal(await heardIds(page), [1]));
  await here.restart(() => storeMany(here.db.sql, 401, 3));
  await eventually(async () => assert.equal(await heardIds(page), [1, 2, 3, 4]), patient);
});

test("fetch-event-source sends its token as a header and resumes by its own Last-Event-ID", async () => {
  const page = await pageWith("@microsoft/fetch-event-source");
  await page.evaluate(
    (jwt) => {
      const { library } = window as never as { library: typeof import("@microsoft/fetch-event-source") };
      void library.fetchEventSource("/sse/notifications/", {
        headers: { Authorization: `Bearer ${jwt}` },
        openWhenHidden: true,
        // Its way to say that an end is no end: it tries again.
        onclose: () => {
          throw new Error("again");
        },
        // It hands on events without data too, which a browser's EventSource keeps to itself.
        onmessage: ({ data }) => void (data && window.heard.push(JSON.parse(data))),
      });
    },
    await token(402),
  );
  await eventually(() => page.evaluate(() => window.heard.length > 0));
  await store(here.db.sql, 402);
  await eventually(async () => assert.equal(await heardIds(page), [1]));
  await here.restart(() => storeMany(here.db.sql, 402, 3));
  await eventually(async () => assert.equal(await heardIds(page), [1, 2, 3, 4]), patient);
});

test("the eventsource package comes back by itself at its Last-Event-ID", async () => {
  const jwt = await token(403);
  const source = new EventSource(`${here.server.url}/sse/notifications/?token=${jwt}`);
  const ids: string[] = [];
  source.addEventListener("message", ({ data, lastEventId }) => {
    if (JSON.parse(data).type === "notification") ids.push(lastEventId);
  });
  try {
    await eventually(() => source.readyState === 1);
    await store(here.db.sql, 403);
    await eventually(() => assert.equal(ids, ["1"]));
    await here.restart(() => storeMany(here.db.sql, 403, 3));
    await eventually(() => assert.equal(ids, ["1", "2", "3", "4"]), patient);
  } finally {
    source.close();
  }
});

/** A client's text frame, masked as the standard wants it [RFC 6455 5.3]. */
function typed(text: string): Buffer {
  const mask = [0x12, 0x34, 0x56, 0x78];
  const payload = Buffer.from(text).map((byte, at) => byte ^ mask[at % 4]!);
  return Buffer.from([0x81, 0x80 | payload.length, ...mask, ...payload]);
}

test("what is typed into a bare socket, as with wscat, is understood and answered", async () => {
  const request = upgradeRequest("/ws/notifications/", { Authorization: `Bearer ${await token(404)}` });
  const { socket, received, ended } = await rawClient(Number(new URL(here.server.url).port), request);
  await eventually(() => assert.match(received(), '{"type":"ready"'));
  assert.match(received(), "HTTP/1.1 101 ");
  socket.write(typed("ping"));
  await eventually(() => assert.ok(received().endsWith("\x81\x04pong")));
  socket.write(typed('{"type":"ping"}'));
  await eventually(() => assert.ok(received().endsWith('\x81\x0f{"type":"pong"}')));
  socket.write(typed("hello"));
  await eventually(() => assert.match(received(), '{"type":"error"'));
  // A close frame with 1000, masked with zeros.
  socket.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]));
  await ended;
  assert.ok(received().endsWith("\x88\x02\x03\xe8"));
});

test.run();
