/**
 * What a browser has of its own, without a line of ours in the page: `new WebSocket` with the token as a subprotocol, as
 * a cookie and in the query; `new EventSource`; and the refusals that a page must be able to see.
 */
// @timeout 60
import * as assert from "uvu/assert";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { browserSuite, type Chromium, type Profile, startChromium } from "./browser.ts";
import { openEventSource, openSocket, received, storedIds } from "./page_streams.ts";

const test = browserSuite("the browser's own clients");
const WS = "/ws/notifications/";
const SSE = "/sse/notifications/";
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

/** A page of the server's own origin with nothing in it. */
const blank = () => profile.open(`${server.url}/healthz`);

test("new WebSocket(url, [jwt]) opens, selects the token and hears a live entry", async () => {
  const page = await blank();
  const jwt = await token(101);
  await openSocket(page, WS, [jwt]);
  await eventually(async () => assert.is((await received(page)).frames[0]?.type, "ready"));
  assert.is((await received(page)).protocol, jwt);
  await store(db.sql, 101, { title: "Live" });
  await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1]));
});

test("the cookie alone opens a WebSocket and an EventSource", async () => {
  await profile.context.addCookies([{ name: "access", value: await token(102), url: server.url, httpOnly: true }]);
  await store(db.sql, 102);
  for (const open of [openSocket, openEventSource]) {
    const page = await blank();
    await open(page, `${open === openSocket ? WS : SSE}?last_event_id=0`);
    await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1]));
  }
});

test("the token in the query opens a WebSocket and an EventSource", async () => {
  await store(db.sql, 103);
  for (const open of [openSocket, openEventSource]) {
    const page = await blank();
    await open(page, `${open === openSocket ? WS : SSE}?token=${await token(103)}&last_event_id=0`);
    await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1]));
  }
});

test("an EventSource has each entry's id as its lastEventId", async () => {
  const page = await blank();
  await openEventSource(page, `${SSE}?token=${await token(104)}`);
  await eventually(async () => assert.is((await received(page)).frames[0]?.type, "ready"));
  await store(db.sql, 104);
  await store(db.sql, 104, { event: { type: "saved" } });
  await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1, 2]));
  const { frames, ids } = await received(page);
  assert.is(ids[frames.findIndex(({ type, id }) => type === "notification" && id === 2)], "2");
});

test("a bad token is seen by the page as close code 4401", async () => {
  const page = await blank();
  await openSocket(page, WS, ["e30.e30.bad"]);
  await eventually(async () => assert.is((await received(page)).code, 4401));
  await openSocket(page, `${WS}?token=bad`);
  await eventually(async () => assert.is((await received(page)).code, 4401));
});

// Thirty seconds of clock skew are allowed: three are left.
test("a token that expires closes the open socket with 4401", async () => {
  const page = await blank();
  await openSocket(page, WS, [await token(105, {}, -27)]);
  await eventually(async () => assert.is((await received(page)).opens, 1));
  await eventually(async () => assert.is((await received(page)).code, 4401), { deadlineMs: 10_000 });
});

test("an EventSource with a bad token gives up for good", async () => {
  const page = await blank();
  await openEventSource(page, `${SSE}?token=bad`);
  await eventually(async () => {
    const { errors, readyState, opens } = await received(page);
    assert.equal([errors, readyState, opens], [1, 2, 0]);
  });
});

test("a page of another origin cannot open a socket with the user's cookie", async () => {
  await profile.context.addCookies([{ name: "access", value: await token(106), url: server.url }]);
  const other = await instance(db.url);
  try {
    const page = await profile.open(`${other.url}/healthz`);
    await openSocket(page, `${server.ws}${WS}`);
    await eventually(async () => assert.is((await received(page)).code, 1006));
    assert.is((await received(page)).opens, 0);
  } finally {
    await other.stop();
  }
});

test.run();
