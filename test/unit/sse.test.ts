/** An SSE response as a transport: what is written, byte by byte, and when it ends. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sink } from "../../src/transport/peer.ts";
import { createSse, retryLater, type SseOptions, type SseStream } from "../../src/transport/sse.ts";
import { createWheel } from "../../src/transport/wheel.ts";
import { eventually } from "../helpers/eventually.ts";

const test = suite("sse");

interface Recorder extends Sink {
  buffered: number;
  text: string;
  ended: number;
}

function recorder(): Recorder {
  return {
    buffered: 0,
    text: "",
    ended: 0,
    write(text) {
      this.text += text;
    },
    drained: () => new Promise((resolve) => setTimeout(resolve, 5)),
    end() {
      this.ended += 1;
    },
    kill() {},
  };
}

function open(options: Partial<SseOptions> = {}): { sink: Recorder; stream: SseStream; closed: number[] } {
  const sink = recorder();
  const closed: number[] = [];
  const stream = createSse({
    sink,
    named: false,
    heartbeat: "comment",
    onClosed: (code) => void closed.push(code),
    log: { error() {}, warn() {} },
    wheel: createWheel(5),
    ...options,
  });
  return { sink, stream, closed };
}

test("the stream begins with retry and the id of the cursor, without an id where there is no cursor", () => {
  const ready = { type: "ready", json: "{}" };
  const notifications = open();
  notifications.stream.begin(17);
  notifications.stream.write([ready]);
  assert.is(notifications.sink.text, "retry: 2000\nid: 17\ndata: {}\n\n");
  const chat = open({ retryMs: 500 });
  chat.stream.begin(null);
  chat.stream.write([ready]);
  assert.is(chat.sink.text, "retry: 500\ndata: {}\n\n");
});

test("a frame is an id where it has one and one line of data, several frames are one write", () => {
  const { sink, stream } = open();
  stream.write([
    { type: "invite_created", json: '{"id":3}' },
    { type: "notification", json: '{"id":3,"x":1}', id: 3 },
  ]);
  assert.is(sink.text, 'data: {"id":3}\n\nid: 3\ndata: {"id":3,"x":1}\n\n');
});

test("a passed entry is a bare id, which moves the client's cursor and is no event", () => {
  const { sink, stream } = open();
  stream.pass(9);
  assert.is(sink.text, "id: 9\n\n");
});

test("named events carry their type", () => {
  const { sink, stream } = open({ named: true });
  stream.write([{ type: "notification", json: "{}", id: 1 }]);
  assert.is(sink.text, "id: 1\nevent: notification\ndata: {}\n\n");
});

test("no frame breaks out of its field, neither by its type nor by its data", () => {
  const { sink, stream } = open({ named: true });
  stream.write([{ type: "x\nid: 999\r", json: '{"a":\n1,\r\n"b":\r2}', id: 1 }]);
  assert.is(sink.text, 'id: 1\ndata: {"a":\ndata: 1,\ndata: "b":\ndata: 2}\n\n');
});

test("the keep-alive is a comment, or a pong frame where the page wants to see it", async () => {
  const comment = open({ heartbeatMs: 10 });
  const pong = open({ heartbeatMs: 10, heartbeat: "pong" });
  const named = open({ heartbeatMs: 10, heartbeat: "pong", named: true });
  await eventually(() => {
    assert.match(comment.sink.text, /^(: keep-alive\n\n){2}/);
    assert.match(pong.sink.text, /^(data: \{"type":"pong"\}\n\n){2}/);
    assert.match(named.sink.text, /^(event: pong\ndata: \{"type":"pong"\}\n\n){2}/);
  });
  for (const { stream } of [comment, pong, named]) stream.gone();
});

test("keep-alives are not queued for a client that does not read", async () => {
  const { sink, stream } = open({ heartbeatMs: 10, highWater: 100 });
  sink.buffered = 101;
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.is(sink.text, "");
  sink.buffered = 0;
  await eventually(() => assert.match(sink.text, "keep-alive"));
  stream.gone();
});

test("closing ends the response once, nothing is written after it", () => {
  const { sink, stream, closed } = open();
  stream.close("unauthenticated");
  stream.close("restart");
  stream.write([{ type: "a", json: "1" }]);
  stream.pass(3);
  stream.begin(3);
  stream.gone();
  assert.equal([sink.text, sink.ended, closed], ["", 1, [4401]]);
});

test("before the end of a drain or an overload the client is told when to come back", () => {
  const restart = open();
  restart.stream.close("restart");
  assert.match(restart.sink.text, /^retry: \d{4}\n\n$/);
  const overloaded = open();
  overloaded.stream.close("overloaded");
  assert.match(overloaded.sink.text, /^retry: \d{4,5}\n\n$/);
  assert.equal(
    [retryLater("restart", () => 0), retryLater("restart", () => 1)],
    ["retry: 1000\n\n", "retry: 5000\n\n"],
  );
  assert.equal(
    [retryLater("overloaded", () => 0), retryLater("overloaded", () => 1)],
    ["retry: 5000\n\n", "retry: 15000\n\n"],
  );
});

test("a client that left is told to the owner once, and leaves nothing on the wheel", () => {
  const wheel = createWheel(5);
  const { sink, stream, closed } = open({ wheel });
  assert.is(wheel.size, 1);
  stream.gone();
  stream.gone();
  stream.close("normal");
  assert.equal([closed, sink.ended, wheel.size], [[1001], 0, 0]);
});

test("those who wait go on when the client reads again, and when it is gone", async () => {
  const { sink, stream } = open({ highWater: 100 });
  sink.buffered = 101;
  let waiting = stream.drained();
  sink.buffered = 0;
  await waiting;
  sink.buffered = 101;
  waiting = stream.drained();
  stream.gone();
  await waiting;
});

test("a reader that takes nothing is ended as overloaded", async () => {
  const { sink, stream, closed } = open({ highWater: 100, stuckMs: 30 });
  sink.buffered = 101;
  stream.write([{ type: "a", json: "1" }]);
  await eventually(() => assert.equal(closed, [1013]));
  assert.is(sink.ended, 1);
});

test.run();
