/**
 * What no well-behaved client sends, on the real server: after each input somebody else's streams and requests are
 * served as before, the process lives, and no place of a stream is lost.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { type RawClient, rawClient, upgradeRequest } from "../helpers/raw.ts";
import { store } from "../helpers/streams.ts";

const test = suite("bad input");
const WS = "/ws/notifications/";
const SSE = "/sse/notifications/";
let db: TestDatabase;
let app: Instance;
let port: number;
let jwt: string;
let bystander = 0;

test.before(async () => {
  db = await database({ domain: false });
  // one place: whatever a bad client keeps, the next one misses
  app = await instance(db.url, { env: { DOMAIN: "off", MAX_STREAMS_PER_USER: "1" } });
  port = Number(new URL(app.url).port);
  jwt = await token("attacker");
});
test.after.each(closeClients);
test.after(async () => {
  await app?.stop();
  await db?.drop();
});

/** Somebody else opens both kinds of stream, is notified, and asks the API; the attacker's place is free again. */
async function servesOthers(): Promise<void> {
  const users = [`user ${++bystander} a`, `user ${bystander} b`];
  const [first, second] = await Promise.all(users.map((user) => app.auth(user)));
  const streams = [await socket(app.ws + WS, { headers: first! }), await sse(app.url + SSE, second!)];
  await Promise.all(streams.map((stream) => stream.find("ready")));
  for (const user of users) await store(db.sql, user);
  await Promise.all(streams.map((stream) => stream.find("notification")));
  assert.is((await fetch(`${app.url}/api/inbox`, { headers: first! })).status, 200);
  await eventually(async () => {
    const own = await socket(app.ws + WS, { headers: { authorization: `Bearer ${jwt}` } });
    await own.find("ready", 500);
    own.close();
    await own.closed;
  });
}

async function opened(): Promise<RawClient> {
  const client = await rawClient(port, upgradeRequest(`${WS}?token=${jwt}`));
  await eventually(() => client.received().includes('"type":"ready"'));
  return client;
}

/** A masked frame, first byte and length as given. */
function frame(first: number, payload: Buffer, length = payload.length): Buffer {
  const extended = Buffer.from(length > 65_535 ? [0, 0, 0, 0, 0, 0, 0, 0] : length > 125 ? [0, 0] : []);
  if (extended.length === 8) extended.writeUIntBE(length, 2, 6);
  if (extended.length === 2) extended.writeUInt16BE(length);
  const size = extended.length === 8 ? 127 : extended.length === 2 ? 126 : length;
  return Buffer.concat([Buffer.from([first, 0x80 | size]), extended, Buffer.from([0, 0, 0, 0]), payload]);
}

const FRAMES: readonly [string, Buffer][] = [
  ["an unmasked frame", Buffer.from([0x81, 2, 0x68, 0x69])],
  ["a reserved opcode", frame(0x83, Buffer.from("x"))],
  ["a reserved bit", frame(0xc1, Buffer.from("x"))],
  ["text that is no UTF-8", frame(0x81, Buffer.from([0xff, 0xfe]))],
  ["a continuation of nothing", frame(0x80, Buffer.from("x"))],
  ["a ping of more than 125 bytes", frame(0x89, Buffer.alloc(200))],
  ["a close frame with an invalid code", frame(0x88, Buffer.from([0x03, 0xed]))],
  ["a close frame of one byte", frame(0x88, Buffer.from([0x03]))],
  ["the announcement of 2^40 bytes", frame(0x81, Buffer.alloc(0), 2 ** 40)],
  [
    "a thousand empty fragments",
    Buffer.concat([frame(0x01, Buffer.alloc(0)), ...Array(1_000).fill(frame(0, Buffer.alloc(0)))]),
  ],
  ["a thousand pings", Buffer.concat(Array(1_000).fill(frame(0x89, Buffer.from("p"))))],
  ["half a frame and a reset", frame(0x81, Buffer.from("x")).subarray(0, 3)],
];
for (const [name, bytes] of FRAMES) {
  test(`${name} ends at most its own socket`, async () => {
    const client = await opened();
    client.socket.write(bytes);
    await Promise.race([client.ended, new Promise((resolve) => setTimeout(resolve, 100))]);
    client.socket.resetAndDestroy();
    await servesOthers();
  });
}

const REQUESTS: readonly [string, () => string][] = [
  ["an upgrade of //", () => upgradeRequest("//")],
  ["an upgrade of an unparsable URL", () => upgradeRequest("http://[")],
  ["an upgrade to h2c", () => upgradeRequest(`${WS}?token=${jwt}`, { Upgrade: "h2c" })],
  ["an upgrade without a key", () => upgradeRequest(`${WS}?token=${jwt}`, { "Sec-WebSocket-Key": null })],
  ["an upgrade of version 7", () => upgradeRequest(`${WS}?token=${jwt}`, { "Sec-WebSocket-Version": "7" })],
  ["an upgrade by POST", () => upgradeRequest(`${WS}?token=${jwt}`, {}, "POST")],
  ["an upgrade of the SSE path", () => upgradeRequest(`${SSE}?token=${jwt}`)],
  ["an upgrade with a body", () => upgradeRequest(`${WS}?token=${jwt}`, { "Content-Length": "5" })],
  ["a Host that is none", () => upgradeRequest(`${WS}?token=${jwt}`, { Host: "[" })],
  ["an Origin that is none", () => upgradeRequest(`${WS}?token=${jwt}`, { Origin: "http://[" })],
  ["percent signs in the query", () => upgradeRequest(`${WS}?token=%&types=%E0%A4%A&last_event_id=%`)],
  ["a cookie of percent signs", () => upgradeRequest(WS, { Cookie: "access=%; access=%%%; =; ;;" })],
  ["a subprotocol of commas", () => upgradeRequest(WS, { "Sec-WebSocket-Protocol": ",,bearer,," })],
  ["a subprotocol twice", () => upgradeRequest(WS, { "Sec-WebSocket-Protocol": "a, a" })],
  ["SSE over HTTP/1.0", () => `GET ${SSE}?token=${jwt} HTTP/1.0\r\n\r\n`],
  ["two streams pipelined", () => `GET ${SSE}?token=${jwt} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(2)],
  ["a request behind an upgrade", () => `${upgradeRequest(`${WS}?token=${jwt}`)}GET / HTTP/1.1\r\nHost: x\r\n\r\n`],
  ["no HTTP at all", () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ["a header of 20 KiB", () => `GET ${SSE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${"x".repeat(20_000)}\r\n\r\n`],
  ["a body that never comes", () => `POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n`],
];
for (const [name, request] of REQUESTS) {
  test(`${name}, then a reset, at once or a moment later, ends nothing but itself`, async () => {
    const [hasty, slow] = [await rawClient(port, request()), await rawClient(port, request())];
    hasty.socket.resetAndDestroy();
    await Promise.race([slow.ended, new Promise((resolve) => setTimeout(resolve, 50))]);
    slow.socket.resetAndDestroy();
    await servesOthers();
  });
}

test("hundreds of handshakes cut off at any moment leave no stream and no place behind", async () => {
  const upgrade = upgradeRequest(`${WS}?token=${jwt}`);
  const get = `GET ${SSE}?token=${jwt} HTTP/1.1\r\nHost: x\r\n\r\n`;
  const storm = Array.from({ length: 200 }, async (_, at) => {
    const client = await rawClient(port, at % 2 ? upgrade : get);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
    if (at % 3) client.socket.resetAndDestroy();
    else client.socket.destroy();
  });
  await Promise.all(storm);
  await servesOthers();
});

test("nothing of all this was an error of the server", () => {
  assert.equal(
    app.log.filter((line) => line.startsWith("error")),
    [],
  );
  assert.not.match(app.log.join("\n"), jwt);
});

test.run();
