/** The text messages that go to sockets past ws are those that ws would have sent. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { textFrame } from "../../src/runtime/node_frame.ts";

const test = suite("text frames");

/** What a client reads: [spec] RFC 6455 5.2. */
function read(frame: Buffer): { first: number; text: string; rest: number } {
  const short = frame[1]!;
  const head = short < 126 ? 2 : short === 126 ? 4 : 10;
  const length =
    head === 2 ? short : head === 4 ? frame.readUInt16BE(2) : frame.readUInt32BE(2) * 2 ** 32 + frame.readUInt32BE(6);
  return {
    first: frame[0]!,
    text: frame.subarray(head, head + length).toString(),
    rest: frame.length - head - length,
  };
}

test("each length has its head, counted in bytes", () => {
  for (const length of [0, 1, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536, 70_000]) {
    for (const letter of ["a", "é", "☃", "🎉"]) {
      const text = letter.repeat(length);
      assert.equal(read(textFrame(text)), { first: 0x81, text, rest: 0 });
    }
  }
  assert.is(read(textFrame("\ud800")).text, "\ufffd");
});

test("the shortest form is used", () => {
  assert.is(textFrame("a".repeat(125)).length, 127);
  assert.is(textFrame("a".repeat(126)).length, 130);
  assert.is(textFrame("a".repeat(65_535)).length, 65_539);
  assert.is(textFrame("a".repeat(65_536)).length, 65_546);
});

test("the same text again is the same buffer, another of its length is not", () => {
  const first = textFrame("one");
  assert.is(textFrame("one"), first);
  assert.is(read(textFrame("two")).text, "two");
  assert.is(read(first).text, "one");
});

test.run();
