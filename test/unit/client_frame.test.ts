/** What a client may send: every accepted shape, and a refusal that helps for everything else. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { MAX_FRAME_BYTES, parseClientFrame, type StreamKind } from "../../src/protocol/client_frame.ts";

const test = suite("client_frame");

function frame(text: string | null, kind: StreamKind = "notifications"): unknown {
  const parsed = parseClientFrame(text, kind);
  return parsed.ok ? parsed.frame : parsed;
}

function refusal(text: string | null, kind: StreamKind = "notifications"): { code: string; message: string } {
  const parsed = parseClientFrame(text, kind);
  if (parsed.ok) throw new Error(`accepted: ${text}`);
  return parsed;
}

test("a ping is understood as JSON and as bare text, on both kinds of stream", () => {
  for (const kind of ["notifications", "chat"] as const) {
    assert.equal(frame('{"type":"ping"}', kind), { type: "ping" });
    assert.equal(frame("ping", kind), { type: "bare_ping" });
    assert.equal(frame("ping\n", kind), { type: "bare_ping" });
  }
});

test("the frames of a notification stream are understood there and refused on a chat stream", () => {
  const frames = [
    { type: "get_unread_count" },
    { type: "mark_all_read" },
    { type: "mark_read", notification_id: 17 },
  ] as const;
  for (const each of frames) {
    assert.equal(frame(JSON.stringify(each)), each);
    const { code, message } = refusal(JSON.stringify(each), "chat");
    assert.is(code, "bad_request");
    assert.match(message, "ping, chat_message, typing, auth");
  }
});

test("the frames of a chat stream are understood there and refused on a notification stream", () => {
  const frames = [
    { type: "chat_message", content: "hello" },
    { type: "typing", is_typing: true },
    { type: "typing", is_typing: false },
  ] as const;
  for (const each of frames) {
    assert.equal(frame(JSON.stringify(each), "chat"), each);
    assert.is(refusal(JSON.stringify(each)).code, "bad_request");
  }
});

test("a new token is taken on both kinds of stream and never repeated in a refusal", () => {
  for (const kind of ["notifications", "chat"] as const) {
    assert.equal(frame('{"type":"auth","token":"a.b.c"}', kind), { type: "auth", token: "a.b.c" });
    assert.is(refusal('{"type":"auth"}', kind).code, "invalid");
    assert.is(refusal('{"type":"auth","token":""}', kind).code, "invalid");
    assert.not.match(refusal('{"type":"auth","token":["secret"]}', kind).message, "secret");
  }
});

test("the id of a notification may be a number or decimal text, and nothing else", () => {
  assert.equal(frame('{"type":"mark_read","notification_id":"17"}'), { type: "mark_read", notification_id: 17 });
  const largest = Number.MAX_SAFE_INTEGER;
  assert.equal(frame(`{"type":"mark_read","notification_id":"${largest}"}`), {
    type: "mark_read",
    notification_id: largest,
  });
  for (const wrong of [
    "0",
    "-1",
    "1.5",
    "1e400",
    '""',
    '"17 "',
    '"0x1"',
    '"9007199254740993"',
    "null",
    "[17]",
    "true",
  ]) {
    const { code, message } = refusal(`{"type":"mark_read","notification_id":${wrong}}`);
    assert.is(code, "invalid", wrong);
    assert.match(message, "notification_id");
  }
  assert.is(refusal('{"type":"mark_read"}').code, "invalid");
});

test("what is no JSON object with a known type is refused, and told which types there are", () => {
  for (const wrong of ["", " ", "pong", "{", "null", "17", '"ping"', "[]", '[{"type":"ping"}]']) {
    assert.match(refusal(wrong).message, "JSON object", wrong);
  }
  const unknown = [
    "{}",
    '{"type":null}',
    '{"type":"PING"}',
    '{"type":"nonsense"}',
    '{"type":["ping"]}',
    '{"type":"constructor"}',
    '{"type":"__proto__"}',
    '{"__proto__":{"type":"ping"}}',
  ];
  for (const wrong of unknown) assert.match(refusal(wrong).message, "get_unread_count", wrong);
});

test("a binary message is refused", () => {
  assert.is(refusal(null).code, "bad_request");
});

test("4 KiB are counted in bytes: the last byte passes, one more is too large", () => {
  const fill = (bytes: number): string => {
    const empty = JSON.stringify({ type: "ping", pad: "" });
    return JSON.stringify({ type: "ping", pad: "a".repeat(bytes - empty.length) });
  };
  assert.equal(frame(fill(MAX_FRAME_BYTES)), { type: "ping" });
  assert.is(refusal(fill(MAX_FRAME_BYTES + 1)).code, "too_large");
  const wide = `{"type":"ping","pad":"${"é".repeat(2040)}"}`;
  assert.ok(wide.length < MAX_FRAME_BYTES);
  assert.is(refusal(wide).code, "too_large");
  assert.equal(frame(`{"type":"ping","pad":"${"é".repeat(2030)}"}`), { type: "ping" });
});

test("chat content must be text, not blank, without NUL and without half a surrogate pair", () => {
  assert.equal(frame('{"type":"chat_message","content":"\\ud83d\\ude00 😀"}', "chat"), {
    type: "chat_message",
    content: "😀 😀",
  });
  for (const wrong of ["17", "null", '""', '"  \\n "', '"a\\u0000b"', '"\\ud800"', '"\\udc00x"', '"\\ude00\\ud83d"']) {
    const { code, message } = refusal(`{"type":"chat_message","content":${wrong}}`, "chat");
    assert.is(code, "invalid", wrong);
    assert.match(message, "content");
  }
});

test("chat content may have 4,000 characters and no more", () => {
  const say = (content: string): string => JSON.stringify({ type: "chat_message", content });
  assert.equal(frame(say("a".repeat(4000)), "chat"), { type: "chat_message", content: "a".repeat(4000) });
  assert.is(refusal(say("a".repeat(4001)), "chat").code, "invalid");
});

test("is_typing must be a boolean", () => {
  for (const wrong of ['"true"', "1", "null"]) {
    assert.is(refusal(`{"type":"typing","is_typing":${wrong}}`, "chat").code, "invalid");
  }
  assert.is(refusal('{"type":"typing"}', "chat").code, "invalid");
});

test("unknown fields are left out of what is passed on", () => {
  assert.equal(frame('{"type":"mark_all_read","admin":true}'), { type: "mark_all_read" });
});

test.run();
