/** One connection for all tabs of a browser: while three are open, and after the one that held it is closed. */
// @timeout 60
import type { Page } from "playwright-core";
import * as assert from "uvu/assert";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { browserSuite, type Chromium, type Profile, startChromium } from "./browser.ts";
import { storedIds } from "./page_streams.ts";
import { connectSdk, heard } from "./sdk.ts";

const test = browserSuite("tabs of one browser");
let db: TestDatabase;
let server: Instance;
let chromium: Chromium;
let profile: Profile;

test.before(async () => {
  db = await database();
  // As on the embedded database: /metrics asks for no token.
  [server, chromium] = await Promise.all([instance(db.url, { embedded: true }), startChromium()]);
  profile = await chromium.profile();
});
test.after(async () => {
  await chromium?.close();
  await server?.stop();
  await db?.drop();
});

async function openStreams(): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const values = [...text.matchAll(/^tidings_streams\{.*\} (\d+)$/gm)].map(([, value]) => Number(value));
  return values.reduce((sum, value) => sum + value, 0);
}

async function tab(jwt: string): Promise<Page> {
  const page = await profile.open(`${server.url}/healthz`);
  await connectSdk(page, jwt);
  await eventually(async () => assert.ok((await heard(page)).connected), { deadlineMs: 15_000 });
  return page;
}

test("three tabs hold one connection, and all three hear an entry once", async () => {
  const jwt = await token(301);
  const pages = [await tab(jwt), await tab(jwt), await tab(jwt)];
  assert.is(await openStreams(), 1);
  await store(db.sql, 301, { title: "For all" });
  for (const page of pages) await eventually(async () => assert.equal((await heard(page)).titles, ["For all"]));
  const ways = await Promise.all(pages.map(async (page) => (await heard(page)).transport));
  assert.equal(ways, ["websocket", "tab", "tab"]);

  const [leader, ...others] = pages;
  await leader!.close();
  await store(db.sql, 301, { title: "Between" });
  for (const page of others) {
    await eventually(async () => assert.equal(storedIds((await heard(page)).frames), [1, 2]), { deadlineMs: 15_000 });
    assert.is((await heard(page)).unread, 2);
  }
  await eventually(async () => assert.is(await openStreams(), 1));
  const left = await Promise.all(others.map(async (page) => (await heard(page)).transport));
  assert.equal([...left].sort(), ["tab", "websocket"]);
});

test("tabs of another user have a connection of their own", async () => {
  await tab(await token(302));
  await eventually(async () => assert.is(await openStreams(), 2));
  assert.equal(profile.errors, []);
});

test.run();
