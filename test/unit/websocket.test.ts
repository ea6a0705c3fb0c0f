/** A WebSocket as a transport: order, limits, heartbeat and slow readers, against a peer that records. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Transport } from "../../src/core/transport.ts";
import { TidingsError } from "../../src/errors.ts";
import type { Peer, PeerEvents } from "../../src/transport/peer.ts";
import { type Command, createWebSocket, type WebSocketOptions } from "../../src/transport/websocket.ts";
import { createWheel } from "../../src/transport/wheel.ts";
import { eventually } from "../helpers/eventually.ts";

const test = suite("websocket");
const MARK = '{"type":"mark_read","notification_id":1}';
const PONG = '{"type":"pong"}';

interface Recorder extends Peer {
  buffered: number;
  sent: string[];
  pings: number;
  closes: [number, string][];
  /** Lets everybody who waits in drained() go on. */
  drain(): void;
}

function recorder(): Recorder {
  let waiting: (() => void)[] = [];
  return {
    buffered: 0,
    sent: [],
    pings: 0,
    closes: [],
    send(text) {
      this.sent.push(text);
    },
    drained: () => new Promise((resolve) => waiting.push(resolve)),
    drain() {
      for (const resolve of waiting.splice(0)) resolve();
      waiting = [];
    },
    close(code, reason) {
      this.closes.push([code, reason]);
    },
    kill() {},
    ping() {
      this.pings += 1;
    },
  };
}

interface Bench {
  peer: Recorder;
  events: PeerEvents;
  transport: Transport;
  frames: Command[];
  closed: number[];
  logged: unknown[];
}

function open(options: Partial<WebSocketOptions> = {}): Bench {
  const peer = recorder();
  const frames: Command[] = [];
  const closed: number[] = [];
  const logged: unknown[] = [];
  const { events, transport } = createWebSocket({
    kind: "notifications",
    onFrame: (frame) => void frames.push(frame),
    onOpen() {},
    onClosed: (code) => void closed.push(code),
    log: { error: (fields) => void logged.push(fields), warn() {} },
    wheel: createWheel(5),
    now: () => 0,
    ...options,
  });
  events.open(peer);
  return { peer, events, transport, frames, closed, logged };
}

function errors(peer: Recorder): string[] {
  const frames = peer.sent.filter((text) => text !== "pong").map((text) => JSON.parse(text));
  return frames.flatMap(({ type, data }) => (type === "error" ? [data.code] : []));
}

test("each frame leaves as one text message, in order; a passed entry says nothing", () => {
  const { peer, transport } = open();
  transport.begin(4);
  transport.write([
    { type: "a", json: "1", id: 5 },
    { type: "b", json: "2" },
  ]);
  transport.pass(6);
  transport.write([{ type: "c", json: "3" }]);
  assert.equal(peer.sent, ["1", "2", "3"]);
});

test("a ping is answered in its own form, as a frame or as bare text, and reaches nobody else", () => {
  const { peer, events, frames } = open();
  events.message("ping");
  events.message('{"type":"ping"}');
  assert.equal(peer.sent, ["pong", PONG]);
  assert.equal(frames, []);
});

test("a bad frame is answered by an error; the fifth closes with 4400", () => {
  const { peer, events, frames, closed } = open();
  for (const text of ["{", null, '{"type":"x"}', "a".repeat(5000)]) events.message(text);
  assert.equal(errors(peer), ["bad_request", "bad_request", "bad_request", "too_large"]);
  assert.equal(peer.closes, []);
  events.message("{");
  assert.equal(peer.closes, [[4400, "badFrames"]]);
  assert.equal([frames, closed], [[], [4400]]);
});

test("over the rate limit one error is sent and frames are dropped, pings too, until 4429", () => {
  const { peer, events, frames } = open();
  for (let i = 0; i < 10; i += 1) events.message("ping");
  for (let i = 0; i < 29; i += 1) events.message(i < 15 ? '{"type":"mark_all_read"}' : "ping");
  assert.is(peer.sent.filter((text) => text === "pong").length, 10);
  assert.equal(errors(peer), ["rate_limited"]);
  assert.equal(peer.closes, []);
  events.message("ping");
  assert.equal(peer.closes, [[4429, "rateLimited"]]);
  assert.ok(frames.length <= 10);
});

test("nothing a client sends after the close is looked at, and nothing is sent to it", async () => {
  const { peer, events, transport, frames, closed } = open();
  transport.close("forbidden", "not a member");
  events.message(MARK);
  events.message("ping");
  transport.write([{ type: "a", json: "1" }]);
  transport.close("restart");
  events.closed(4403);
  assert.equal(peer.closes, [[4403, "not a member"]]);
  assert.equal([peer.sent, frames, closed], [[], [], [4403]]);
  await transport.drained();
});

test("a transport closed before its socket opened closes it at once and never calls onOpen", () => {
  let opened = 0;
  const peer = recorder();
  const { events, transport } = createWebSocket({
    kind: "chat",
    onFrame() {},
    onOpen: () => void opened++,
    onClosed() {},
    log: { error() {}, warn() {} },
  });
  transport.close("tooManyStreams");
  events.open(peer);
  assert.equal([peer.closes, opened], [[[4409, "tooManyStreams"]], 0]);
});

test("frames are handled one at a time and in order, however long one takes", async () => {
  const seen: string[] = [];
  const { events } = open({
    async onFrame(frame) {
      seen.push(`begin ${frame.type}`);
      await new Promise((resolve) => setTimeout(resolve, frame.type === "mark_read" ? 20 : 0));
      seen.push(`end ${frame.type}`);
    },
  });
  events.message(MARK);
  events.message('{"type":"mark_all_read"}');
  await eventually(() => assert.is(seen.length, 4));
  assert.equal(seen, ["begin mark_read", "end mark_read", "begin mark_all_read", "end mark_all_read"]);
});

test("while one frame hangs no more than 20 are held, the rest count as over the limit", () => {
  let now = 0;
  let begun = 0;
  const { events, peer } = open({
    now: () => now,
    onFrame() {
      begun += 1;
      return new Promise(() => {});
    },
  });
  for (let i = 0; i < 25; i += 1) {
    now += 1000;
    events.message(MARK);
  }
  assert.is(begun, 1);
  assert.equal(errors(peer), ["rate_limited"]);
});

test("an error meant for the client becomes an error frame and the socket stays open", async () => {
  const { peer, events, logged } = open({
    onFrame: () => Promise.reject(new TidingsError("not_found", "There is no such notification.")),
  });
  events.message(MARK);
  await eventually(() => assert.equal(errors(peer), ["not_found"]));
  assert.equal([peer.closes, logged], [[], []]);
});

test("an error of the database is logged, and its text is kept from the client", async () => {
  const { peer, events, logged } = open({
    onFrame() {
      throw new TidingsError("database", "password authentication failed");
    },
  });
  events.message(MARK);
  await eventually(() => assert.equal(errors(peer), ["unavailable"]));
  assert.not.match(peer.sent.join(), "password");
  assert.equal([peer.closes, logged.length], [[], 1]);
});

test("any other error is logged and closes with 1011", async () => {
  const { peer, events, closed, logged } = open({ onFrame: () => Promise.reject(new Error("bug")) });
  events.message(MARK);
  await eventually(() => assert.equal(peer.closes, [[1011, "internal error"]]));
  assert.equal([closed, logged.length], [[1011], 1]);
});

test("a client that answers pings stays, by a pong or by anything else", async () => {
  const { peer, events, closed } = open({ heartbeatMs: 40, pongMs: 30 });
  let answered = 0;
  await eventually(
    () => {
      if (peer.pings > answered) {
        answered = peer.pings;
        if (answered % 2) events.pong?.();
        else events.message('{"type":"get_unread_count"}');
      }
      return answered >= 5;
    },
    { everyMs: 2 },
  );
  assert.equal(closed, []);
  events.closed(1001);
});

test("a silent client is pinged once more and closed with 4408", async () => {
  const { peer, events, closed } = open({ heartbeatMs: 40, pongMs: 30 });
  await eventually(() => peer.pings === 1, { everyMs: 2 });
  events.pong?.();
  await eventually(() => assert.equal(peer.closes, [[4408, "noPong"]]), { everyMs: 2 });
  assert.equal([peer.pings, closed], [2, [4408]]);
});

test("where the runtime keeps the heartbeat nothing is scheduled", () => {
  const wheel = createWheel(5);
  const { ping: _, ...peer } = recorder();
  const { events } = createWebSocket({
    kind: "chat",
    onFrame() {},
    onOpen() {},
    onClosed() {},
    log: { error() {}, warn() {} },
    wheel,
  });
  events.open(peer);
  assert.is(wheel.size, 0);
});

test("a congested client gets no replies queued, and its waiters go on when it reads again", async () => {
  const { peer, events, transport } = open({ highWater: 100 });
  peer.buffered = 101;
  assert.is(transport.congested, true);
  events.message("ping");
  events.message("{");
  assert.equal(peer.sent, []);
  let resolved = false;
  const waiting = transport.drained().then(() => {
    resolved = true;
  });
  peer.drain();
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.is(resolved, false, "still over the mark");
  peer.buffered = 0;
  peer.drain();
  await waiting;
  assert.is(transport.congested, false);
  await transport.drained();
});

test("closing lets those go on who wait for a congested client", async () => {
  const { peer, transport } = open({ highWater: 100 });
  peer.buffered = 101;
  const waiting = Promise.all([transport.drained(), transport.drained()]);
  transport.close("restart");
  await waiting;
});

test("a reader that takes nothing is closed with 1013, one that gets on is not", async () => {
  const stuck = open({ highWater: 100, stuckMs: 40 });
  const slow = open({ highWater: 100, stuckMs: 40 });
  for (const { peer, transport } of [stuck, slow]) {
    peer.buffered = 100_000;
    transport.write([{ type: "a", json: "1" }]);
  }
  const reading = setInterval(() => {
    slow.peer.buffered -= 50;
  }, 5);
  await eventually(() => assert.equal(stuck.peer.closes, [[1013, "slow_consumer"]]));
  await new Promise((resolve) => setTimeout(resolve, 100));
  clearInterval(reading);
  assert.equal([stuck.closed, slow.peer.closes], [[1013], []]);
  slow.events.closed(1001);
});

test("a reader that caught up in between is not counted as stuck", async () => {
  const { peer, transport, events } = open({ highWater: 100, stuckMs: 60 });
  for (let i = 0; i < 10; i += 1) {
    peer.buffered = 0;
    transport.write([{ type: "a", json: "1" }]);
    peer.buffered = 101;
    transport.write([{ type: "a", json: "1" }]);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  assert.equal(peer.closes, []);
  events.closed(1001);
});

test("a closed socket leaves nothing on the wheel", () => {
  const wheel = createWheel(5);
  const { peer, transport } = open({ wheel, highWater: 1 });
  peer.buffered = 2;
  transport.write([{ type: "a", json: "1" }]);
  assert.is(wheel.size, 2);
  transport.close("normal");
  assert.is(wheel.size, 0);
});

test("an onClosed that throws harms nobody", () => {
  const { transport, peer, logged } = open({
    onClosed() {
      throw new Error("bug");
    },
  });
  transport.close("normal");
  assert.equal([peer.closes.length, logged.length], [1, 1]);
});

test.run();
