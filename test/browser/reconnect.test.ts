/**
 * A server that is restarted under open pages: what was stored while it was away arrives once it is back, each entry
 * once and in order, by the SDK over both transports and by a plain EventSource.
 */
// @timeout 60
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { store, storeMany } from "../helpers/streams.ts";
import { browserSuite } from "./browser.ts";
import { openEventSource, received, storedIds } from "./page_streams.ts";
import { connectSdk, heard } from "./sdk.ts";
import { visit } from "./visit.ts";

const test = browserSuite("reconnecting in a browser");
const here = visit(test, "fresh");

const patient = { deadlineMs: 25_000, everyMs: 100 };

for (const [at, transport] of (["websocket", "sse"] as const).entries()) {
  test(`the SDK over ${transport} misses nothing of a restart and hears nothing twice`, async () => {
    const user = 201 + at;
    const page = await here.blank();
    await connectSdk(page, await token(user), { transport, shared: false });
    await eventually(async () => assert.is((await heard(page)).transport, transport));
    await store(here.db.sql, user);
    await eventually(async () => assert.equal(storedIds((await heard(page)).frames), [1]));
    await here.restart(() => storeMany(here.db.sql, user, 120));
    await store(here.db.sql, user);
    const all = Array.from({ length: 122 }, (_, n) => n + 1);
    await eventually(async () => assert.equal(storedIds((await heard(page)).frames), all), patient);
    assert.is((await heard(page)).unread, 122);
  });
}

test("an entry that the server passes by moves the cursor and is no gap: the socket stays", async () => {
  const headers = { ...(await here.server.auth(204)), "content-type": "application/json" };
  const body = JSON.stringify({ quiet: { stream: false, email: false, mute: false } });
  assert.is((await fetch(`${here.server.url}/api/preferences`, { method: "PUT", headers, body })).status, 200);
  const page = await here.blank();
  await connectSdk(page, await token(204), { transport: "websocket", shared: false });
  await eventually(async () => assert.ok((await heard(page)).connected));
  await store(here.db.sql, 204, { type: "quiet" });
  await eventually(() => page.evaluate(() => window.client.getSnapshot().cursor === 1));
  await store(here.db.sql, 204);
  await eventually(async () => assert.equal(storedIds((await heard(page)).frames), [2]));
  assert.is((await heard(page)).frames.filter(({ type }) => type === "ready").length, 1);
});

test("a plain EventSource comes back by itself at its Last-Event-ID", async () => {
  const page = await here.blank();
  await openEventSource(page, `/sse/notifications/?token=${await token(203)}`);
  await eventually(async () => assert.is((await received(page)).frames[0]?.type, "ready"));
  await store(here.db.sql, 203);
  await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1]));
  await here.restart(() => storeMany(here.db.sql, 203, 3));
  await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1, 2, 3, 4]), patient);
});

test.run();
