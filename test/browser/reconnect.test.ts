/**
 * A server that is restarted under open pages: what was stored while it was away arrives once it is back, each entry
 * once and in order, by the SDK over both transports and by a plain EventSource.
 */
// @timeout 60
import type { Page } from "playwright-core";
import * as assert from "uvu/assert";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { store, storeMany } from "../helpers/streams.ts";
import { browserSuite, type Chromium, type Profile, startChromium } from "./browser.ts";
import { openEventSource, received, storedIds } from "./page_streams.ts";
import { connectSdk, heard } from "./sdk.ts";

const test = browserSuite("reconnecting in a browser");
let db: TestDatabase;
let server: Instance;
let chromium: Chromium;
let profile: Profile;

test.before(async () => {
  db = await database();
  [server, chromium] = await Promise.all([instance(db.url), startChromium()]);
});
test.after(async () => {
  await chromium?.close();
  await server?.stop();
  await db?.drop();
});
test.before.each(async () => {
  profile = await chromium.profile();
});
test.after.each(() => profile.close());

const blank = (): Promise<Page> => profile.open(`${server.url}/healthz`);

/** Down, something happens, and up again on the same port. */
async function restart(meanwhile: () => Promise<void>): Promise<void> {
  const port = Number(new URL(server.url).port);
  await server.stop();
  await meanwhile();
  server = await instance(db.url, { config: { port } });
}

const patient = { deadlineMs: 25_000, everyMs: 100 };

for (const [at, transport] of (["websocket", "sse"] as const).entries()) {
  test(`the SDK over ${transport} misses nothing of a restart and hears nothing twice`, async () => {
    const user = 201 + at;
    const page = await blank();
    await connectSdk(page, await token(user), { transport, shared: false });
    await eventually(async () => assert.is((await heard(page)).transport, transport));
    await store(db.sql, user);
    await eventually(async () => assert.equal(storedIds((await heard(page)).frames), [1]));
    await restart(() => storeMany(db.sql, user, 120));
    await store(db.sql, user);
    const all = Array.from({ length: 122 }, (_, n) => n + 1);
    await eventually(async () => assert.equal(storedIds((await heard(page)).frames), all), patient);
    assert.is((await heard(page)).unread, 122);
  });
}

test("an entry that the server passes by moves the cursor and is no gap: the socket stays", async () => {
  const headers = { ...(await server.auth(204)), "content-type": "application/json" };
  const body = JSON.stringify({ quiet: { stream: false, email: false, mute: false } });
  assert.is((await fetch(`${server.url}/api/preferences`, { method: "PUT", headers, body })).status, 200);
  const page = await blank();
  await connectSdk(page, await token(204), { transport: "websocket", shared: false });
  await eventually(async () => assert.ok((await heard(page)).connected));
  await store(db.sql, 204, { type: "quiet" });
  await eventually(() => page.evaluate(() => window.client.getSnapshot().cursor === 1));
  await store(db.sql, 204);
  await eventually(async () => assert.equal(storedIds((await heard(page)).frames), [2]));
  assert.is((await heard(page)).frames.filter(({ type }) => type === "ready").length, 1);
});

test("a plain EventSource comes back by itself at its Last-Event-ID", async () => {
  const page = await blank();
  await openEventSource(page, `/sse/notifications/?token=${await token(203)}`);
  await eventually(async () => assert.is((await received(page)).frames[0]?.type, "ready"));
  await store(db.sql, 203);
  await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1]));
  await restart(() => storeMany(db.sql, 203, 3));
  await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1, 2, 3, 4]), patient);
});

test.run();
