/** The Node runtime on real sockets: WebSockets, SSE, shutdown. What might end the process is in node_hostile.test.ts. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { Writable } from "node:stream";
import { promisify } from "node:util";
import { EventSource } from "eventsource";
import { WebSocket as StrictWebSocket } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import type { Transport } from "../../src/core/transport.ts";
import { TidingsError } from "../../src/errors.ts";
import { serveNode } from "../../src/runtime/node.ts";
import { corkThisTick } from "../../src/runtime/node_socket.ts";
import type { Peer, Sink } from "../../src/transport/peer.ts";
import { createSse } from "../../src/transport/sse.ts";
import { createWebSocket } from "../../src/transport/websocket.ts";
import { eventually } from "../helpers/eventually.ts";
import { type NodeApp, nodeApp } from "../helpers/node_app.ts";
import { rawClient, upgradeRequest } from "../helpers/raw.ts";

const test = suite("node_runtime");
const run = promisify(execFile);
const quiet = { error() {}, warn() {} };
let app: NodeApp;

test.before(async () => {
  app = await nodeApp();
});

test.after(() => app.server.close(500));

function url(path: string, scheme = "http"): string {
  return `${scheme}://127.0.0.1:${app.server.port}${path}`;
}

async function closeOf(path: string): Promise<{ code: number; reason: string }> {
  const socket = new StrictWebSocket(url(path, "ws"));
  const event = await new Promise<{ code: number; reason: string }>((resolve) => {
    socket.onclose = resolve;
    socket.onerror = () => {};
  });
  return { code: event.code, reason: event.reason };
}

async function curl(...args: string[]): Promise<string> {
  const { stdout } = await run("curl", ["-s", "--max-time", "1", ...args]).catch(
    (error: { code: number; stdout: string }) => {
      if (error.code !== 28) throw error;
      return error;
    },
  );
  return stdout.replaceAll("\r\n", "\n");
}

test("a message sent with the handshake, before the app has answered it, is not lost", async () => {
  const frame = String.fromCharCode(0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69);
  const client = await rawClient(app.server.port, upgradeRequest("/ws?delay=50") + frame);
  await eventually(() => assert.match(client.received(), "\x81\x02hi"));
  client.socket.destroy();
});

test("the ws client gets the subprotocol the app selects, offered as `a,b` without a space", async () => {
  const socket = new WebSocket(url("/ws?protocol=b", "ws"), ["a", "b"]);
  await once(socket, "open");
  assert.is(socket.protocol, "b");
  socket.send("hello");
  const [data] = await once(socket, "message");
  assert.is(String(data), "hello");
  socket.close();
});

test("a browser-like client gets the subprotocol the app selects", async () => {
  const socket = new StrictWebSocket(url("/ws?protocol=tidings.v1", "ws"), ["tidings.v1", "bearer.a-b_c.d"]);
  await new Promise((resolve) => {
    socket.onopen = resolve;
  });
  assert.is(socket.protocol, "tidings.v1");
  socket.close();
});

test("without a selection none is sent, though one was offered", async () => {
  const client = await rawClient(app.server.port, upgradeRequest("/ws", { "Sec-WebSocket-Protocol": "a, b" }));
  await eventually(() => assert.match(client.received(), "101 Switching"));
  assert.not.match(client.received().toLowerCase(), "sec-websocket-protocol");
  client.socket.destroy();
});

test("a close code and its reason reach a browser-like client", async () => {
  assert.equal(await closeOf("/ws?close=4401"), { code: 4401, reason: "closed by the app" });
});

test("a message over 64 KiB closes with 1009, one of 64 KiB passes", async () => {
  const socket = new WebSocket(url("/ws", "ws"));
  await once(socket, "open");
  socket.send("a".repeat(65_536));
  const [data] = await once(socket, "message");
  assert.is(String(data).length, 65_536);
  socket.send("a".repeat(65_537));
  const [code] = await once(socket, "close");
  assert.is(code, 1009);
});

test("a callback that throws or rejects closes its own socket with 1011 and is logged", async () => {
  const before = app.logged.length;
  assert.is((await closeOf("/ws?open=throw")).code, 1011);
  assert.is((await closeOf("/ws?open=reject")).code, 1011);
  for (const text of ["throw", "reject"]) {
    const socket = new WebSocket(url("/ws", "ws"));
    await once(socket, "open");
    socket.send(text);
    const [code] = await once(socket, "close");
    assert.is(code, 1011);
  }
  assert.is(app.logged.length, before + 4);
});

test("headers that middleware sets before and after the route reach the handshake's answer", async () => {
  const client = await rawClient(app.server.port, upgradeRequest("/ws"));
  await eventually(() => assert.match(client.received(), "101 Switching"));
  for (const line of ["x-before: 1", "x-after: 2"]) assert.match(client.received(), line);
  assert.not.match(client.received().toLowerCase(), "content-");
  client.socket.destroy();
});

test("an upgrade the app refuses gets the app's status, headers and body", async () => {
  const client = await rawClient(app.server.port, upgradeRequest("/refused"));
  await client.ended;
  assert.match(client.received(), /^HTTP\/1.1 403 .*x-reason: origin.*\{"title":"no"\}/is);
});

test("what a refused client still sends is thrown away: it gets its answer and its socket goes", async () => {
  const own = await nodeApp();
  const client = await rawClient(own.server.port, upgradeRequest("/refused") + "a".repeat(500_000));
  await client.ended;
  assert.match(client.received(), '{"title":"no"}');
  const started = Date.now();
  await own.server.close(5000);
  assert.ok(Date.now() - started < 2000);
});

test("an upgrade that the app does not answer in time is cut, and reported closed when the app answers after all", async () => {
  const own = await nodeApp({ upgradeMs: 100 });
  const hung = await rawClient(own.server.port, upgradeRequest("/hang"));
  const late = await rawClient(own.server.port, upgradeRequest("/ws?delay=200"));
  const intime = await rawClient(own.server.port, upgradeRequest("/ws"));
  await Promise.all([hung.ended, late.ended]);
  assert.equal([hung.received(), late.received()], ["", ""]);
  await eventually(() => assert.equal(own.counts, { asked: 2, closed: 1 }));
  await eventually(() => assert.match(intime.received(), "101 Switching"));
  assert.is(intime.socket.closed, false);
  intime.socket.destroy();
  await own.server.close(500);
});

test("an error after the route ends in its answer, and the socket is reported closed without having opened", async () => {
  for (const path of ["/ws?fail=1", "/sse?fail=1"]) {
    const before = { ...app.counts };
    const text = path.startsWith("/ws") ? upgradeRequest(path) : `GET ${path} HTTP/1.0\r\nHost: localhost\r\n\r\n`;
    const client = await rawClient(app.server.port, text);
    await client.ended;
    assert.match(client.received(), /^HTTP\/1.1 500 .*thrown after the route/s);
    assert.equal(app.counts, { asked: before.asked + 1, closed: before.closed + 1 });
  }
});

test("the WebSocket route without an upgrade answers 426, the SSE route with one answers 400", async () => {
  const response = await fetch(url("/ws"));
  assert.is(response.status, 426);
  assert.is(response.headers.get("upgrade"), "websocket");
  const client = await rawClient(app.server.port, upgradeRequest("/sse"));
  await client.ended;
  assert.match(client.received(), "HTTP/1.1 400 ");
});

test("the address is the peer's, in dotted form", async () => {
  assert.is(await (await fetch(url("/address"))).text(), "127.0.0.1");
});

test("curl reads an SSE stream with the headers of the route and of all middleware", async () => {
  const text = await curl("-iN", url("/sse"));
  assert.match(text, /^HTTP\/1.1 200 OK\n/);
  for (const line of ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"]) {
    assert.match(text.toLowerCase(), line);
  }
  for (const line of ["x-before: 1", "x-after: 2", "x-own: 3"]) assert.match(text, line);
  assert.match(text, /\n\ndata: hello\n\n$/);
});

test("an HTTP/1.0 client gets an SSE stream without chunks, HEAD gets its headers alone", async () => {
  const old = await curl("-0iN", url("/sse"));
  assert.not.match(old.toLowerCase(), "transfer-encoding");
  assert.match(old, /\n\ndata: hello\n\n$/);
  const before = { ...app.counts };
  const head = await curl("-I", url("/sse"));
  assert.match(head, "content-type: text/event-stream");
  assert.equal(app.counts, { asked: before.asked + 1, closed: before.closed + 1 });
});

test("the head of an SSE stream is sent before anything is written to it", async () => {
  const own = await nodeApp({ onSink() {} });
  const response = await fetch(`http://127.0.0.1:${own.server.port}/sse`);
  assert.is(response.headers.get("content-type"), "text/event-stream");
  await response.body?.cancel();
  await own.server.close(500);
});

test("the answer to a handshake leaves with the first message, also where that is written a while later", async () => {
  const own = await nodeApp({ onPeer: (peer) => void setTimeout(() => peer.send("first"), 100) });
  const client = await rawClient(own.server.port, upgradeRequest("/ws"));
  const [chunk] = await once(client.socket, "data");
  assert.match(String(chunk), /^HTTP\/1.1 101 .*first$/s);
  client.socket.destroy();
  await own.server.close(500);
});

test("an open that throws cuts its SSE response, is logged and reported closed", async () => {
  const before = { ...app.counts, logged: app.logged.length };
  const client = await rawClient(app.server.port, "GET /sse?open=throw HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await client.ended;
  assert.is(app.logged.length, before.logged + 1);
  await eventually(() => assert.is(app.counts.closed, before.closed + 1));
});

test("EventSource resumes from the primed cursor after the stream ended before its first event", async () => {
  const cursors: (string | null)[] = [];
  const own = await serveNode({
    host: "127.0.0.1",
    port: 0,
    log: quiet,
    app: (runtime) => ({
      async fetch(request, env) {
        const { Hono } = await import("hono");
        const hono = new Hono();
        hono.get("/sse", (c) => {
          cursors.push(c.req.header("last-event-id") ?? null);
          let gone = (): void => {};
          const opened = (sink: Sink): void => {
            const options = { named: false, heartbeat: "comment", log: quiet, onClosed() {}, retryMs: 10 } as const;
            const stream = createSse({ sink, ...options });
            gone = () => stream.gone();
            stream.begin(40 + cursors.length);
            stream.write([{ type: "ready", json: '{"type":"ready"}' }]);
            if (cursors.length < 3) stream.close("normal");
            else stream.write([{ type: "notification", json: '{"id":44}', id: 44 }]);
          };
          return runtime.sse(c, {}, opened, () => gone());
        });
        return hono.fetch(request, env);
      },
    }),
  });
  const source = new EventSource(`http://127.0.0.1:${own.port}/sse`);
  const event = await new Promise<MessageEvent>((resolve) => {
    source.onmessage = (message) => message.data.includes("ready") || resolve(message);
  });
  source.close();
  assert.equal([event.data, event.lastEventId], ['{"id":44}', "44"]);
  assert.equal(cursors, [null, "41", "42"]);
  await own.close(500);
});

test("all that is written to one socket in one tick leaves in one system call", async () => {
  const batches: number[] = [];
  const sink = new Writable({
    decodeStrings: false,
    write: (_chunk, _encoding, done) => {
      batches.push(1);
      done();
    },
    writev: (chunks, done) => {
      batches.push(chunks.length);
      done();
    },
  });
  for (let i = 0; i < 10; i += 1) {
    corkThisTick(sink as never);
    sink.write("x");
  }
  await new Promise(setImmediate);
  assert.equal(batches, [10]);
});

/** Writes pages while the client has room, as a stream does, until it is congested. @returns bytes written */
async function fill(transport: Transport, stop: () => boolean = () => false): Promise<number> {
  const json = JSON.stringify("a".repeat(16_000));
  let written = 0;
  while (!transport.congested && !stop() && written < 100_000_000) {
    transport.write([{ type: "a", json }]);
    written += json.length;
    await new Promise(setImmediate);
  }
  return written;
}

test("a WebSocket client that does not read makes its stream wait, and go on when it reads again", async () => {
  let peer: Peer | undefined;
  const own = await nodeApp({
    onPeer(accepted) {
      peer = accepted;
    },
  });
  const client = await rawClient(own.server.port, upgradeRequest("/ws"));
  await eventually(() => assert.match(client.received(), "101"));
  client.socket.pause();
  const { events, transport } = createWebSocket({
    kind: "notifications",
    onFrame() {},
    onOpen() {},
    onClosed() {},
    log: quiet,
  });
  events.open(peer!);
  const written = await fill(transport);
  assert.ok(peer!.buffered > 65_536 && peer!.buffered < 200_000, `${peer!.buffered} bytes wait in this process`);
  let drained = false;
  const waiting = transport.drained().then(() => {
    drained = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.is(drained, false);
  client.socket.resume();
  await waiting;
  assert.is(transport.congested, false);
  await eventually(() => assert.ok(client.received().length > written));
  transport.close("normal");
  client.socket.destroy();
  await own.server.close(500);
});

test("an SSE client that does not read makes its stream wait; one that never does is ended and cut", async () => {
  let sink: Sink | undefined;
  let closes = 0;
  const own = await nodeApp({
    onSink(opened) {
      sink = opened;
    },
    onClosed: () => void closes++,
  });
  const client = await rawClient(own.server.port, "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await eventually(() => assert.match(client.received(), "text/event-stream"));
  client.socket.pause();
  const codes: number[] = [];
  const stream = createSse({
    sink: sink!,
    named: false,
    heartbeat: "comment",
    log: quiet,
    onClosed: (code) => void codes.push(code),
    stuckMs: 700,
  });
  await fill(stream);
  assert.ok(sink!.buffered > 65_536 && sink!.buffered < 200_000, `${sink!.buffered} bytes wait in this process`);
  client.socket.resume();
  await stream.drained();
  assert.is(stream.congested, false);
  client.socket.pause();
  while (codes.length === 0) {
    await fill(stream, () => codes.length > 0);
    await stream.drained();
  }
  assert.equal(codes, [1013]);
  await eventually(() => assert.is(closes, 1), { deadlineMs: 8000 });
  client.socket.destroy();
  await own.server.close(500);
});

test("a WebSocket that never answers the closing handshake is cut after three seconds", async () => {
  const codes: number[] = [];
  const own = await nodeApp({
    onPeer: (peer) => peer.close(1012, "restart"),
    onClosed: (code) => void codes.push(code),
  });
  const client = await rawClient(own.server.port, upgradeRequest("/ws"));
  const started = Date.now();
  await eventually(() => assert.is(codes.length, 1), { deadlineMs: 8000 });
  assert.ok(Date.now() - started > 2500);
  client.socket.destroy();
  await own.server.close(500);
});

test("a reason too long for a close frame is cut at a character, not refused", async () => {
  const own = await nodeApp({ onPeer: (peer) => peer.close(4403, "é".repeat(100)) });
  const socket = new WebSocket(`ws://127.0.0.1:${own.server.port}/ws`);
  const [code, reason] = await once(socket, "close");
  assert.equal([code, String(reason)], [4403, "é".repeat(61)]);
  await own.server.close(500);
});

test("close stops accepting at once and finishes as soon as told streams are gone, idle connections too", async () => {
  const sinks: Sink[] = [];
  const peers: Peer[] = [];
  const own = await nodeApp({ onSink: (sink) => void sinks.push(sink), onPeer: (peer) => void peers.push(peer) });
  const { port } = own.server;
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  const stream = await rawClient(port, "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await rawClient(port, "GET /address HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const closed = once(socket, "close");
  await eventually(() => assert.equal([peers.length, sinks.length], [1, 1]));
  const started = Date.now();
  const closing = own.server.close(10_000);
  await rawClient(port, "").then(
    () => assert.unreachable("still accepts"),
    () => {},
  );
  peers[0]!.close(1012, "restart");
  sinks[0]!.write("retry: 1000\n\n");
  sinks[0]!.end();
  await closing;
  assert.ok(Date.now() - started < 2000, "long before the deadline");
  assert.is((await closed)[0], 1012);
  await stream.ended;
  assert.match(stream.received(), /retry: 1000\n\n\r\n0\r\n\r\n$/);
});

test("close cuts at the deadline whoever is left, and may be called twice", async () => {
  const own = await nodeApp();
  const { port } = own.server;
  const clients = [
    await rawClient(port, upgradeRequest("/ws")),
    await rawClient(port, "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    await rawClient(port, "GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    await rawClient(port, upgradeRequest("/hang")),
  ];
  await eventually(() => assert.is(own.counts.asked, 2));
  const started = Date.now();
  await Promise.all([own.server.close(200), own.server.close(60_000)]);
  assert.ok(Date.now() - started < 2000);
  await Promise.all(clients.map(({ ended }) => ended));
  assert.equal(own.counts, { asked: 2, closed: 2 });
});

test("a port that is taken is a configuration error which says what to set", async () => {
  const { port } = app.server;
  const failure = await serveNode({ host: "127.0.0.1", port, log: quiet, app: () => ({ fetch: () => new Response() }) })
    .then(() => null)
    .catch((error: unknown) => error);
  assert.instance(failure, TidingsError);
  assert.is((failure as TidingsError).code, "configuration");
  assert.match((failure as TidingsError).message, "PORT");
});

test.run();
