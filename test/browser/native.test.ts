/**
 * What a browser has of its own, without a line of ours in the page: `new WebSocket` with the token as a subprotocol, as
 * a cookie and in the query; `new EventSource`; and the refusals that a page must be able to see.
 */
// @timeout 60
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { instance, token } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { browserSuite } from "./browser.ts";
import { openEventSource, openSocket, received, storedIds } from "./page_streams.ts";
import { visit } from "./visit.ts";

const test = browserSuite("the browser's own clients");
const WS = "/ws/notifications/";
const SSE = "/sse/notifications/";
const here = visit(test, "fresh");

test("new WebSocket(url, [jwt]) opens, selects the token and hears a live entry", async () => {
  const page = await here.blank();
  const jwt = await token(101);
  await openSocket(page, WS, [jwt]);
  await eventually(async () => assert.is((await received(page)).frames[0]?.type, "ready"));
  assert.is((await received(page)).protocol, jwt);
  await store(here.db.sql, 101, { title: "Live" });
  await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1]));
});

test("the cookie alone opens a WebSocket and an EventSource", async () => {
  await here.profile.context.addCookies([
    { name: "access", value: await token(102), url: here.server.url, httpOnly: true },
  ]);
  await store(here.db.sql, 102);
  for (const open of [openSocket, openEventSource]) {
    const page = await here.blank();
    await open(page, `${open === openSocket ? WS : SSE}?last_event_id=0`);
    await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1]));
  }
});

test("the token in the query opens a WebSocket and an EventSource", async () => {
  await store(here.db.sql, 103);
  for (const open of [openSocket, openEventSource]) {
    const page = await here.blank();
    await open(page, `${open === openSocket ? WS : SSE}?token=${await token(103)}&last_event_id=0`);
    await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1]));
  }
});

test("an EventSource has each entry's id as its lastEventId", async () => {
  const page = await here.blank();
  await openEventSource(page, `${SSE}?token=${await token(104)}`);
  await eventually(async () => assert.is((await received(page)).frames[0]?.type, "ready"));
  await store(here.db.sql, 104);
  await store(here.db.sql, 104, { event: { type: "saved" } });
  await eventually(async () => assert.equal(storedIds((await received(page)).frames), [1, 2]));
  const { frames, ids } = await received(page);
  assert.is(ids[frames.findIndex(({ type, id }) => type === "notification" && id === 2)], "2");
});

test("a bad token is seen by the page as close code 4401", async () => {
  const page = await here.blank();
  await openSocket(page, WS, ["e30.e30.bad"]);
  await eventually(async () => assert.is((await received(page)).code, 4401));
  await openSocket(page, `${WS}?token=bad`);
  await eventually(async () => assert.is((await received(page)).code, 4401));
});

// Thirty seconds of clock skew are allowed: three are left.
test("a token that expires closes the open socket with 4401", async () => {
  const page = await here.blank();
  await openSocket(page, WS, [await token(105, {}, -27)]);
  await eventually(async () => assert.is((await received(page)).opens, 1));
  await eventually(async () => assert.is((await received(page)).code, 4401), { deadlineMs: 10_000 });
});

test("an EventSource with a bad token gives up for good", async () => {
  const page = await here.blank();
  await openEventSource(page, `${SSE}?token=bad`);
  await eventually(async () => {
    const { errors, readyState, opens } = await received(page);
    assert.equal([errors, readyState, opens], [1, 2, 0]);
  });
});

test("a page of another origin cannot open a socket with the user's cookie", async () => {
  await here.profile.context.addCookies([{ name: "access", value: await token(106), url: here.server.url }]);
  const other = await instance(here.db.url);
  try {
    const page = await here.profile.open(`${other.url}/healthz`);
    await openSocket(page, `${here.server.ws}${WS}`);
    await eventually(async () => assert.is((await received(page)).code, 1006));
    assert.is((await received(page)).opens, 0);
  } finally {
    await other.stop();
  }
});

test.run();
