/** One connection for all tabs of a browser: while three are open, and after the one that held it is closed. */
// @timeout 60
import type { Page } from "playwright-core";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { browserSuite } from "./browser.ts";
import { storedIds } from "./page_streams.ts";
import { connectSdk, heard } from "./sdk.ts";
import { visit } from "./visit.ts";

const test = browserSuite("tabs of one browser");
// As on the embedded database: /metrics asks for no token.
const here = visit(test, "shared", { embedded: true });

async function openStreams(): Promise<number> {
  const text = await (await fetch(`${here.server.url}/metrics`)).text();
  const values = [...text.matchAll(/^tidings_streams\{.*\} (\d+)$/gm)].map(([, value]) => Number(value));
  return values.reduce((sum, value) => sum + value, 0);
}

async function tab(jwt: string): Promise<Page> {
  const page = await here.profile.open(`${here.server.url}/healthz`);
  await connectSdk(page, jwt);
  await eventually(async () => assert.ok((await heard(page)).connected), { deadlineMs: 15_000 });
  return page;
}

test("three tabs hold one connection, and all three hear an entry once", async () => {
  const jwt = await token(301);
  const pages = [await tab(jwt), await tab(jwt), await tab(jwt)];
  assert.is(await openStreams(), 1);
  await store(here.db.sql, 301, { title: "For all" });
  for (const page of pages) await eventually(async () => assert.equal((await heard(page)).titles, ["For all"]));
  const ways = await Promise.all(pages.map(async (page) => (await heard(page)).transport));
  assert.equal(ways, ["websocket", "tab", "tab"]);

  const [leader, ...others] = pages;
  await leader!.close();
  await store(here.db.sql, 301, { title: "Between" });
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
  assert.equal(here.profile.errors, []);
});

test.run();
