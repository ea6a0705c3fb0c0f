/**
 * What one unauthenticated client can send to the Node runtime: each input against a process without process-level
 * handlers, which has to live on, serve the next client, and report every stream it was asked for as closed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { eventually } from "../helpers/eventually.ts";
import type { Counts } from "../helpers/node_app.ts";
import { type RawClient, rawClient, upgradeRequest } from "../helpers/raw.ts";

const test = suite("node_hostile");
const GET_SSE = "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n";
let child: ChildProcess;
let port: number;

test.before(async () => {
  const file = fileURLToPath(new URL("../helpers/node_app.ts", import.meta.url));
  child = spawn(process.execPath, [...process.execArgv, file], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(child.stdout!, "data");
  port = Number(line);
});

test.after(() => {
  child.stdin?.end();
});

async function counts(): Promise<Counts> {
  return (await fetch(`http://127.0.0.1:${port}/counts`)).json() as Promise<Counts>;
}

/** A normal client connects, is echoed, leaves; then nothing is open any more. */
async function servesOn(): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  await once(socket, "open");
  socket.send("still there?");
  const [data] = await once(socket, "message");
  assert.is(String(data), "still there?");
  socket.close();
  await eventually(async () => {
    const { asked, closed } = await counts();
    assert.is(closed, asked);
  });
  assert.is(child.exitCode, null);
}

const settle = (ms = 100): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Sends, waits, resets the connection, and gives the server time to notice. */
async function reset(text: string, ms = 30): Promise<RawClient> {
  const client = await rawClient(port, text);
  await settle(ms);
  client.socket.resetAndDestroy();
  await settle();
  return client;
}

async function answer(text: string): Promise<string> {
  const client = await rawClient(port, text);
  await client.ended;
  return client.received();
}

test("an upgrade reset while the app still authenticates", async () => {
  await reset(upgradeRequest("/ws?delay=150"));
  await settle(150);
  await servesOn();
});

test("an upgrade half-closed while the app still authenticates", async () => {
  const client = await rawClient(port, upgradeRequest("/ws?delay=100"));
  client.socket.end();
  await client.ended;
  await servesOn();
});

test("an upgrade of an unknown path, reset", async () => {
  await reset(upgradeRequest("/nowhere"), 0);
  await reset(upgradeRequest("/nowhere"));
  assert.match(await answer(upgradeRequest("/nowhere")), "HTTP/1.1 404 ");
  await servesOn();
});

test("an upgrade with a target that is no URL", async () => {
  assert.match(await answer(upgradeRequest("//")), "HTTP/1.1 404 ");
  assert.match(await answer(upgradeRequest("http://[")), "HTTP/1.1 400 ");
  assert.match(await answer(upgradeRequest("/\\")), "HTTP/1.1 400 ");
  await reset(upgradeRequest("http://["), 0);
  await servesOn();
});

test("an upgrade with a Host that is none", async () => {
  for (const Host of ["[", "a b", "", "user@host", null]) {
    assert.match(await answer(upgradeRequest("/ws", { Host })), "HTTP/1.1 400 ", `Host: ${Host}`);
  }
  await servesOn();
});

test("an upgrade to something else is answered 400, and may be reset", async () => {
  assert.match(await answer(upgradeRequest("/ws", { Upgrade: "h2c" })), "HTTP/1.1 400 ");
  await reset(upgradeRequest("/ws", { Upgrade: "h2c" }), 0);
  await reset(upgradeRequest("/ws", { Upgrade: "h2c" }));
  await servesOn();
});

test("an upgrade that is no GET, with a body after it", async () => {
  const body = "a".repeat(200_000);
  assert.match(await answer(upgradeRequest("/ws", { "Content-Length": "200000" }, "POST") + body), "HTTP/1.1 400 ");
  assert.match(await answer(upgradeRequest("/ws", {}, "HEAD")), "HTTP/1.1 400 ");
  await servesOn();
});

test("a malformed handshake is answered 400 and reported closed", async () => {
  const wrong: Record<string, string | null>[] = [
    { "Sec-WebSocket-Key": "short" },
    { "Sec-WebSocket-Key": null },
    { "Sec-WebSocket-Version": "7" },
    { "Sec-WebSocket-Protocol": "a,,b" },
    { "Sec-WebSocket-Protocol": "a, a" },
  ];
  for (const headers of wrong) {
    assert.match(await answer(upgradeRequest("/ws", headers)), "HTTP/1.1 400 ", JSON.stringify(headers));
  }
  await reset(upgradeRequest("/ws", wrong[0]), 0);
  await servesOn();
});

test("an upgrade pipelined behind a request that is not answered yet", async () => {
  const slow = "GET /sse?delay=100 HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const client = await rawClient(port, slow + upgradeRequest("/ws"));
  await client.ended;
  await servesOn();
});

test("SSE streams pipelined behind one another, then reset", async () => {
  await reset(GET_SSE.repeat(50));
  await servesOn();
  await reset(GET_SSE + GET_SSE.replace("/sse", "/sse?delay=60"));
  await servesOn();
});

test("an SSE stream reset at once, while the app authenticates, and when it is open", async () => {
  await reset(GET_SSE, 0);
  await reset(GET_SSE.replace("/sse", "/sse?delay=100"));
  await reset(GET_SSE);
  await servesOn();
});

test("an SSE client that half-closes is gone", async () => {
  const client = await rawClient(port, GET_SSE);
  await eventually(() => assert.match(client.received(), "hello"));
  client.socket.end();
  await servesOn();
});

test("frames that break the WebSocket protocol", async () => {
  const frames = ["\x8f\x80\x00\x00\x00\x00", "\x81\x01a", "\x81\x82\x00\x00\x00\x00\xff\xff", "\xff\xff\xff", "\x00"];
  for (const frame of frames) {
    const client = await rawClient(port, upgradeRequest("/ws"));
    await eventually(() => assert.match(client.received(), "\r\n\r\n"));
    client.socket.write(frame, "latin1");
    await settle(20);
    client.socket.resetAndDestroy();
  }
  await servesOn();
});

test("a message in very many empty fragments is closed", async () => {
  const client = await rawClient(port, upgradeRequest("/ws"));
  await eventually(() => assert.match(client.received(), "\r\n\r\n"));
  client.socket.write(`\x01\x80\x00\x00\x00\x00${"\x00\x80\x00\x00\x00\x00".repeat(1000)}`, "latin1");
  await eventually(() => assert.match(client.received(), "\x88"));
  client.socket.destroy();
  await servesOn();
});

test("callbacks that throw or reject", async () => {
  for (const path of ["/ws?open=throw", "/ws?open=reject"]) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
    const [code] = await once(socket, "close");
    assert.is(code, 1011);
  }
  await servesOn();
});

test("requests that are no HTTP", async () => {
  for (const text of ["\x16\x03\x01\x02\x00\x01", "GET\r\n\r\n", "CONNECT localhost:80 HTTP/1.1\r\nHost: a\r\n\r\n"]) {
    await reset(text);
  }
  await reset(`GET /ws HTTP/1.1\r\nX: ${"a".repeat(100_000)}`);
  await servesOn();
});

test.run();
